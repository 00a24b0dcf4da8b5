// The Noise symmetric state: a chaining key, a transcript hash and the key of the next encryption.
// Promises: everything lies in one caller-given array, so that one fill ends it; `wipe` leaves nothing behind.
// Read on: Noise specification 5.2; WireGuard paper 5.4 (KDF1-3, and an AEAD nonce that is always 0 here).

import { copySecret, secretBytes } from '../native/secret-bytes.js';
import { CONSTRUCTION, IDENTIFIER } from './constants.js';
import { HASH_BYTES, KEY_BYTES, type Suite, TAG_BYTES } from './suite.js';

/** Bytes of a state: chaining key, hash, cipher key. */
export const SYMMETRIC_STATE_BYTES = HASH_BYTES + HASH_BYTES + KEY_BYTES;

const text = new TextEncoder();
const ONE = Uint8Array.of(1);
const TWO = Uint8Array.of(2);
const THREE = Uint8Array.of(3);
const NOTHING = new Uint8Array(0);

// Of the derivation in hand: zeros between two.
const secret = secretBytes(HASH_BYTES);
const previous = secretBytes(HASH_BYTES);
const forHash = secretBytes(HASH_BYTES);

/**
 * KDF1, KDF2, KDF3 of the paper, which are HKDF with HMAC-BLAKE2s: writes one 32-byte output into each of `outs`
 * (one to three arrays; the first may be `key` itself).
 */
export function kdf(suite: Suite, outs: Uint8Array[], key: Uint8Array, input: Uint8Array): void {
  try {
    suite.hmac(secret, key, input);
    suite.hmac(previous, secret, ONE);
    outs[0].set(previous);
    if (outs.length > 1) {
      suite.hmac(previous, secret, previous, TWO);
      outs[1].set(previous);
    }
    if (outs.length > 2) {
      suite.hmac(previous, secret, previous, THREE);
      outs[2].set(previous);
    }
  } finally {
    secret.fill(0);
    previous.fill(0);
  }
}

/** The chaining key and the hash of a handshake under way. Noise specification 5.2. */
export class SymmetricState {
  readonly chainingKey: Uint8Array;
  readonly hash: Uint8Array;
  readonly #key: Uint8Array;
  readonly #bytes: Uint8Array;
  readonly #suite: Suite;

  /** Lives in `bytes` (96); what they hold is taken as the state. Start a new one with `initialize`. */
  constructor(suite: Suite, bytes: Uint8Array = secretBytes(SYMMETRIC_STATE_BYTES)) {
    this.#suite = suite;
    this.#bytes = bytes;
    this.chainingKey = bytes.subarray(0, 32);
    this.hash = bytes.subarray(32, 64);
    this.#key = bytes.subarray(64, 96);
  }

  /** ck = H(construction); h = H(H(ck || identifier) || S_r). */
  initialize(responderStatic: Uint8Array): this {
    this.#suite.hash(this.chainingKey, text.encode(CONSTRUCTION));
    this.#suite.hash(this.hash, this.chainingKey, text.encode(IDENTIFIER));
    this.mixHash(responderStatic);
    return this;
  }

  /** A state of its own with the same content, to work on and to throw away when a message proves false. */
  copy(): SymmetricState {
    return new SymmetricState(this.#suite, copySecret(this.#bytes));
  }

  /** Noise specification 5.2, MixHash. */
  mixHash(data: Uint8Array): void {
    this.#suite.hash(this.hash, this.hash, data);
  }

  /** KDF1: the chaining key alone. WireGuard does this where Noise would set an unused cipher key too. */
  mixChainingKey(input: Uint8Array): void {
    kdf(this.#suite, [this.chainingKey], this.chainingKey, input);
  }

  /** KDF2: chaining key and cipher key. */
  mixKey(input: Uint8Array): void {
    kdf(this.#suite, [this.chainingKey, this.#key], this.chainingKey, input);
  }

  /** KDF3: chaining key, something for the hash, cipher key. The `psk` token. */
  mixKeyAndHash(input: Uint8Array): void {
    try {
      kdf(this.#suite, [this.chainingKey, forHash, this.#key], this.chainingKey, input);
      this.mixHash(forHash);
    } finally {
      forHash.fill(0);
    }
  }

  /** Seals `plaintext` under the cipher key, nonce 0 and the hash; writes it with its tag at `out[at]`, mixes it in. */
  encryptAndHash(plaintext: Uint8Array, out: Uint8Array, at: number): void {
    out.set(plaintext, at);
    this.#suite.seal(this.#key, 0, 0, out, at, plaintext.length, this.hash);
    this.mixHash(out.subarray(at, at + plaintext.length + TAG_BYTES));
  }

  /** The plaintext of `sealed`, or `undefined` when its tag is wrong. Leaves `sealed` as it was. */
  decryptAndHash(sealed: Uint8Array): Uint8Array | undefined {
    // Not `slice`: that of a Node Buffer shares its memory.
    const opened = new Uint8Array(sealed);
    if (!this.#suite.open(this.#key, 0, 0, opened, 0, opened.length, this.hash)) return undefined;
    this.mixHash(sealed);
    return opened.subarray(0, sealed.length - TAG_BYTES);
  }

  /** Noise `Split`: the initiator's sending key, then the responder's, each 32 bytes. */
  split(initiatorToResponder: Uint8Array, responderToInitiator: Uint8Array): void {
    kdf(this.#suite, [initiatorToResponder, responderToInitiator], this.chainingKey, NOTHING);
  }

  /** Erases chaining key and hash. */
  wipe(): void {
    this.#bytes.fill(0);
  }
}
