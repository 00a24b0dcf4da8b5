// The program that floods: initiations at a steady rate, from one address or from many.
// Promises: when it is told to end it prints what it sent; that is less than was asked for only where the machine had no
// time for it.
// Read on: flood.ts (who starts it); initiations.ts (what is sent).

import { parseArgs } from 'node:util';
import { INITIATION_BYTES } from '../../../protocol/constants.js';
import { fastestSuite } from '../../../protocol/suites/fastest.js';
import { parseIp } from '../../../tunnel/ip.js';
import { DatagramPool } from '../../../tunnel/linux/net/datagram-pool.js';
import { requireLibc } from '../../../tunnel/linux/libc.js';
import { SendBatch } from '../../../tunnel/linux/net/send-batch.js';
import { LinuxUdpSocket } from '../../../tunnel/linux/net/udp.js';
import { LinuxUdpEndpoint, V4_INTERFACE, V4_LOCAL } from '../../../tunnel/linux/net/udp-endpoint.js';
import { outerAddress } from '../../peers/addresses.js';
import { type Flood, makeInitiations } from './initiations.js';

const BATCH = 64;
const TICK_MS = 1;
/** What a tick that came late makes up for at most. */
const MAX_LATE_MS = 50;

const { values } = parseArgs({
  options: {
    to: { type: 'string', default: '' },
    port: { type: 'string', default: '' },
    key: { type: 'string', default: '' },
    interface: { type: 'string', default: '' },
    sources: { type: 'string', default: '1' },
    rate: { type: 'string', default: '' },
    kind: { type: 'string', default: '' },
    messages: { type: 'string', default: '' },
  },
});

const libc = requireLibc();
const pool = new DatagramPool(libc);
const socket = LinuxUdpSocket.open(libc, { ipv6: false });
const out = new SendBatch(libc, pool, BATCH);
// From one address they would be joined, and cost the receiver less than those of an attacker.
out.segmentLimit = 0;
const messages = makeInitiations(
  values.kind as Flood,
  await fastestSuite(),
  new Uint8Array(Buffer.from(values.key, 'base64')),
  Number(values.messages),
);
const ways = Array.from({ length: Number(values.sources) }, (_, i) => wayFrom(outerAddress(i + 1)));
const perMs = Number(values.rate) / 1e3;

let sent = 0;
let lost = 0;
let next = 0;
let credit = 0;
let before = performance.now();
const start = before;
setInterval(tick, TICK_MS);
process.once('SIGTERM', () => {
  const seconds = (performance.now() - start) / 1e3;
  process.stdout.write(`sent ${sent} in ${seconds}, lost ${lost}\n`, () => process.exit());
});
process.stdout.write('flooding\n');

function tick(): void {
  const now = performance.now();
  credit += Math.min(now - before, MAX_LATE_MS) * perMs;
  before = now;
  for (; credit >= 1; credit--) {
    if (out.full) flush();
    const slot = pool.take(INITIATION_BYTES);
    if (!slot) throw new Error('the pool is empty');
    slot.bytes.set(messages[next % messages.length]);
    out.push(slot, ways[next % ways.length], true);
    next++;
  }
  flush();
}

function flush(): void {
  while (out.pending > 0) {
    const result = out.send(socket.fd4);
    if (result >= 0) sent += result;
    else lost += out.drop();
  }
}

function wayFrom(own: Uint8Array): LinuxUdpEndpoint {
  const target = parseIp(values.to)?.ip as Uint8Array;
  const words = LinuxUdpEndpoint.of(target, Number(values.port)).words();
  words[V4_LOCAL] = new Int32Array(own.slice().buffer)[0];
  words[V4_INTERFACE] = Number(values.interface);
  return new LinuxUdpEndpoint(words);
}
