// The cipher under the generator, as a keystream: noble's, unless whoever makes a generator brings a better one.
// Promises: all of them give the same bytes. noble's copies the key, and leaves the copy in the engine's heap until that is
// used again (SECURITY.md); a native one leaves none.
// Read on: RFC 8439 section 2.4; ../protocol/keystream.ts (the native ones).

import { chacha20 } from '@noble/ciphers/chacha.js';

/**
 * Writes over `out`, which is zeros, ChaCha20's keystream for `key` (32 bytes), a nonce of zeros, and blocks from 1 on: so it
 * is what ChaCha20-Poly1305 makes of zeros. The last `KEYSTREAM_TAIL_BYTES` of `out` may become anything. Keeps nothing of
 * the key.
 */
export type Keystream = (key: Uint8Array, out: Uint8Array) => void;

/** noble's scratch keeps the last 64 bytes of a keystream, where nobody can wipe them; an AEAD has its tag there. */
export const KEYSTREAM_TAIL_BYTES = 64;

const ZERO_NONCE = new Uint8Array(12);

/** For every platform and browser. */
export const nobleKeystream: Keystream = (key, out) => void chacha20(key, ZERO_NONCE, out, out, 1);
