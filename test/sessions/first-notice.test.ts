// A handshake that is itself the first to notice the fork, and what it must not go on with.

import { afterEach, expect, it, vi } from 'vitest';
import { PEER_SESSION_BYTES } from '../../sessions/peer.js';
import { watchKeyBlocks } from '../support/key-blocks.js';
import { Pair } from '../support/pair.js';

const ID = new Uint8Array(16).fill(0xf0);

afterEach(() => {
  vi.restoreAllMocks();
});

it('under policy hold an initiation that notices the fork is not sent', () => {
  const pair = new Pair({ a: { device: { forkPolicy: 'hold' } } });
  pair.a.source.fork(ID);
  pair.a.device.initiateHandshake(pair.b.publicKey);
  expect(pair.a.types).toEqual([]);
  expect(pair.a.device.stats()).toMatchObject({ held: true, forks: 1, waitingForFreshness: 0 });
});

it('a response that notices the fork keeps nothing of the initiation', () => {
  let reads = 0;
  let forkAt = Number.POSITIVE_INFINITY;
  const onRead = () => {
    if (++reads === forkAt) pair.a.source.fork(ID);
  };
  const pair: Pair = new Pair({ a: { source: { uniqueness: 'counter', onRead } } });
  pair.send(pair.b);
  const [initiation] = pair.b.take();
  // The first read is the look before anything is consumed; the next is the generator's.
  forkAt = reads + 2;
  pair.a.receive(initiation);
  expect(pair.a.types).toEqual([]);
  expect(pair.a.device.stats()).toMatchObject({ forks: 1, waitingForFreshness: 0 });
});

it('an initiation that notices the fork while it draws leaves nothing in key memory', () => {
  const blocks = watchKeyBlocks();
  for (let offset = 1; offset <= 6; offset++) {
    let reads = 0;
    let forkAt = Number.POSITIVE_INFINITY;
    const onRead = () => {
      if (++reads === forkAt) pair.a.source.fork(ID);
    };
    blocks.length = 0;
    const pair: Pair = new Pair({ a: { source: { uniqueness: 'counter', onRead } } });
    forkAt = reads + offset;
    pair.a.device.initiateHandshake(pair.b.publicKey);
    expect(pair.a.device.stats().forks, `read ${offset}`).toBe(1);
    expect(pair.a.types).toEqual([]);
    const sessions = blocks.filter(({ length }) => length === PEER_SESSION_BYTES);
    expect(sessions.length).toBeGreaterThan(0);
    expect(sessions.every(block => block.every(byte => byte === 0))).toBe(true);
  }
});
