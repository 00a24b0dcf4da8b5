// The reference suite: plain JavaScript by noble, on every platform and in every browser.
// Promises: what Suite promises. A wrong tag or a low-order point is a value; a wrong length throws `ERR_LENGTH`.
// Read on: the README files of @noble/ciphers, @noble/curves and @noble/hashes for what they hold and what not.

import { chacha20poly1305, xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { x25519 } from '@noble/curves/ed25519.js';
import { blake2s } from '@noble/hashes/blake2.js';
import { hmac } from '@noble/hashes/hmac.js';
import { secretBytes } from '../../native/secret-bytes.js';
import { HASH_BYTES, type Suite, TAG_BYTES } from '../suite.js';
import {
  expectCounter,
  expectHash,
  expectKey,
  expectMac,
  expectMacKey,
  expectNonce,
  expectPoint,
  expectRange,
  expectTag,
} from './lengths.js';

/** A hash or an HMAC of the library's, begun. */
interface HashState {
  update(bytes: Uint8Array): unknown;
  digestInto(out: Uint8Array): void;
  destroy(): void;
}

// The first four bytes stay zero. Each call writes the other eight before it reads any.
const nonce = new Uint8Array(12);
const nonceView = new DataView(nonce.buffer);

function setNonce(low: number, high: number): void {
  expectCounter(low, high);
  nonceView.setUint32(4, low, true);
  nonceView.setUint32(8, high, true);
}

// Everything that could be misuse happens before `act`: what it throws is the library's word for a peer's fault.
function attempt<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}

/** Writes what a library returned where the caller wants it, and leaves no second home. */
function move(secret: Uint8Array, out: Uint8Array): void {
  out.set(secret);
  secret.fill(0);
}

/** A digest on its way into an array that need not be aligned. `digest()` would make one in the engine's heap. */
const digest = secretBytes(HASH_BYTES);

function finish(state: HashState, parts: readonly Uint8Array[], out: Uint8Array): void {
  for (const part of parts) state.update(part);
  state.digestInto(digest);
  state.destroy();
  out.set(digest.subarray(0, out.length));
  digest.fill(0);
}

/** RFC 7748 section 4.1: u = 9. */
const BASE_POINT = Uint8Array.of(9, ...new Uint8Array(31));

/** The reference suite, by noble: readable, audited, and at home everywhere, in pages too. */
export const nobleSuite: Suite = {
  name: 'noble',

  seal(key, counterLow, counterHigh, buffer, offset, length, aad) {
    expectKey(key);
    expectRange(buffer, offset, length, TAG_BYTES);
    setNonce(counterLow, counterHigh);
    const plaintext = buffer.subarray(offset, offset + length);
    // Output and input begin at the same byte, so the library works in place.
    chacha20poly1305(key, nonce, aad).encrypt(
      plaintext,
      buffer.subarray(offset, offset + length + TAG_BYTES),
    );
  },

  open(key, counterLow, counterHigh, buffer, offset, length, aad) {
    expectKey(key);
    expectTag(length);
    expectRange(buffer, offset, length, 0);
    setNonce(counterLow, counterHigh);
    const ciphertext = buffer.subarray(offset, offset + length);
    const plaintext = buffer.subarray(offset, offset + length - TAG_BYTES);
    const cipher = chacha20poly1305(key, nonce, aad);
    return attempt(() => cipher.decrypt(ciphertext, plaintext)) !== undefined;
  },

  sealX(key, xnonce, plaintext, aad) {
    expectKey(key);
    expectNonce(xnonce);
    return xchacha20poly1305(key, xnonce, aad).encrypt(plaintext);
  },

  openX(key, xnonce, ciphertext, aad) {
    expectKey(key);
    expectNonce(xnonce);
    expectTag(ciphertext.length);
    const cipher = xchacha20poly1305(key, xnonce, aad);
    return attempt(() => cipher.decrypt(ciphertext));
  },

  publicKey(privateKey, out) {
    expectKey(privateKey);
    expectPoint(out);
    // By the ladder, not by `getPublicKey`: that blinds its scalar with numbers from OpenSSL's generator.
    out.set(x25519.scalarMult(privateKey, BASE_POINT));
  },

  sharedSecret(privateKey, publicKey, out) {
    expectKey(privateKey);
    expectKey(publicKey);
    expectPoint(out);
    // The library refuses every point whose shared secret is zero.
    const secret = attempt(() => x25519.getSharedSecret(privateKey, publicKey));
    if (secret === undefined) out.fill(0);
    else move(secret, out);
    return secret !== undefined;
  },

  hash(out, ...parts) {
    expectHash(out);
    finish(blake2s.create({}), parts, out);
  },

  mac(out, key, ...parts) {
    expectMac(out);
    expectMacKey(key);
    finish(blake2s.create({ key, dkLen: out.length }), parts, out);
  },

  hmac(out, key, ...parts) {
    expectHash(out);
    finish(hmac.create(blake2s, key), parts, out);
  },

  // What the library derives from a key, it erases before it returns.
  forget() {},
};
