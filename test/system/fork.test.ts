// Our machine is forked in the middle of traffic with a WireGuard that knows nothing of forks.
// Read on: docs/architecture.md "Why no nonce is used twice".

import { afterEach, expect, it } from 'vitest';
import { encodeKey } from '../../tunnel/keys.js';
import { closeAll, startPair } from './support/pair.js';
import { run, sleep, until } from './support/run.js';
import { OUR_V4, THEIR_V4, THEIR_V6 } from './support/wireguard-go.js';

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
  let mark = 0;
  let forkedAt = 0;
  let backAt = 0;
  const onSent = (n: number) => {
    if (n === 15) {
      mark = ours.sent.length;
      forkedAt = performance.now();
      ours.source.fork(NEW_ID);
    }
    const sessions = ours.events.filter(({ type }) => type === 'handshakeComplete').length;
    if (sessions === 2 && backAt === 0) backAt = performance.now();
  };
  const { received } = await ours.ping(THEIR_V4, { ...RUN, onSent, timeoutMs: 500 });
  // Only replies on their way while the session ended may be missing.
  expect(received).toBeGreaterThanOrEqual(25);
  expect(backAt - forkedAt).toBeLessThan(1_000);

  expect(ours.events.filter(({ type }) => type === 'vmFork')).toHaveLength(1);
  const before = ours.sent.slice(0, mark).filter(({ type }) => type === 'data');
  expect(before).toHaveLength(15);
  const old = new Set(before.map(({ receiverIndex }) => receiverIndex));
  const fresh = ours.sessions(mark);
  expect(old.size).toBe(1);
  expect(fresh.size).toBe(1);
  expect([...fresh].filter(session => old.has(session))).toEqual([]);
  expect(ours.sent[mark].type).toBe('initiation');
  expect(await theirs.ping(OUR_V4)).toEqual(ALL);
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
  expect(await theirs.ping(OUR_V4, { waitSeconds: 1 })).toEqual({ sent: 3, received: 0 });
  expect(await ours.ping(THEIR_V4, { timeoutMs: 100 })).toEqual({ sent: 3, received: 0 });
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
