// The tripwire against a WireGuard that knows nothing of it.
// A wireguard-go cannot be copied while it runs (its sessions live in one process's memory). What a copy of it would put
// on the wire can be made: our side holds the same session keys. Copies of whole machines are for test/vm.

import { type Socket, createSocket } from 'node:dgram';
import { afterEach, describe, expect, it } from 'vitest';
import { TRANSPORT, writeU32 } from '../../protocol/messages.js';
import type { Suite } from '../../protocol/suite.js';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import { messageLength, paddedLength } from '../../protocol/transport.js';
import { echoRequest } from './support/echo.js';
import { type OurPeerOptions, ipOf } from './support/our-peer.js';
import { closeAfterTest, closeAll, startPair } from './support/pair.js';
import { sleep, until } from './support/run.js';
import { OUR_V4, THEIR_V4 } from './support/wireguard-go.js';

const ALL = { sent: 3, received: 3 };
/** Longer than the five seconds between two handshakes. */
const NEXT_HANDSHAKE_MS = 6_000;

afterEach(closeAll);

/** Knows what the other side seals with, from what we open. */
class SessionSpy {
  readonly suite: Suite;
  #key = new Uint8Array(32);
  #receiver = 0;
  #low = 0;

  constructor(suite: Suite) {
    const open: Suite['open'] = (key, low, high, buffer, offset, length, aad) => {
      const receiver = new DataView(buffer.buffer, buffer.byteOffset).getUint32(TRANSPORT.receiver, true);
      const opened = suite.open(key, low, high, buffer, offset, length, aad);
      if (opened && aad === undefined && offset === TRANSPORT.packet) {
        this.#key = new Uint8Array(key);
        this.#receiver = receiver;
        this.#low = low;
      }
      return opened;
    };
    // Without an opener of the suite's own messages are opened one by one, by the function above.
    this.suite = Object.assign(Object.create(suite) as Suite, { open, opener: undefined });
  }

  /** The message that a copy of the other machine would send next to the one that we opened last: the same counter. */
  sealAsTwin(packet: Uint8Array): Uint8Array {
    const padded = paddedLength(packet.length, 1420);
    const message = new Uint8Array(messageLength(padded));
    message[0] = 4;
    writeU32(message, TRANSPORT.receiver, this.#receiver);
    writeU32(message, TRANSPORT.counter, this.#low);
    message.set(packet, TRANSPORT.packet);
    this.suite.seal(this.#key, this.#low, 0, message, TRANSPORT.packet, padded);
    return message;
  }
}

async function openSocket(): Promise<Socket> {
  const socket = createSocket('udp4');
  await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve));
  closeAfterTest({ close: () => new Promise<void>(resolve => socket.close(() => resolve())) });
  return socket;
}

async function pairWithTwin(options: OurPeerOptions['device'] = {}) {
  const spy = new SessionSpy(await fastestSuite());
  const pair = await startPair({ device: { ...options, suite: spy.suite } });
  const elsewhere = await openSocket();
  let sequence = 0;
  const sendAsTwin = () =>
    elsewhere.send(
      spy.sealAsTwin(echoRequest(ipOf(THEIR_V4), ipOf(OUR_V4), 0x7777, sequence++)),
      pair.ours.port,
      '127.0.0.1',
    );
  return { ...pair, sendAsTwin };
}

describe('wireguard-go, and a machine that seals under its session keys', () => {
  it('is found out: the session ends, and a new one carries the traffic', async () => {
    const { ours, theirs, sendAsTwin } = await pairWithTwin();
    expect(await ours.ping(THEIR_V4)).toEqual(ALL);
    const old = ours.sessions();
    const mark = ours.sent.length;
    ours.skip(NEXT_HANDSHAKE_MS);
    sendAsTwin();
    await until('the event', () => ours.has('peerCloned'));
    expect(ours.device.stats()).toMatchObject({ clonedPeers: 1, drops: { reusedCounter: 1 } });
    await until('a new session', () => ours.device.peers()[0].hasSession);
    expect(await ours.ping(THEIR_V4)).toEqual(ALL);
    // `ping` waits for two round trips after its first answer, and no longer: on a busy machine the others come late.
    expect((await theirs.ping(OUR_V4)).received).toBeGreaterThan(0);
    expect([...ours.sessions(mark)].filter(session => old.has(session))).toEqual([]);
    expect(ours.device.stats().clonedPeers).toBe(1);
  });

  it('control: switched off, it is taken for a replay, and the old session goes on', async () => {
    const { ours, sendAsTwin } = await pairWithTwin({ tripwire: false });
    expect(await ours.ping(THEIR_V4)).toEqual(ALL);
    ours.skip(NEXT_HANDSHAKE_MS);
    sendAsTwin();
    await until('the drop', () => ours.device.stats().drops.replayedCounter === 1);
    expect(await ours.ping(THEIR_V4)).toEqual(ALL);
    expect(ours.sessions().size).toBe(1);
    expect(ours.has('peerCloned')).toBe(false);
  });
});

it('a wireguard-go whose datagrams are doubled and put out of order accuses itself of nothing', async () => {
  const { ours, theirs } = await startPair();
  const relay = await openSocket();
  const late: Buffer[] = [];
  let doubled = 0;
  relay.on('message', (datagram, { port }) => {
    if (port === ours.port) return relay.send(datagram, theirs.listenPort, '127.0.0.1');
    // Every datagram twice, and every third only after the two that follow it.
    late.push(datagram);
    if (late.length < 3) return;
    for (const each of [late[1], late[2], late[0], late[1], late[0], late[2]]) {
      relay.send(each, ours.port, '127.0.0.1');
      doubled++;
    }
    late.length = 0;
  });
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  await theirs.setPeer({ publicKey: ours.publicKey, endpoint: `127.0.0.1:${relay.address().port}` });
  await theirs.ping(OUR_V4, { count: 60, intervalSeconds: 0.02, waitSeconds: 1 });
  await sleep(50);
  expect(doubled).toBeGreaterThan(60);
  const { drops, clonedPeers } = ours.device.stats();
  expect(drops.replayedCounter).toBeGreaterThan(20);
  expect(drops.reusedCounter).toBe(0);
  expect(clonedPeers).toBe(0);
});
