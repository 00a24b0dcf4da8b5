// The primitives behind one interface. Implementations wrap well-kept libraries; none is written here.
// Promises of each: constant-time comparison of tags, the same bytes as every other suite, keys may lie in shared memory.
// Read on: RFC 8439 (ChaCha20-Poly1305), draft-irtf-cfrg-xchacha, RFC 7748 (X25519), RFC 7693 (BLAKE2s).

import type { Memory } from '../native/room.js';

/** Bytes of the Poly1305 tag that `seal` appends. */
export const TAG_BYTES = 16;
/** Bytes of a key, of any kind. */
export const KEY_BYTES = 32;
/** Bytes of a BLAKE2s hash. */
export const HASH_BYTES = 32;
/** Bytes of a keyed BLAKE2s-128, which mac1 and mac2 are. */
export const MAC_BYTES = 16;
/** Bytes of an XChaCha20-Poly1305 nonce. */
export const XNONCE_BYTES = 24;

/** The primitives of WireGuard, as one library has them. All suites make the same bytes. */
export interface Suite {
  readonly name: string;

  /**
   * ChaCha20-Poly1305 in place: encrypts `buffer[offset, offset + length)` and writes the tag behind it. The nonce is
   * 4 zero bytes and the counter `counterHigh * 2^32 + counterLow`, little-endian (paper 5.4.6). `aad` may be empty.
   */
  seal(
    key: Uint8Array,
    counterLow: number,
    counterHigh: number,
    buffer: Uint8Array,
    offset: number,
    length: number,
    aad?: Uint8Array,
  ): void;

  /**
   * The inverse: `length` counts the tag. Returns whether the tag was right; if not, the buffer's content is undefined
   * and must not be used.
   */
  open(
    key: Uint8Array,
    counterLow: number,
    counterHigh: number,
    buffer: Uint8Array,
    offset: number,
    length: number,
    aad?: Uint8Array,
  ): boolean;

  /** For many data messages at a time. Absent: `seal` and `open` one by one are all there is (see `batches.ts`). */
  readonly sealer?: () => Sealer;
  /** Opens many messages by one call; where there is none, `open` is called for each. */
  readonly opener?: () => Opener;

  /** XChaCha20-Poly1305 with a 24-byte nonce: the plaintext with its tag, in a new array. */
  sealX(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Uint8Array;
  /** The inverse; `undefined` when the tag is wrong. */
  openX(key: Uint8Array, nonce: Uint8Array, ciphertext: Uint8Array, aad: Uint8Array): Uint8Array | undefined;

  /** Writes the public key of a private key (both 32 bytes) into `out`. Clamps as RFC 7748 says. */
  publicKey(privateKey: Uint8Array, out: Uint8Array): void;
  /**
   * Writes the shared secret into `out`. False, with `out` zeroed, for a low-order point: the secret would be all
   * zeros, whatever the private key (RFC 7748 section 6.1).
   */
  sharedSecret(privateKey: Uint8Array, publicKey: Uint8Array, out: Uint8Array): boolean;

  /** BLAKE2s-256 of the parts in a row, into `out` (32 bytes). */
  hash(out: Uint8Array, ...parts: Uint8Array[]): void;
  /** Keyed BLAKE2s-128 into `out` (16 bytes). */
  mac(out: Uint8Array, key: Uint8Array, ...parts: Uint8Array[]): void;
  /** HMAC-BLAKE2s-256 into `out` (32 bytes). */
  hmac(out: Uint8Array, key: Uint8Array, ...parts: Uint8Array[]): void;

  /**
   * Erases what the suite itself keeps of the keys it was last given, as native contexts do. Call whenever a key is
   * erased: a key has no second home. Costs a few microseconds at most.
   */
  forget(): void;
}

/**
 * Seals messages when it pleases, and at `settle` at the latest: a native library seals many of them by one call. The
 * key is copied at once: whatever becomes of it, the message is sealed under the key and counter that were given.
 */
export interface Sealer {
  /**
   * As `Suite.seal`. Until `settle` has returned the buffer may hold plaintext: it must neither be read nor changed, and
   * its memory not be transferred. In a room a native library need not look where it lies.
   */
  seal(
    key: Uint8Array,
    counterLow: number,
    counterHigh: number,
    buffer: Memory,
    offset: number,
    length: number,
  ): void;
  /**
   * Everything is sealed when it returns. If it throws, something since the last `settle` was not, and is zeroed: none of
   * it may be sent.
   */
  settle(): void;
}

/** Opens messages likewise, and tells of each, by its place in the batch, whether its tag was right. */
export interface Opener {
  /** Messages that one batch holds. */
  readonly capacity: number;
  /**
   * As `Suite.open`, for a message whose buffer must not be touched, nor its memory transferred, until `settle`.
   * Returns its place: 0 for the first since the last `settle`. Call no more than `capacity` times between two of
   * these.
   */
  open(
    key: Uint8Array,
    counterLow: number,
    counterHigh: number,
    buffer: Memory,
    offset: number,
    length: number,
  ): number;
  /** Everything is opened, or judged, when it returns. */
  settle(): void;
  /** Whether the tag of a message was right; to be asked after `settle` and before the next `open`. */
  isOpened(place: number): boolean;
}

/** The public key of a private key, in a new array. Throws `ERR_LENGTH` unless it has 32 bytes. */
export function publicKeyOf(suite: Suite, privateKey: Uint8Array): Uint8Array {
  const publicKey = new Uint8Array(KEY_BYTES);
  suite.publicKey(privateKey, publicKey);
  return publicKey;
}
