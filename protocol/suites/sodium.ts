// The same bytes at native speed, where sodium-native loads: libsodium's AEADs and X25519. BLAKE2s is not among its
// hashes, so these stay with noble.
// Promises: offered only after it has reproduced known answers and refused what must be refused.
// Read on: doc.libsodium.org (AEAD constructions; point*scalar multiplication).

import { secretBytes } from '../../native/secret-bytes.js';
import { type Suite, TAG_BYTES } from '../suite.js';
import { expectCounter, expectKey, expectNonce, expectPoint, expectRange, expectTag } from './lengths.js';
import { nobleSuite } from './noble.js';
import { passesSelfTest } from './self-test.js';

type Aad = Uint8Array | null;

/** What is used of sodium-native, an optional dependency without types. Every call throws where it fails. */
interface Sodium {
  crypto_aead_chacha20poly1305_ietf_encrypt(
    out: Uint8Array,
    plaintext: Uint8Array,
    aad: Aad,
    secretNonce: null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number;
  crypto_aead_chacha20poly1305_ietf_decrypt(
    out: Uint8Array,
    secretNonce: null,
    ciphertext: Uint8Array,
    aad: Aad,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number;
  crypto_aead_xchacha20poly1305_ietf_encrypt: Sodium['crypto_aead_chacha20poly1305_ietf_encrypt'];
  crypto_aead_xchacha20poly1305_ietf_decrypt: Sodium['crypto_aead_chacha20poly1305_ietf_decrypt'];
  crypto_scalarmult_base(out: Uint8Array, privateKey: Uint8Array): void;
  crypto_scalarmult(out: Uint8Array, privateKey: Uint8Array, publicKey: Uint8Array): void;
}

// How the library says what is a peer's fault. Anything else it throws is misuse and goes on. The self-test meets
// both, so a version with other words is not offered.
const WRONG_TAG = 'could not verify data';
const LOW_ORDER_POINT = 'status: -1';

/** Resolves to `undefined` where the library is not installed, does not load or does not pass the self-test. */
export async function loadSodiumSuite(): Promise<Suite | undefined> {
  // A name that compilers and bundlers do not follow: the package may be missing.
  const name: string = 'sodium-native';
  try {
    const module = (await import(/* @vite-ignore */ name)) as { default: Sodium };
    const suite = sodiumSuite(module.default);
    return passesSelfTest(suite) ? suite : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Two views on one place of a buffer: the plaintext, and it with its tag. Making them costs up to a tenth of the
 * cipher. Senders and receivers use one buffer again and again, so the last pair is kept (and its buffer with it).
 */
class InPlaceViews {
  #buffer: Uint8Array | undefined;
  #offset = 0;
  plain: Uint8Array = new Uint8Array(0);
  sealed: Uint8Array = new Uint8Array(0);

  /** `length`: of the plaintext. */
  move(buffer: Uint8Array, offset: number, length: number): void {
    if (buffer === this.#buffer && offset === this.#offset && length === this.plain.length) return;
    this.#buffer = buffer;
    this.#offset = offset;
    this.plain = buffer.subarray(offset, offset + length);
    this.sealed = buffer.subarray(offset, offset + length + TAG_BYTES);
  }
}

function sodiumSuite(sodium: Sodium): Suite {
  // The first four bytes stay zero. Each call writes the other eight before it reads any.
  const nonce = new Uint8Array(12);
  const nonceView = new DataView(nonce.buffer);
  const sealing = new InPlaceViews();
  const opening = new InPlaceViews();

  function setNonce(low: number, high: number): void {
    expectCounter(low, high);
    nonceView.setUint32(4, low, true);
    nonceView.setUint32(8, high, true);
  }

  return {
    name: 'sodium',

    seal(key, counterLow, counterHigh, buffer, offset, length, aad) {
      expectKey(key);
      expectRange(buffer, offset, length, TAG_BYTES);
      setNonce(counterLow, counterHigh);
      sealing.move(buffer, offset, length);
      const { plain, sealed } = sealing;
      sodium.crypto_aead_chacha20poly1305_ietf_encrypt(sealed, plain, aad ?? null, null, nonce, key);
    },

    open(key, counterLow, counterHigh, buffer, offset, length, aad) {
      expectKey(key);
      expectTag(length);
      expectRange(buffer, offset, length, 0);
      setNonce(counterLow, counterHigh);
      opening.move(buffer, offset, length - TAG_BYTES);
      const { plain, sealed } = opening;
      try {
        sodium.crypto_aead_chacha20poly1305_ietf_decrypt(plain, null, sealed, aad ?? null, nonce, key);
        return true;
      } catch (error) {
        return refused(error, WRONG_TAG);
      }
    },

    sealX(key, xnonce, plaintext, aad) {
      expectKey(key);
      expectNonce(xnonce);
      const out = new Uint8Array(plaintext.length + TAG_BYTES);
      sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(out, plaintext, aad, null, xnonce, key);
      return out;
    },

    openX(key, xnonce, ciphertext, aad) {
      expectKey(key);
      expectNonce(xnonce);
      expectTag(ciphertext.length);
      const out = secretBytes(ciphertext.length - TAG_BYTES);
      try {
        sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(out, null, ciphertext, aad, xnonce, key);
        return out;
      } catch (error) {
        refused(error, WRONG_TAG);
        return undefined;
      }
    },

    publicKey(privateKey, out) {
      expectKey(privateKey);
      expectPoint(out);
      sodium.crypto_scalarmult_base(out, privateKey);
    },

    sharedSecret(privateKey, publicKey, out) {
      expectKey(privateKey);
      expectKey(publicKey);
      expectPoint(out);
      try {
        sodium.crypto_scalarmult(out, privateKey, publicKey);
        return true;
      } catch (error) {
        out.fill(0);
        return refused(error, LOW_ORDER_POINT);
      }
    },

    hash: nobleSuite.hash,
    mac: nobleSuite.mac,
    hmac: nobleSuite.hmac,

    // Each call has its own state on the stack of the library, which erases it.
    forget() {},
  };
}

/** False when the library refused its input with these words; throws what it threw otherwise. */
function refused(error: unknown, words: string): false {
  if (error instanceof Error && error.message === words) return false;
  throw error;
}
