// 20,000 mutated requests over a socket: each is answered or its connection closed, and each set is whole or nothing.

import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { UapiServer } from '../../../../tunnel/daemon/uapi/server.js';
import type { UapiChanges } from '../../../../tunnel/daemon/uapi/types.js';
import { RequestSource } from '../../../support/uapi-requests.js';
import { hex, MemoryBackend } from './backend.js';

const REQUESTS = 20_000;
/** Clients at work at a time. */
const CLIENTS = 8;

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A change as the test sees it: which peers, and how many ranges of each. */
interface Seen {
  readonly peers: readonly { readonly key: string; readonly ranges: number; readonly removed: boolean }[];
  readonly fwMark: number | undefined;
}

function seen({ peers, fwMark }: UapiChanges): Seen {
  return {
    fwMark,
    peers: peers.map(({ publicKey, allowedIps, remove }) => ({
      key: hex(publicKey),
      ranges: allowedIps.length,
      removed: remove,
    })),
  };
}

/** The readable twin: what each `set` of a text asks for, whether it is good or not, line by line. */
function asked(text: string): Seen[] {
  const found: Seen[] = [];
  let peers: { key: string; ranges: number; removed: boolean }[] | undefined;
  let fwMark: number | undefined;
  for (const raw of text.split('\n')) {
    const line = raw.replace(/\r$/, '');
    const [name, value] = [line.split('=', 1)[0], line.slice(line.indexOf('=') + 1)];
    const peer = peers?.at(-1);
    if (!peers) {
      if (line === 'set=1') [peers, fwMark] = [[], undefined];
    } else if (line === '') {
      found.push({
        fwMark,
        peers: peers.map(each => (each.removed ? { ...each, ranges: 0 } : each)),
      });
      peers = undefined;
    } else if (name === 'public_key') peers.push({ key: value.toLowerCase(), ranges: 0, removed: false });
    else if (name === 'fwmark' && !peer) fwMark = Number(value);
    else if (peer && name === 'allowed_ip') peer.ranges++;
    else if (peer && name === 'replace_allowed_ips') peer.ranges = 0;
    else if (peer && name === 'remove') peer.removed = true;
  }
  return found;
}

/** Sends a text on a connection of its own and reads to the end. */
function ask(path: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect({ path, allowHalfOpen: true }, () => socket.end(text, 'latin1'));
    socket.on('data', chunk => (answer += chunk.toString('latin1')));
    socket.on('close', () => resolve(answer));
    socket.on('end', () => socket.end());
    // Closed with our bytes unread: an end like any other.
    socket.on('error', error =>
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? reject(error) : resolve(answer),
    );
  });
}

/** Sends so many requests. `see` says what the backend saw of a set. Throws when one was applied in part. */
async function fuzz(requests: number, see: (changes: UapiChanges) => Seen) {
  const folder = await mkdtemp(join(tmpdir(), 'wireonce-fuzz-'));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'wg0.sock');
  const backend = new MemoryBackend();
  const original = backend.set.bind(backend);
  let applied: Seen[] = [];
  backend.set = changes => {
    applied.push(see(changes));
    original(changes);
  };
  const server = await UapiServer.listen(path, backend);
  cleanups.push(() => server.close());

  const source = new RequestSource(1);
  const outcomes = { whole: 0, refused: 0, closed: 0 };
  for (let done = 0; done < requests; done += CLIENTS) {
    const texts = Array.from({ length: CLIENTS }, () => source.mutated());
    applied = [];
    const answers = await Promise.all(texts.map(text => ask(path, text)));
    // Every set that was applied is, to the line, one of those that were asked for.
    const wanted = texts.flatMap(asked).map(set => JSON.stringify(set));
    for (const set of applied) {
      const at = wanted.indexOf(JSON.stringify(set));
      if (at < 0) throw new Error(`applied in part: ${JSON.stringify(set)} of ${JSON.stringify(texts)}`);
      wanted.splice(at, 1);
    }
    for (const answer of answers) {
      expect(answer).toMatch(/^(?:(?:[a-z_]+=[^\n]*\n)*errno=-?\d+\n\n)*$/);
      if (answer === '') outcomes.closed++;
      else if (answer.endsWith('errno=0\n\n')) outcomes.whole++;
      else outcomes.refused++;
    }
  }
  return { outcomes, path };
}

test(`${REQUESTS} mutated requests: answered or closed, applied whole or not at all`, async () => {
  const { outcomes, path } = await fuzz(REQUESTS, seen);
  // Each kind of outcome was met often: the mutations are neither all good nor all hopeless.
  for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(REQUESTS / 50);
  expect(await ask(path, 'set=1\nfwmark=9\n\nget=1\n\n')).toMatch(/^errno=0\n\nfwmark=9\n/);
});

test('a set that loses its last peer on the way is found out (control)', async () => {
  const partly = ({ peers, ...rest }: UapiChanges) => seen({ ...rest, peers: peers.slice(0, -1) });
  await expect(fuzz(1_000, partly)).rejects.toThrow('applied in part');
});
