// The input pool: whatever was ever mixed in counts for every later extraction, and nothing can be taken back out.
// Promises: an extraction re-keys the pool, so that neither earlier inputs nor earlier outputs follow from its state.
// Read on: Linux random.c mix_pool_bytes(), extract_entropy(); BLAKE2s is RFC 7693.

import { blake2s } from '@noble/hashes/blake2.js';
import { secretBytes } from '../native/secret-bytes.js';

/** Bytes of a pool key, of an extraction seed, and of one output block: a BLAKE2s hash. */
export const POOL_BYTES = 32;

/** Bytes of the counter behind the fresh bytes of a block: a `size_t` of the kernel, little-endian. */
const COUNTER_BYTES = 8;

export class InputPool {
  #hash = blake2s.create({ dkLen: POOL_BYTES });

  /** Adds bytes of any number and any quality. They can only help. */
  mix(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /**
   * Fills `out` and re-keys the pool. `fresh` (32 bytes) stands where the kernel has RDSEED, an instruction that a
   * script cannot give: the caller brings bytes that the pool has not seen.
   */
  extract(fresh: Uint8Array, out: Uint8Array): void {
    const seed = secretBytes(POOL_BYTES);
    const nextKey = secretBytes(POOL_BYTES);
    const block = secretBytes(POOL_BYTES + COUNTER_BYTES);
    const counter = new DataView(block.buffer, POOL_BYTES);
    const old = this.#hash;
    try {
      // seed = HASHPRF(last key, everything mixed in)
      old.digestInto(seed);
      block.set(fresh);
      // next key = HASHPRF(seed, fresh || 0)
      prf(seed, block, nextKey);
      this.#hash = blake2s.create({ dkLen: POOL_BYTES, key: nextKey });
      // output = HASHPRF(seed, fresh || 1), HASHPRF(seed, fresh || 2), ...
      for (let at = 0; at < out.length; at += POOL_BYTES) {
        counter.setUint32(0, at / POOL_BYTES + 1, true);
        prf(seed, block, out.subarray(at, at + POOL_BYTES));
      }
    } finally {
      old.destroy();
      seed.fill(0);
      nextKey.fill(0);
      block.fill(0);
    }
  }

  /** Wipes the pool. It takes nothing and gives nothing from then on. */
  destroy(): void {
    this.#hash.destroy();
  }
}

function prf(key: Uint8Array, message: Uint8Array, out: Uint8Array): void {
  const hash = blake2s.create({ key, dkLen: out.length });
  hash.update(message).digestInto(out);
  hash.destroy();
}
