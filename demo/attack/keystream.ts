// Two ciphertexts under one keystream: XOR takes it away, and a guess at one plaintext gives the other.
// Promises: nothing but captured datagrams and a guess goes in; no key is known here.
// Read on: RFC 8439 2.4 (the keystream depends on key and nonce alone).

import { TRANSPORT } from '../../protocol/messages.js';
import { TAG_BYTES } from '../../protocol/suite.js';
import type { NonceReuse } from '../wiretap.js';

/** The encrypted packet of a data message, without header and tag. */
export function ciphertextOf(datagram: Uint8Array): Uint8Array {
  return datagram.subarray(TRANSPORT.packet, datagram.length - TAG_BYTES);
}

/** As long as the shorter of the two. */
export function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  return Uint8Array.from({ length: Math.min(a.length, b.length) }, (_, i) => a[i] ^ b[i]);
}

/**
 * The keystream under a datagram, as far as its plaintext is guessed; what a tunnel fills up with is zeros.
 */
export function keystreamOf(datagram: Uint8Array, guess: Uint8Array): Uint8Array {
  const ciphertext = ciphertextOf(datagram);
  const padded = new Uint8Array(ciphertext.length);
  padded.set(guess.subarray(0, padded.length));
  return xor(ciphertext, padded);
}

/** The plaintext of one of two packets, from the ciphertexts and the other plaintext. */
export function recoverPlaintext(reuse: NonceReuse, known: Uint8Array, knownIsFirst: boolean): Uint8Array {
  const [ours, theirs] = knownIsFirst ? [reuse.first, reuse.second] : [reuse.second, reuse.first];
  return xor(ciphertextOf(theirs), keystreamOf(ours, known));
}
