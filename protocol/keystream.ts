// The keystream of a suite's cipher, for a generator of random numbers (`CrngOptions.keystream` of wireonce/crng).
// Promises: with a native suite no copy of a key is left behind; all suites give the same bytes.
// Read on: RFC 8439 section 2.8 (the AEAD encrypts from block 1 on); ../crng/keystream.ts (what is asked of it).

import { type Suite, TAG_BYTES } from './suite.js';

/**
 * A function that writes the keystream for a key (32 bytes) over an array of zeros, but for the last 16 bytes, which become a
 * tag. It throws what `seal` throws; then the array is to be erased.
 */
export function keystreamOf(suite: Suite): (key: Uint8Array, out: Uint8Array) => void {
  return (key, out) => {
    try {
      suite.seal(key, 0, 0, out, 0, out.length - TAG_BYTES);
    } finally {
      suite.forget();
    }
  };
}
