// What a clone and its gateway derive from a secret that both have, in place of negotiating it: address and preshared key.
// Promises: computation only; both sides come to the same from the two public keys alone, which an initiation shows.
// Read on: docs/clones.md; BLAKE2s is RFC 7693.

import { blake2s } from '@noble/hashes/blake2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import { secretBytes } from '../native/secret-bytes.js';
import { KEY_BYTES } from '../protocol/suite.js';
import { GatewayError } from './errors.js';
import { ENROLMENT_SECRET_BYTES, PREFIX_BYTES } from './lengths.js';

const ADDRESS_BYTES = 16;

// Who changes what is derived changes the number: old and new machines then refuse each other, and never half agree.
const PRESHARED_KEY_LABEL = utf8ToBytes('wireonce enrolment psk 1');
const ADDRESS_LABEL = utf8ToBytes('wireonce enrolment address 1');
const NAME_LABEL = utf8ToBytes('wireonce enrolment secret name 1');
const NAME_BYTES = 8;

/**
 * The inner address of whoever has this public key (32 bytes): the prefix (8 bytes), and the first 64 bits of a hash of the
 * key. 16 bytes. Throws `ERR_ENROLMENT_LENGTH`.
 */
export function deriveAddress(prefix: Uint8Array, publicKey: Uint8Array): Uint8Array {
  requireLength('a prefix', prefix, PREFIX_BYTES);
  requireLength('a public key', publicKey, KEY_BYTES);
  const address = new Uint8Array(ADDRESS_BYTES);
  address.set(prefix);
  const hash = blake2s.create({ dkLen: KEY_BYTES }).update(ADDRESS_LABEL).update(publicKey).digest();
  address.set(hash.subarray(0, ADDRESS_BYTES - PREFIX_BYTES), PREFIX_BYTES);
  return address;
}

/**
 * The preshared key between a gateway and a clone (public keys of 32 bytes) under an enrolment secret (32 bytes). 32 bytes,
 * the caller's to erase. Throws `ERR_ENROLMENT_LENGTH`.
 */
export function derivePresharedKey(
  secret: Uint8Array,
  gatewayPublicKey: Uint8Array,
  clonePublicKey: Uint8Array,
): Uint8Array<ArrayBuffer> {
  requireLength('an enrolment secret', secret, ENROLMENT_SECRET_BYTES);
  requireLength("a gateway's public key", gatewayPublicKey, KEY_BYTES);
  requireLength("a clone's public key", clonePublicKey, KEY_BYTES);
  const presharedKey = secretBytes(KEY_BYTES);
  blake2s
    .create({ dkLen: KEY_BYTES, key: secret })
    .update(PRESHARED_KEY_LABEL)
    .update(gatewayPublicKey)
    .update(clonePublicKey)
    .digestInto(presharedKey);
  return presharedKey;
}

/**
 * By what name a store knows an enrolment secret (32 bytes): 16 hexadecimal digits, which do not give it away. Throws
 * `ERR_ENROLMENT_LENGTH`.
 */
export function secretName(secret: Uint8Array): string {
  requireLength('an enrolment secret', secret, ENROLMENT_SECRET_BYTES);
  return bytesToHex(blake2s.create({ dkLen: NAME_BYTES, key: secret }).update(NAME_LABEL).digest());
}

function requireLength(what: string, bytes: Uint8Array, length: number): void {
  if (bytes.length === length) return;
  throw new GatewayError('ERR_ENROLMENT_LENGTH', `${what} has ${length} bytes, not ${bytes.length}`);
}
