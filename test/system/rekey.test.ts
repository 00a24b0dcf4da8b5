// New keys in time. Our clock is set forward; theirs stays, and a true WireGuard has to agree all the same.
// Read on: WireGuard paper 6.1, 6.2.

import { afterEach, expect, it } from 'vitest';
import { closeAll, startPair } from './support/pair.js';
import { sleep, until } from './support/run.js';
import { OUR_V4, THEIR_V4, THEIR_V6 } from './support/wireguard-go.js';

const ALL = { sent: 3, received: 3 };

afterEach(closeAll);

it('as initiator we take new keys when we send after 120 seconds, not before, and no packet is lost', async () => {
  const { ours, theirs } = await startPair();
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  ours.skip(115_000);
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  expect(ours.count('initiation')).toBe(1);

  ours.skip(6_000);
  expect(await ours.ping(THEIR_V4, { count: 10 })).toEqual({ sent: 10, received: 10 });
  await until('a second session', () => ours.sessions().size === 2);
  expect(ours.count('initiation')).toBe(2);
  const mark = ours.sent.length;
  expect(await ours.ping(THEIR_V6)).toEqual(ALL);
  expect(await theirs.ping(OUR_V4)).toEqual(ALL);
  expect(ours.sessions(mark).size).toBe(1);
});

it('as responder we leave that to them, as long as our keys are young enough to send', async () => {
  const { ours, theirs } = await startPair({ initiator: 'they' });
  expect(await theirs.ping(OUR_V4)).toEqual(ALL);
  // The last word is theirs, so that we have no reason to doubt that they are there.
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  ours.skip(121_000);
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  expect(ours.count('initiation')).toBe(0);
  expect(ours.sessions().size).toBe(1);
});

it.each(['we', 'they'] as const)(
  'past 180 seconds nothing is sealed under the old keys; a new handshake brings traffic back (%s began)',
  async initiator => {
    const { ours, theirs } = await startPair({ initiator });
    if (initiator === 'we') expect(await ours.ping(THEIR_V4)).toEqual(ALL);
    else expect(await theirs.ping(OUR_V4)).toEqual(ALL);
    const old = ours.sessions();
    expect(old.size).toBe(1);

    ours.skip(181_000);
    const mark = ours.sent.length;
    expect(ours.device.peer(theirs.publicKey)?.hasSession).toBe(false);
    expect(await ours.ping(THEIR_V4)).toEqual(ALL);
    expect(ours.sent[mark].type).toBe('initiation');
    const fresh = ours.sessions(mark);
    expect(fresh.size).toBe(1);
    expect([...fresh].filter(session => old.has(session))).toEqual([]);
    expect(await theirs.ping(OUR_V4)).toEqual(ALL);
  },
);

it('what they seal under keys that are too old for us is refused, and counted', async () => {
  const { ours, theirs } = await startPair({ initiator: 'they' });
  ours.answers = false;
  await theirs.ping(OUR_V4, { count: 1, waitSeconds: 1 });
  // The passive keepalive is the last that we have to say: after it no timer of ours begins a handshake.
  ours.skip(10_500);
  await until('the keepalive', () => ours.count('data') === 1);
  ours.skip(170_000);
  await theirs.ping(OUR_V4, { waitSeconds: 1 });
  expect(ours.device.stats().drops.expiredKeypair).toBe(3);
  expect(ours.sent.map(({ type }) => type)).toEqual(['response', 'data']);
});

it('an initiation that nobody answers is sent again after five seconds, and the packets have waited', async () => {
  const { ours, theirs } = await startPair();
  await theirs.removePeer(ours.publicKey);
  const ping = ours.ping(THEIR_V4, { timeoutMs: 10_000 });
  await until('wireguard-go to refuse it', () => /Received invalid initiation/i.test(theirs.log()));
  await theirs.setPeer({ publicKey: ours.publicKey });
  ours.skip(3_000);
  await sleep(20);
  expect(ours.count('initiation')).toBe(1);
  ours.skip(2_400);
  expect(await ping).toEqual(ALL);
  expect(ours.count('initiation')).toBe(2);
});
