// A flood of initiations with a true mac1, as anybody can send who knows the public key: what an established peer sends
// does not wait behind them, and is not lost.
// Read on: sessions/receive-handshakes.ts; `npm run bench:tunnel -- --step flood-1` (what it costs, in figures).

import type { Socket } from 'node:dgram';
import { randomFillSync } from 'node:crypto';
import { afterEach, expect, test } from 'vitest';
import { HANDSHAKE_INITIATION, INITIATION_BYTES } from '../../../protocol/constants.js';
import { mac1Key, writeMac1 } from '../../../protocol/cookie.js';
import { MAC_BYTES } from '../../../protocol/suite.js';
import { fastestSuite } from '../../../protocol/suites/fastest.js';
import { decodeKey } from '../../../tunnel/keys.js';
import { sleep, until } from '../support/run.js';
import { closeMachines, INNER, type Pair, startPair } from './support/machine.js';
import { udpSocket } from './support/sockets.js';

const PORT = 9_000;
/** More than a daemon has room for, and less than the buffer of its socket holds. */
const BURST = 2_000;
const SOCKETS = 16;
const PINGS = 20;

const suite = await fastestSuite();

afterEach(closeMachines);

function initiations(publicKey: string, count: number): Uint8Array[] {
  const key = mac1Key(suite, decodeKey(publicKey));
  return Array.from({ length: count }, () => {
    const message = randomFillSync(new Uint8Array(INITIATION_BYTES));
    message.set([HANDSHAKE_INITIATION, 0, 0, 0]);
    message.fill(0, INITIATION_BYTES - MAC_BYTES);
    writeMac1(suite, key, message);
    return message;
  });
}

function strangers({ a, outer }: Pair, count: number): Socket[] {
  return Array.from({ length: count }, () => udpSocket(a.namespace, outer.a, 0));
}

/** Sends them to B, and resolves when all are with the kernel. */
async function send(pair: Pair, from: readonly Socket[], messages: readonly Uint8Array[]): Promise<void> {
  const { outer, ports } = pair;
  await Promise.all(
    messages.map((message, i) => {
      const socket = from[i % from.length];
      return new Promise<void>(resolve => socket.send(message, ports.b, outer.b, () => resolve()));
    }),
  );
}

test('data that lies behind a flood in the buffer of the socket is delivered before most of the flood is answered', async () => {
  const pair = await startPair();
  const { a, b } = pair;
  expect(await a.ping(INNER.b4)).toBe(3);
  const sender = udpSocket(a.namespace, INNER.a4, PORT);
  const receiver = udpSocket(b.namespace, INNER.b4, PORT);
  const others = strangers(pair, SOCKETS);
  let answers = 0;
  for (const socket of others) socket.on('message', () => answers++);
  let answersBefore: number | undefined;
  receiver.on('message', () => (answersBefore = answers));
  const flood = initiations(b.publicKey, BURST);
  const sentBefore = Number((await a.show('transfer', b.publicKey)).split('\t')[1]);

  process.kill(b.pid, 'SIGSTOP');
  try {
    await send(pair, others, flood);
    sender.send('behind all of them', PORT, INNER.b4);
    await until('the data to leave', async () => {
      return Number((await a.show('transfer', b.publicKey)).split('\t')[1]) > sentBefore;
    });
  } finally {
    process.kill(b.pid, 'SIGCONT');
  }
  await until('the data to arrive', () => answersBefore !== undefined);
  expect(answersBefore).toBeLessThan(BURST / 2);
  await until('the flood to be done with', async () => {
    const { drops } = await b.status();
    return drops.underLoad + drops.queueFull + drops.badTag >= BURST;
  });
  expect((await b.status()).drops.underLoad).toBeGreaterThan(0);
});

test('while a flood goes on an established peer is heard, and the daemon answers', async () => {
  const pair = await startPair();
  const { a, b } = pair;
  expect(await a.ping(INNER.b4)).toBe(3);
  const others = strangers(pair, SOCKETS);
  const flood = initiations(b.publicKey, BURST);
  const over = new AbortController();
  let bursts = 0;
  const flooding = (async () => {
    for (; !over.signal.aborted; bursts++) {
      await send(pair, others, flood.slice(0, BURST / 4));
      await sleep(5);
    }
  })();
  try {
    // Of one that is lost the kernel's buffer was full, which a machine may bring about that does not let the daemon run.
    expect(await a.ping(INNER.b4, { count: PINGS })).toBeGreaterThanOrEqual(PINGS - 2);
    expect(await b.show('latest-handshakes', a.publicKey)).not.toBe('0');
  } finally {
    over.abort();
    await flooding;
  }
  const { drops } = await b.status();
  expect(bursts).toBeGreaterThan(0);
  expect(drops.underLoad + drops.queueFull).toBeGreaterThan(0);
  expect(await a.ping(INNER.b4)).toBe(3);
});
