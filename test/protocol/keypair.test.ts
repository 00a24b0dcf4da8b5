import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KEYPAIR_BYTES, Keypair } from '../../protocol/keypair.js';

const input = { createdAt: 5, epoch: 3, localIndex: 1, remoteIndex: 2, isInitiator: true };

describe('a keypair', () => {
  it('has its keys and its counter in the storage that it is given, and nowhere else', () => {
    const slab = new Uint8Array(new SharedArrayBuffer(2 * KEYPAIR_BYTES));
    const storage = slab.subarray(KEYPAIR_BYTES);
    const keypair = new Keypair(storage, input);
    storage.fill(7, 0, 64);
    expect(keypair.sendKey).toEqual(new Uint8Array(32).fill(7));
    expect(keypair.receiveKey).toEqual(new Uint8Array(32).fill(7));
    expect(keypair.counter.spend()).toBe(true);
    expect([...storage.subarray(64, 72)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0]);
    slab.fill(0);
    expect(keypair.sendKey.every(byte => byte === 0)).toBe(true);
    expect(keypair.counter.value).toBe(0n);
    expect(slab.subarray(0, KEYPAIR_BYTES).every(byte => byte === 0)).toBe(true);
  });

  it('seals and opens in the epoch of its birth', () => {
    const keypair = new Keypair(new Uint8Array(KEYPAIR_BYTES), input);
    expect([keypair.sendEpoch, keypair.receiveEpoch]).toEqual([3, 3]);
  });

  it.each([0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])(
    'knows by which index the peer has it: %d',
    remoteIndex => {
      expect(new Keypair(new Uint8Array(KEYPAIR_BYTES), { ...input, remoteIndex }).remoteIndex).toBe(
        remoteIndex,
      );
    },
  );

  it('knows the millisecond of its birth, and is never younger than it is', () => {
    // Up to 34,000 years.
    fc.assert(
      fc.property(fc.double({ min: 0, max: 2 ** 50, noNaN: true }), createdAt => {
        const keypair = new Keypair(new Uint8Array(KEYPAIR_BYTES), { ...input, createdAt });
        expect(keypair.createdAt).toBe(Math.floor(createdAt));
      }),
    );
  });
});
