// Cookies under load, theirs and ours: a busy WireGuard answers with proof-of-address before it computes.
// Read on: WireGuard paper 5.3, 5.4.7; wireguard-go device/receive.go (load is a queue of 128 handshakes).

import dgram from 'node:dgram';
import { readFileSync } from 'node:fs';
import { afterEach, expect, it } from 'vitest';
import { HANDSHAKE_INITIATION, INITIATION_BYTES } from '../../protocol/constants.js';
import { mac1Key, writeMac1 } from '../../protocol/cookie.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import type { OurPeer } from './support/our-peer.js';
import { closeAll, closeAfterTest, startPair } from './support/pair.js';
import { sleep, until } from './support/run.js';
import { OUR_V4, THEIR_V4, type WireguardGo } from './support/wireguard-go.js';

const SOCKETS = 16;
/** More than the 128 that are load, fewer than the 1,024 that fill their queue: ours must find room in it. */
const BURST = 600;
const MAX_BURSTS = 40;
/** Past the retry of a handshake, its jitter included. */
const RETRY_MS = 5_400;
/** wireguard-go takes no two initiations of a peer within 20 ms, and its clock we cannot set. */
const FLOOD_INTERVAL_MS = 25;

afterEach(closeAll);

it('under load they send us a cookie, and the next initiation, with mac2, completes', async () => {
  const { ours, theirs } = await startPair();
  const flood = await Flood.against(theirs, ours);
  closeAfterTest(flood);

  const initiateInTheCrowd = () => {
    ours.skip(RETRY_MS);
    flood.burst();
    ours.device.initiateHandshake(theirs.publicKey);
  };
  for (let burst = 0; burst < MAX_BURSTS && !ours.has('cookieReceived'); burst++) {
    initiateInTheCrowd();
    await until('a cookie', () => ours.has('cookieReceived'), 50).catch(() => undefined);
  }
  expect(ours.has('cookieReceived')).toBe(true);
  expect(ours.sent.some(({ hasMac2 }) => hasMac2)).toBe(false);

  // They stay under load for a second, so that this mac2 is one that they check.
  await sleep(FLOOD_INTERVAL_MS);
  const mark = ours.sent.length;
  const handshakes = () => ours.events.filter(({ type }) => type === 'handshakeComplete').length;
  const before = handshakes();
  initiateInTheCrowd();
  await until('a handshake', () => handshakes() > before);
  expect(ours.sent[mark]).toMatchObject({ type: 'initiation', hasMac2: true });
  // While their socket's buffer is full of the crowd, the kernel drops pings too.
  await until('the crowd to be read', () => flood.hasLeft && unreadBytes(theirs.listenPort) === 0);
  expect(await ours.ping(THEIR_V4)).toEqual({ sent: 3, received: 3 });
});

it('under load we send them a cookie, and their retry, with mac2, completes', async () => {
  const { ours, theirs } = await startPair({ initiator: 'they', device: { underLoadThreshold: 0 } });
  const { received } = await theirs.ping(OUR_V4, { count: 1, waitSeconds: 10 });
  expect(received).toBe(1);
  expect(ours.sent.map(({ type }) => type)).toEqual(['cookie', 'response', 'data']);
  expect(ours.device.stats().drops.underLoad).toBe(1);
  expect(theirs.log()).toMatch(/Receiving cookie response/i);
});

it('under load we ask a cookie of the responder too', async () => {
  const { ours, theirs } = await startPair({ device: { underLoadThreshold: 0 } });
  ours.device.initiateHandshake(theirs.publicKey);
  await until('the cookie reply', () => ours.count('cookie') === 1);
  expect(ours.has('handshakeComplete')).toBe(false);
  await until('wireguard-go to read it', () => /Receiving cookie response/i.test(theirs.log()));
  await sleep(FLOOD_INTERVAL_MS);
  ours.skip(RETRY_MS);
  await until('a handshake', () => ours.has('handshakeComplete'));
  expect(ours.count('cookie')).toBe(1);
  expect(await ours.ping(THEIR_V4)).toEqual({ sent: 3, received: 3 });
});

/** Initiations with a true mac1 and nothing true behind it, from many ports. Anybody who knows a public key can. */
class Flood {
  readonly #sockets: dgram.Socket[];
  readonly #messages: Buffer[];
  readonly #port: number;
  #unsent = 0;

  private constructor(sockets: dgram.Socket[], messages: Buffer[], port: number) {
    this.#sockets = sockets;
    this.#messages = messages;
    this.#port = port;
  }

  static async against(theirs: WireguardGo, ours: OurPeer): Promise<Flood> {
    const key = mac1Key(nobleSuite, theirs.publicKey);
    const messages = Array.from({ length: BURST }, () => {
      const message = ours.crng.bytes(INITIATION_BYTES);
      message.set([HANDSHAKE_INITIATION, 0, 0, 0]);
      message.fill(0, INITIATION_BYTES - 16);
      writeMac1(nobleSuite, key, message);
      return Buffer.from(message);
    });
    const sockets = await Promise.all(
      Array.from({ length: SOCKETS }, async () => {
        const socket = dgram.createSocket('udp4');
        await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve));
        return socket;
      }),
    );
    return new Flood(sockets, messages, theirs.listenPort);
  }

  burst(): void {
    this.#messages.forEach((message, i) => {
      this.#unsent++;
      this.#sockets[i % SOCKETS].send(message, this.#port, '127.0.0.1', () => this.#unsent--);
    });
  }

  /** Whether all that was sent is with the kernel. */
  get hasLeft(): boolean {
    return this.#unsent === 0;
  }

  async close(): Promise<void> {
    await Promise.all(this.#sockets.map(socket => new Promise<void>(done => socket.close(() => done()))));
  }
}

/** What waits in the buffer of the IPv4 socket of a port (Linux Documentation/networking/proc_net_tcp.rst, rx_queue). */
function unreadBytes(port: number): number {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')} `;
  const line = readFileSync('/proc/net/udp', 'utf8')
    .split('\n')
    .find(socket => socket.includes(local));
  const queue = line && /[0-9A-F]{8}:([0-9A-F]{8})/.exec(line.slice(line.indexOf(' 07 ')));
  if (!queue) throw new Error(`nobody has port ${port}`);
  return Number.parseInt(queue[1], 16);
}
