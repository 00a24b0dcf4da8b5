// A network that loses, doubles and reorders: streams finish, and no packet is delivered twice.
// Read on: support/relay.ts (the network).

import type { Socket } from 'node:dgram';
import { afterEach, expect, test } from 'vitest';
import { sleep, until } from '../support/run.js';
import { iperf } from './support/iperf.js';
import { closeMachines, INNER, type Kind, startPair } from './support/machine.js';
import { type Harm, Relay } from './support/relay.js';
import { udpSocket } from './support/sockets.js';

const HARM: Harm = { loss: 0.3, duplication: 0.2, reordering: 0.2 };
const MESSAGES = 2_000;
const PORT = 9_000;
const UDP_ATTEMPTS = 4;
const THEIRS: readonly Kind[] = ['wireonce', 'wireguard-go'];

afterEach(closeMachines);

/** Sends numbered messages, a few at a time, and returns how often each arrived. */
async function sendNumbered(
  from: Socket,
  to: Socket,
  address: string,
  port: number,
): Promise<Map<number, number>> {
  const arrived = new Map<number, number>();
  to.on('message', message => {
    const number = message.readUInt32BE(0);
    arrived.set(number, (arrived.get(number) ?? 0) + 1);
  });
  for (let number = 0; number < MESSAGES; number++) {
    const message = Buffer.alloc(100);
    message.writeUInt32BE(number);
    from.send(message, port, address);
    if (number % 10 === 9) await sleep(2);
  }
  // Until nothing more comes.
  let before = -1;
  await until('the last of them', async () => {
    const now = [...arrived.values()].reduce((sum, count) => sum + count, 0);
    if (now === before) return true;
    before = now;
    await sleep(500);
    return false;
  });
  return arrived;
}

const twice = (arrived: Map<number, number>) => [...arrived.values()].filter(count => count > 1).length;

test.each(THEIRS)(
  'beside %s nothing is delivered twice where datagrams are lost, doubled and reordered',
  async kind => {
    const pair = await startPair({ b: { kind } });
    const { a, b } = pair;
    const relay = await Relay.between(pair);
    expect(await a.ping(INNER.b4)).toBe(3);
    relay.harm = HARM;
    for (const [from, to, here, there] of [
      [a, b, INNER.a4, INNER.b4],
      [b, a, INNER.b4, INNER.a4],
    ] as const) {
      const sender = udpSocket(from.namespace, here, PORT);
      const receiver = udpSocket(to.namespace, there, PORT + 1);
      const arrived = await sendNumbered(sender, receiver, there, PORT + 1);
      expect(twice(arrived)).toBe(0);
      // Of 100, 70 come. Not all are lost, and some are.
      expect(arrived.size).toBeGreaterThan(MESSAGES / 2);
      expect(arrived.size).toBeLessThan(MESSAGES * 0.85);
    }
    expect(relay.counters.doubled).toBeGreaterThan(MESSAGES / 10);
    expect(relay.counters.delayed).toBeGreaterThan(MESSAGES / 10);
    const { drops } = await a.status();
    expect(drops.replayedCounter).toBeGreaterThan(MESSAGES / 20);
  },
);

test('the same network without a tunnel delivers many twice (control)', async () => {
  const pair = await startPair();
  const relay = await Relay.between(pair, HARM);
  const receiver = udpSocket(pair.b.namespace, pair.outer.b, PORT + 1);
  const sender = udpSocket(pair.a.namespace, pair.outer.a, PORT);
  // The relay sends to where B's daemon was.
  pair.ports.b = PORT + 1;
  const arrived = await sendNumbered(sender, receiver, pair.outer.a, 7_000);
  expect(twice(arrived)).toBeGreaterThan(MESSAGES / 20);
  expect(relay.counters.lost).toBeGreaterThan(MESSAGES / 10);
});

/** Of ten datagrams one is lost: iperf3, which opens its UDP by a question and an answer, sometimes gives up. */
async function udpDespiteLoss(pair: Parameters<typeof iperf>[0]): ReturnType<typeof iperf> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await iperf(pair, ['-t', '2', '-u', '-b', '1M', '-l', '1000'], 120_000);
    } catch (error) {
      const gaveUp = (error as Error).message.includes('unable to read from stream socket');
      if (!gaveUp || attempt === UDP_ATTEMPTS) throw error;
    }
  }
}

test('TCP and UDP finish on it, both ways', async () => {
  const pair = await startPair();
  const relay = await Relay.between(pair, HARM);
  // The handshake too has to get through.
  await until('a session', async () => (await pair.a.ping(INNER.b4, { count: 1, waitS: 1 })) === 1, 60_000);
  for (const reverse of [[], ['-R']]) {
    // It ends when so much was handed to the system; what has arrived by then is less.
    const { bytes } = await iperf(pair, ['-n', '100K', ...reverse], 120_000);
    expect(bytes).toBeGreaterThan(1_024);
  }
  relay.harm = { ...HARM, loss: 0.1 };
  const { bytes } = await udpDespiteLoss(pair);
  expect(bytes).toBeGreaterThan(0);
  expect(relay.counters.lost).toBeGreaterThan(50);
}, 300_000);
