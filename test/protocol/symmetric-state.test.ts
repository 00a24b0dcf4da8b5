import { blake2s } from '@noble/hashes/blake2.js';
import { hmac } from '@noble/hashes/hmac.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SYMMETRIC_STATE_BYTES, SymmetricState, kdf } from '../../protocol/symmetric-state.js';
import { referenceKdf } from '../support/noise-reference.js';
import { counting, suites, toHex } from '../support/suites.js';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

describe.each(suites.map(suite => [suite.name, suite] as const))('with the %s suite', (_, suite) => {
  it('KDF1, KDF2 and KDF3 are HKDF with HMAC-BLAKE2s', () => {
    fc.assert(
      fc.property(
        bytes(32),
        fc.uint8Array({ maxLength: 96 }),
        fc.integer({ min: 1, max: 3 }),
        (key, input, n) => {
          const outs = Array.from({ length: n }, () => new Uint8Array(32));
          kdf(suite, outs, key, input);
          expect(outs.map(toHex)).toEqual(referenceKdf(n, key, input).map(toHex));
        },
      ),
      { numRuns: 40 },
    );
  });

  it('KDF is what the paper writes down, step by step', () => {
    const [key, input] = [counting(32), counting(7)];
    const t0 = hmac(blake2s, key, input);
    const t1 = hmac(blake2s, t0, Uint8Array.of(1));
    const t2 = hmac(blake2s, t0, Uint8Array.of(...t1, 2));
    const t3 = hmac(blake2s, t0, Uint8Array.of(...t2, 3));
    const outs = [new Uint8Array(32), new Uint8Array(32), new Uint8Array(32)];
    kdf(suite, outs, key, input);
    expect(outs.map(toHex)).toEqual([t1, t2, t3].map(toHex));
  });

  it('the first output may replace the key', () => {
    const key = counting(32);
    const [first, second] = referenceKdf(2, counting(32), counting(5));
    const out = new Uint8Array(32);
    kdf(suite, [key, out], key, counting(5));
    expect([toHex(key), toHex(out)]).toEqual([toHex(first), toHex(second)]);
  });

  it('a copy goes its own way', () => {
    const state = new SymmetricState(suite).initialize(counting(32));
    const before = toHex(state.hash);
    const copy = state.copy();
    copy.mixHash(counting(3));
    copy.mixKey(counting(4));
    expect(toHex(state.hash)).toBe(before);
    expect(toHex(copy.hash)).not.toBe(before);
  });

  it('what one state seals another opens, and a wrong tag leaves the hash as it was', () => {
    const sender = new SymmetricState(suite).initialize(counting(32));
    sender.mixKey(counting(9));
    const receiver = sender.copy();
    const sealed = new Uint8Array(3 + 16);
    sender.encryptAndHash(counting(3), sealed, 0);
    const before = toHex(receiver.hash);
    for (let i = 0; i < sealed.length; i++) {
      const wrong = sealed.slice();
      wrong[i] ^= 1;
      expect(receiver.decryptAndHash(wrong)).toBeUndefined();
      expect(toHex(receiver.hash)).toBe(before);
    }
    const untouched = toHex(sealed);
    expect(receiver.decryptAndHash(sealed)).toEqual(counting(3));
    expect(toHex(sealed)).toBe(untouched);
    expect(toHex(receiver.hash)).toBe(toHex(sender.hash));
  });

  it('lives in the bytes it is given, and a wipe leaves none of it', () => {
    const storage = new Uint8Array(new SharedArrayBuffer(SYMMETRIC_STATE_BYTES));
    const state = new SymmetricState(suite, storage).initialize(counting(32));
    state.mixKey(counting(1));
    state.mixKeyAndHash(counting(2));
    expect(storage.some(byte => byte !== 0)).toBe(true);
    state.wipe();
    expect(storage.every(byte => byte === 0)).toBe(true);
  });
});
