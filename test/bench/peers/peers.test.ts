// The parts of the bench of very many peers that need no daemon: who is met when, and what is counted.

import { expect, test } from 'vitest';
import { innerAddress, nextPeer, outerAddress } from '../../../bench/peers/addresses.js';
import { metricsFor } from '../../../bench/peers/metrics.js';
import { perPacket } from '../../../bench/peers/round.js';

test.each([1, 2, 1_000, 7_907, 7_919, 10_000, 15_838, 131_072])('of %d peers each is met as often', peers => {
  const met = new Uint8Array(peers);
  let peer = 0;
  for (let i = 0; i < 2 * peers; i++) {
    peer = nextPeer(peer, peers);
    met[peer]++;
  }
  expect(met.every(times => times === 2)).toBe(true);
});

test('every peer has addresses of its own', () => {
  const peers = 131_072;
  const inner = new Set<string>();
  const outer = new Set<string>();
  for (let i = 0; i < peers; i++) {
    inner.add(innerAddress(i).join('.'));
    outer.add(outerAddress(i).join('.'));
  }
  expect([inner.size, outer.size]).toEqual([peers, peers]);
  expect(Array.from(outer).every(address => /^198\.(18|19)\./.test(address))).toBe(true);
});

test('what was spent is divided by what was carried, and too little is no figure', () => {
  const load = { packets: 100_000, cpuSeconds: 0.5, perSecond: 40_000 };
  expect(perPacket('receive', 10, load)).toEqual({ 'receive-10': 5, 'receive-rate-10': 40_000 });
  expect(() => perPacket('send', 10, { ...load, packets: 999 })).toThrow('only 999 packets');
});

test('every figure of packets has its metric', () => {
  const load = { packets: 5_000, cpuSeconds: 1, perSecond: 1 };
  const ids = metricsFor(10).map(({ id }) => id);
  for (const peers of [1, 10]) {
    for (const way of ['receive', 'send']) {
      for (const id of Object.keys(perPacket(way, peers, load))) expect(ids).toContain(id);
    }
  }
  expect(new Set(ids).size).toBe(ids.length);
});
