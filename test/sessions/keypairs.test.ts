import { describe, expect, it } from 'vitest';
import type { Keypair } from '../../protocol/keypair.js';
import { KEYPAIRS_BYTES, Keypairs } from '../../sessions/keypairs.js';

const input = { createdAt: 5, epoch: 3, localIndex: 1, remoteIndex: 2, isInitiator: true };

describe('the three keypairs of a peer', () => {
  function peer() {
    // Somewhere in a slab.
    const storage = new Uint8Array(16 + KEYPAIRS_BYTES).subarray(16);
    const dropped: number[] = [];
    const keypairs = new Keypairs(storage, keypair => dropped.push(keypair.localIndex));
    const install = (localIndex: number, isInitiator: boolean) =>
      keypairs.install(new Uint8Array(64).fill(localIndex), { ...input, localIndex, isInitiator });
    const slots = () => [keypairs.previous, keypairs.current, keypairs.next].map(k => k?.localIndex ?? 0);
    return { storage, dropped, keypairs, install, slots };
  }

  it('an initiator sends under its new pair at once', () => {
    const { install, slots, dropped } = peer();
    install(1, true);
    expect(slots()).toEqual([0, 1, 0]);
    install(2, true);
    expect(slots()).toEqual([1, 2, 0]);
    install(3, true);
    expect(slots()).toEqual([2, 3, 0]);
    expect(dropped).toEqual([1]);
  });

  it('a responder waits in next until it is confirmed', () => {
    const { keypairs, install, slots, dropped } = peer();
    install(1, true);
    install(2, true);
    const next = install(3, false);
    expect(slots()).toEqual([0, 2, 3]);
    expect(keypairs.confirm(keypairs.current as Keypair)).toBe(false);
    expect(keypairs.confirm(next)).toBe(true);
    expect(keypairs.confirm(next)).toBe(false);
    expect(slots()).toEqual([2, 3, 0]);
    expect(dropped).toEqual([1]);
  });

  it('a newer next replaces one that was never confirmed', () => {
    const { install, slots, dropped } = peer();
    install(1, false);
    install(2, false);
    expect(slots()).toEqual([0, 0, 2]);
    expect(dropped).toEqual([1]);
  });

  it('an initiator with a next pending keeps that as previous', () => {
    const { install, slots, dropped } = peer();
    install(1, true);
    install(2, false);
    install(3, true);
    expect(slots()).toEqual([2, 3, 0]);
    expect(dropped).toEqual([1]);
  });

  it('are counted, and each is known as one of them until it is dropped', () => {
    const { keypairs, install } = peer();
    const made = [install(1, true)];
    const known = () => made.map(keypair => keypairs.has(keypair));
    expect([keypairs.size, known()]).toEqual([1, [true]]);
    made.push(install(2, true));
    expect([keypairs.size, known()]).toEqual([2, [true, true]]);
    made.push(install(3, false));
    expect([keypairs.size, known()]).toEqual([2, [false, true, true]]);
    keypairs.clear();
    expect([keypairs.size, known()]).toEqual([0, [false, false, false]]);
  });

  it('all are zeroed before anybody hears that they are dropped, and each is told of once', () => {
    const storage = new Uint8Array(KEYPAIRS_BYTES);
    const seen: [number, number][] = [];
    const keypairs = new Keypairs(storage, ({ localIndex }) =>
      seen.push([localIndex, storage.filter(byte => byte === 7).length]),
    );
    for (const isInitiator of [true, false])
      keypairs.install(new Uint8Array(64).fill(7), {
        ...input,
        localIndex: isInitiator ? 1 : 2,
        isInitiator,
      });
    keypairs.clear();
    keypairs.clear();
    expect(seen).toEqual([
      [1, 0],
      [2, 0],
    ]);
  });

  it('forgotten with a slab that was erased, nobody hears of them', () => {
    const { keypairs, install, dropped, slots } = peer();
    install(1, true);
    install(2, false);
    keypairs.forget();
    expect([slots(), keypairs.size, dropped]).toEqual([[0, 0, 0], 0, []]);
  });

  it('takes the keys away from where they came, and zeroes what it drops', () => {
    const { storage, keypairs, install } = peer();
    const keys = new Uint8Array(64).fill(9);
    const first = keypairs.install(keys, { ...input, localIndex: 9 });
    expect(keys.every(byte => byte === 0)).toBe(true);
    expect(first.sendKey).toEqual(new Uint8Array(32).fill(9));
    install(1, true);
    install(2, true);
    expect(storage.includes(9)).toBe(false);
    const current = keypairs.current;
    keypairs.clear();
    expect(keypairs.size).toBe(0);
    expect(current?.counter.spend()).toBe(false);
    for (let slot = 0; slot < 2; slot++) {
      expect(storage.subarray(80 * slot, 80 * slot + 64).every(byte => byte === 0)).toBe(true);
    }
  });

  it('in any order of handshakes there are two pairs at most, each with a home and keys of its own', () => {
    const { keypairs, install } = peer();
    let seed = 1;
    for (let i = 1; i < 250; i++) {
      seed = (seed * 48271) % 0x7fff_ffff;
      const made = install(i % 255, seed % 2 === 0);
      if (seed % 3 === 0) keypairs.confirm(made);
      const live = [keypairs.previous, keypairs.current, keypairs.next].filter(k => k !== undefined);
      expect(live.length).toBeLessThanOrEqual(2);
      expect(new Set(live.map(k => k.sendKey.byteOffset)).size).toBe(live.length);
      for (const k of live) expect(k.sendKey.every(byte => byte === k.localIndex)).toBe(true);
    }
  });
});
