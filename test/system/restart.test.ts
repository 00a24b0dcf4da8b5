// One side loses its memory, the other does not: traffic comes back by itself.
// Read on: WireGuard paper 5.1 (why a timestamp survives what a counter would not), 6.5.

import { afterEach, expect, it } from 'vitest';
import { OurPeer } from './support/our-peer.js';
import { closeAfterTest, closeAll, startPair } from './support/pair.js';
import { until } from './support/run.js';
import { OUR_V4, THEIR_V4 } from './support/wireguard-go.js';

const ALL = { sent: 3, received: 3 };
/** When data was sent and nothing came back, a new handshake follows after so long, jitter included. */
const NEW_HANDSHAKE_MS = 15_400;

afterEach(closeAll);

it('after their restart their first packet brings traffic back', async () => {
  const { ours, theirs } = await startPair();
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  await theirs.kill();
  await theirs.restart();
  await theirs.setPeer({ publicKey: ours.publicKey, endpoint: `127.0.0.1:${ours.port}` });
  expect(await theirs.ping(OUR_V4)).toEqual(ALL);
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  expect(ours.count('response')).toBe(1);
});

it('after their restart we notice that nothing comes back, and call them', async () => {
  const { ours, theirs } = await startPair();
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  await theirs.kill();
  await theirs.restart();
  await theirs.setPeer({ publicKey: ours.publicKey });
  // What they cannot open they leave unanswered.
  expect(await ours.ping(THEIR_V4, { count: 1, timeoutMs: 200 })).toMatchObject({ sent: 1, received: 0 });
  expect(ours.count('initiation')).toBe(1);
  ours.skip(NEW_HANDSHAKE_MS);
  await until('a new session', () => ours.events.filter(e => e.type === 'handshakeComplete').length === 2);
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
});

it('after our restart our first packet brings traffic back', async () => {
  const { ours, theirs } = await startPair();
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  await ours.close();

  const again = await OurPeer.start({ privateKey: ours.privateKey });
  closeAfterTest(again);
  again.setPeer(theirs, { address: '127.0.0.1' });
  expect(await again.ping(THEIR_V4)).toEqual(ALL);
  expect(await theirs.ping(OUR_V4)).toEqual(ALL);
  expect(again.count('initiation')).toBe(1);
});

it('after our restart with a clock that went back they refuse us as a replay, until it has caught up', async () => {
  const { ours, theirs } = await startPair();
  ours.skip(60_000);
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  await ours.close();

  const again = await OurPeer.start({ privateKey: ours.privateKey });
  closeAfterTest(again);
  again.setPeer(theirs, { address: '127.0.0.1' });
  expect(await again.ping(THEIR_V4, { timeoutMs: 300 })).toMatchObject({ sent: 3, received: 0 });
  expect(again.has('handshakeComplete')).toBe(false);
  again.skip(65_000);
  expect(await again.ping(THEIR_V4)).toEqual(ALL);
});

it('after our restart they notice that nothing comes back, and call us', async () => {
  const { ours, theirs } = await startPair({ initiator: 'they' });
  expect(await theirs.ping(OUR_V4)).toEqual(ALL);
  const port = ours.port;
  await ours.close();

  const again = await OurPeer.start({ privateKey: ours.privateKey, port });
  closeAfterTest(again);
  again.setPeer(theirs);
  const { received } = await theirs.ping(OUR_V4, { count: 17, intervalSeconds: 1 });
  expect(received).toBeGreaterThan(0);
  expect(again.device.stats().drops.unknownIndex).toBeGreaterThan(0);
  expect(again.count('response')).toBe(1);
});
