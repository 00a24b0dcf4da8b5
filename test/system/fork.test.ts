// Our machine is forked in the middle of traffic with a WireGuard that knows nothing of forks.
// Read on: docs/architecture.md "Why no nonce is used twice".

import { afterEach, expect, it } from 'vitest';
import { HANDSHAKE_INITIATION, TRANSPORT_DATA } from '../../protocol/constants.js';
import { TRANSPORT, readU32 } from '../../protocol/messages.js';
import { encodeKey } from '../../tunnel/keys.js';
import { MemorySource, VmGenId } from '../../vmgenid/index.js';
import { echoRequest } from './support/echo.js';
import { ipOf } from './support/our-peer.js';
import { closeAfterTest, closeAll, createTunnelTo, startPair } from './support/pair.js';
import { run, sleep, until } from './support/run.js';
import { OUR_V4, THEIR_V4, THEIR_V6, WireguardGo } from './support/wireguard-go.js';

const ALL = { sent: 3, received: 3 };
const RUN = { count: 30, intervalMs: 20 };
const NEW_ID = Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i);

afterEach(closeAll);

it('without a fork one session carries the whole run', async () => {
  const { ours } = await startPair();
  expect(await ours.ping(THEIR_V4, RUN)).toEqual({ sent: 30, received: 30 });
  expect(ours.sessions().size).toBe(1);
});

it('policy wipe: the old session is gone at once, and within a second a new one carries the traffic', async () => {
  const { ours, theirs } = await startPair();
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  const sessions = () => ours.events.filter(({ type }) => type === 'handshakeComplete').length;
  let mark = 0;
  let back = Promise.resolve();
  const onSent = (n: number) => {
    if (n !== 15) return;
    mark = ours.sent.length;
    ours.source.fork(NEW_ID);
    back = until('a new session', () => sessions() === 2, 1_000).then(() => undefined);
  };
  const { lost = [] } = await ours.ping(THEIR_V4, { ...RUN, onSent, timeoutMs: 500 });
  await back;
  // Replies that were on their way when the session ended may be missing, but nothing that was sent since.
  expect(lost.filter(sequence => sequence > 15)).toEqual([]);

  expect(ours.events.filter(({ type }) => type === 'vmFork')).toHaveLength(1);
  const before = ours.sent.slice(0, mark).filter(({ type }) => type === 'data');
  expect(before).toHaveLength(3 + 15);
  const old = new Set(before.map(({ receiverIndex }) => receiverIndex));
  const fresh = ours.sessions(mark);
  expect(old.size).toBe(1);
  expect(fresh.size).toBe(1);
  expect([...fresh].filter(session => old.has(session))).toEqual([]);
  expect(ours.sent[mark].type).toBe('initiation');
  expect(ours.count('initiation')).toBe(2);
  expect(await theirs.ping(OUR_V4)).toEqual(ALL);
});

it('policy wipe: a side that only answers calls at once, and their pings go on', async () => {
  const { ours, theirs } = await startPair();
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  const mark = ours.sent.length;
  const pinging = theirs.ping(OUR_V4, { count: 20 });
  await until('the first answers', () => ours.sent.length >= mark + 3);
  ours.source.fork(NEW_ID);
  const { sent, received } = await pinging;
  expect(sent).toBe(20);
  // What was under way when the keys ended is lost; without the call nothing would come for 15 seconds.
  expect(received).toBeGreaterThan(10);
  expect(ours.sent.slice(mark).filter(({ type }) => type === 'initiation')).toHaveLength(1);
});

it('a tunnel on the event loop keeps the same promise', async () => {
  const source = new MemorySource();
  const vmgenid = new VmGenId([source]);
  closeAfterTest(vmgenid);
  const { opened, replies } = await createTunnelTo(await WireguardGo.start(), vmgenid);
  const { tunnel, udp } = opened;
  const wire: { type: number; receiverIndex: number }[] = [];
  const send = udp.send.bind(udp);
  udp.send = (datagram, to) => {
    wire.push({ type: datagram[0], receiverIndex: readU32(datagram, TRANSPORT.receiver) });
    return send(datagram, to);
  };
  const ping = (sequence: number) =>
    tunnel.sendPacket(echoRequest(ipOf(OUR_V4), ipOf(THEIR_V4), 9, sequence));

  ping(0);
  await until('the first reply', () => replies.has(0));
  let mark = 0;
  for (let sequence = 1; sequence <= 20; sequence++) {
    if (sequence === 11) {
      mark = wire.length;
      source.fork(NEW_ID);
    }
    ping(sequence);
    await sleep(10);
  }
  const since = Array.from({ length: 10 }, (_, i) => 11 + i);
  await until('all replies since the fork', () => since.every(sequence => replies.has(sequence)));
  const sessions = (part: typeof wire) =>
    new Set(part.flatMap(({ type, receiverIndex }) => (type === TRANSPORT_DATA ? [receiverIndex] : [])));
  const [old] = sessions(wire.slice(0, mark));
  const fresh = sessions(wire.slice(mark));
  expect(wire[mark].type).toBe(HANDSHAKE_INITIATION);
  expect(fresh.size).toBe(1);
  expect(fresh.has(old)).toBe(false);
});

it('policy expire-sending: they go on pinging, and our next answer has a session of its own', async () => {
  const { ours, theirs } = await startPair({ device: { forkPolicy: 'expire-sending' } });
  expect(await ours.ping(THEIR_V6)).toEqual(ALL);
  const old = ours.sessions();
  const mark = ours.sent.length;
  ours.source.fork(NEW_ID);
  // The first request still opens; its answer waits for the handshake that it starts.
  expect(await theirs.ping(OUR_V4, { count: 10 })).toEqual({ sent: 10, received: 10 });
  const fresh = ours.sessions(mark);
  expect(fresh.size).toBe(1);
  expect([...fresh].filter(session => old.has(session))).toEqual([]);
});

it('policy hold: silent after a fork, whatever comes, until a new identity is set', async () => {
  const { ours, theirs } = await startPair({ device: { forkPolicy: 'hold' } });
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  const old = ours.sessions();
  const mark = ours.sent.length;
  ours.source.fork(NEW_ID);
  expect(await theirs.ping(OUR_V4, { waitSeconds: 1 })).toMatchObject({ sent: 3, received: 0 });
  expect(await ours.ping(THEIR_V4, { timeoutMs: 100 })).toMatchObject({ sent: 3, received: 0 });
  ours.device.initiateHandshake(theirs.publicKey);
  ours.skip(30_000);
  await sleep(50);
  expect(ours.sent.slice(mark)).toEqual([]);
  expect(ours.device.stats().held).toBe(true);

  const before = ours.publicKey.slice();
  ours.device.setPrivateKey(ours.crng.x25519PrivateKey());
  expect(encodeKey(ours.publicKey)).not.toBe(encodeKey(before));
  await theirs.removePeer(before);
  await theirs.setPeer({ publicKey: ours.publicKey });
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  expect(await theirs.ping(OUR_V4)).toEqual(ALL);
  expect([...ours.sessions(mark)].filter(session => old.has(session))).toEqual([]);
  await until('their handshake', async () =>
    (await run('wg', ['show', theirs.name, 'latest-handshakes'])).includes(encodeKey(ours.publicKey)),
  );
});
