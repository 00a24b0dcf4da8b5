// 50,000 mutated requests to a live daemon: it answers or closes, never dies, and never has half of what was asked.

import { connect } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import {
  socketPath,
  UapiClient,
  type UapiChanges,
  type UapiState,
} from '../../../tunnel/daemon/uapi/index.js';
import { UapiRequestParser } from '../../../tunnel/daemon/uapi/parse.js';
import { formatPrefix } from '../../../tunnel/daemon/uapi/values.js';
import { RequestSource } from '../../support/uapi-requests.js';
import { hex, MemoryBackend } from '../../tunnel/daemon/uapi/backend.js';
import { closeMachines, Machine } from './support/machine.js';

afterEach(closeMachines);

const REQUESTS = 50_000;
const COMPARE_EVERY = 1_000;
const STRANGER = Buffer.alloc(32, 0xee).toString('base64');

function masked({ ip, prefix }: { ip: Uint8Array; prefix: number }) {
  return ip.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, prefix - 8 * i))));
}

/** Sends a text on a connection of its own and reads to the end. */
function ask(path: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect({ path, allowHalfOpen: true }, () => socket.end(text, 'latin1'));
    socket.on('data', chunk => (answer += chunk.toString('latin1')));
    socket.on('end', () => socket.end());
    socket.on('close', () => resolve(answer));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // Closed with our bytes unread: an end like any other.
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') reject(error);
    });
  });
}

/** What a text asks for, request by request, as the parser reads it. */
function requestsIn(text: string) {
  const parser = new UapiRequestParser();
  parser.push(Buffer.from(text, 'latin1'));
  const found = [];
  for (let request = parser.next(); request; request = parser.next()) found.push(request);
  const last = parser.end();
  return last ? [...found, last] : found;
}

/** The model's change for a request: address ranges as a device has them, without host bits. */
function forModel(changes: UapiChanges): UapiChanges {
  const peers = changes.peers.map(peer => ({
    ...peer,
    allowedIps: peer.allowedIps.map(range => ({ ...range, ip: masked(range) })),
  }));
  return { ...changes, peers };
}

function comparable({ fwMark, peers }: UapiState) {
  return {
    fwMark,
    peers: new Map(
      peers.map(({ publicKey, presharedKey, persistentKeepalive, allowedIps }) => [
        hex(publicKey),
        [hex(presharedKey), persistentKeepalive, allowedIps.map(range => formatPrefix(range)).toSorted()],
      ]),
    ),
  };
}

test(`${REQUESTS} mutated requests leave a live daemon with what it said that it took, and nothing else`, async () => {
  const machine = await Machine.start();
  const path = socketPath(machine.name);
  const client = new UapiClient(path);
  const model = new MemoryBackend();
  const source = new RequestSource(2);
  const outcomes = { taken: 0, refused: 0, closed: 0 };
  for (let done = 1; done <= REQUESTS; done++) {
    const text = source.mutated();
    const answer = await ask(path, text);
    const errnos = [...answer.matchAll(/errno=(-?\d+)\n\n/g)].map(([, number]) => Number(number));
    for (const [i, request] of requestsIn(text).entries()) {
      if (request.operation === 'unknown') outcomes.closed++;
      else if (errnos[i] !== 0) outcomes.refused++;
      else {
        outcomes.taken++;
        if (request.operation === 'set' && !request.refused) model.set(forModel(request.changes));
      }
    }
    if (done % COMPARE_EVERY === 0) {
      expect(comparable(await client.get()), `after ${done} requests`).toEqual(comparable(model.get()));
    }
  }
  for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(REQUESTS / 50);
  expect(await machine.wg('show', machine.name, 'public-key')).toBe(`${machine.publicKey}\n`);
  // Control: one range that nobody asked for is seen.
  await machine.wg('set', machine.name, 'peer', STRANGER, 'allowed-ips', '172.16.0.0/12');
  expect(comparable(await client.get())).not.toEqual(comparable(model.get()));
}, 600_000);
