// A fork that is announced while iperf3 runs: the old key ends, a new handshake brings the traffic back.
// Read on: docs/architecture.md "Why no nonce is used twice"; support/tap.mjs (what is seen on the wire).

import { type ChildProcess, spawn } from 'node:child_process';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { run, sleep, until } from '../support/run.js';
import { atEnd, closeMachines, endpoint, folder, INNER, type Kind, startPair } from './support/machine.js';

afterEach(closeMachines);

const TAP = fileURLToPath(new URL('./support/tap.mjs', import.meta.url));
/** Seconds that iperf3 runs. */
const RUN_S = 8;
/** Had it waited for a timer, it would have been REKEY_TIMEOUT: 5 seconds. */
const AT_ONCE_MS = 4_000;

interface Run {
  readonly index: number;
  readonly count: number;
  readonly firstMs: number;
  readonly lastMs: number;
}

interface Announcer {
  /** The flags that have the daemon listen to it. */
  readonly flags: readonly string[];
  announce(): Promise<void>;
}

function byHook(): Announcer {
  const path = join(folder(), 'hook');
  const body = JSON.stringify({ vmGenId: '00112233-4455-6677-8899-aabbccddeeff' });
  const script = `require('node:http').request({ socketPath: ${JSON.stringify(path)}, path: '/fork?wait=30s', method: 'POST' },
    response => response.pipe(process.stdout)).end(${JSON.stringify(body)})`;
  return {
    flags: ['--hook', path],
    announce: async () =>
      expect(JSON.parse(await run(process.execPath, ['-e', script]))).toMatchObject({
        epoch: 2,
        parted: true,
        ready: true,
        missing: [],
        opensslHealed: true,
        publicKey: expect.any(String),
        peers: { called: 1, back: 1 },
      }),
  };
}

function byFile(timing: 'delayed' | 'immediate'): Announcer {
  const path = join(folder(), 'generation');
  const write = (byte: number) => {
    writeFileSync(`${path}.new`, Buffer.alloc(16, byte));
    renameSync(`${path}.new`, path);
  };
  write(1);
  return {
    flags: ['--generation-file', path, '--generation-file-timing', timing],
    announce: async () => write(2),
  };
}

const SOURCES: Record<string, () => Announcer> = {
  'the hook': byHook,
  'a file': () => byFile('delayed'),
  'a file that is read at every release': () => byFile('immediate'),
};

/** iperf3 from A to B through the tap, with `inTheMiddle` in its middle. What the tap has seen, and bits per second. */
async function stream(kind: Kind, flags: readonly string[], inTheMiddle: () => Promise<void>) {
  const { a, b, outer, ports } = await startPair({ a: { flags }, b: { kind } });
  const tap = await startTap(b.namespace, 40_002, ports.b);
  await a.wg('set', a.name, 'peer', b.publicKey, 'endpoint', endpoint(outer.b, 40_002));
  expect(await a.ping(INNER.b4)).toBe(3);

  const server = b.exec('iperf3', '-s', '-1', '-B', INNER.b4);
  await until('iperf3', async () => (await b.exec('ss', '-Hltn', 'sport = :5201')) !== '');
  const client = a.exec('iperf3', '-c', INNER.b4, '-J', '-b', '20M', '-t', `${RUN_S}`);
  await sleep((RUN_S * 1_000) / 2);
  await inTheMiddle();
  const { end } = JSON.parse(await client) as { end: { sum_received: { bits_per_second: number } } };
  await server;
  return { a, b, runs: await tap(), bitsPerSecond: end.sum_received.bits_per_second };
}

describe.each<Kind>(['wireonce', 'wireguard-go'])('with %s on the other side', kind => {
  test('without a fork (control) one key carries all of it', async () => {
    const { runs, a } = await stream(kind, [], async () => undefined);
    expect(runs.out).toHaveLength(1);
    expect(runs.back).toHaveLength(1);
    expect((await a.status()).forks).toBe(0);
  });

  test.each(Object.keys(SOURCES))('announced by %s', async name => {
    const source = SOURCES[name]();
    const { a, b, runs, bitsPerSecond } = await stream(kind, source.flags, source.announce);

    // Each direction has two keys, one after the other: no datagram under the old one follows one under the new.
    for (const direction of [runs.out, runs.back]) {
      expect(direction).toHaveLength(2);
      expect(direction[0].index).not.toBe(direction[1].index);
    }
    const [old, fresh] = runs.out;
    expect(old.count).toBeGreaterThan(100);
    expect(fresh.count).toBeGreaterThan(100);
    expect(fresh.firstMs - old.lastMs).toBeLessThan(AT_ONCE_MS);
    expect(bitsPerSecond).toBeGreaterThan(1e6);

    const status = await a.status();
    expect(status).toMatchObject({ epoch: 2, forks: 1, held: false });
    expect(status.wipedKeypairs).toBeGreaterThan(0);
    expect(status.peers[0]).toMatchObject({ hasSession: true, sessionEpoch: 2 });
    expect(a.log()).toContain('Responded to a fork of this machine (epoch 2)');
    expect(await b.ping(INNER.a6)).toBe(3);
  });
});

/** Resolves with a function that asks what the tap has seen. */
async function startTap(ns: string, port: number, toPort: number) {
  const args = ['netns', 'exec', ns, 'setpriv', '--pdeathsig', 'KILL', process.execPath, TAP];
  const tap: ChildProcess = spawn('ip', [...args, `${port}`, '127.0.0.1', `${toPort}`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  atEnd(() => tap.kill('SIGKILL'));
  let said = '';
  tap.stdout?.on('data', text => (said += text));
  const line = () => until('a word of the tap', () => /^(.*)\n/.exec(said)?.[1]);
  await line();
  return async () => {
    said = '';
    tap.stdin?.write('\n');
    return JSON.parse(await line()) as { out: Run[]; back: Run[] };
  };
}
