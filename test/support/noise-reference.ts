// The WireGuard handshake a second time, written down from the paper (5.4.1 - 5.4.5) as one straight line on noble,
// without states, storage or care for secrets: what the real one must agree with, byte for byte.

import { chacha20poly1305 } from '@noble/ciphers/chacha.js';
import { x25519 } from '@noble/curves/ed25519.js';
import { blake2s } from '@noble/hashes/blake2.js';
import { hkdf } from '@noble/hashes/hkdf.js';

export interface ReferenceInput {
  readonly initiatorStatic: Uint8Array;
  readonly responderStatic: Uint8Array;
  readonly initiatorEphemeral: Uint8Array;
  readonly responderEphemeral: Uint8Array;
  readonly presharedKey: Uint8Array;
  readonly timestamp: Uint8Array;
  readonly initiatorIndex: number;
  readonly responderIndex: number;
}

export interface ReferenceHandshake {
  /** Both with zeros where the two MACs belong. */
  readonly initiation: Uint8Array;
  readonly response: Uint8Array;
  readonly initiatorSends: Uint8Array;
  readonly responderSends: Uint8Array;
}

const ascii = (text: string) => new TextEncoder().encode(text);
const join = (...parts: Uint8Array[]) => new Uint8Array(parts.flatMap(part => [...part]));
const HASH = (...parts: Uint8Array[]) => blake2s(join(...parts));
const DH = (privateKey: Uint8Array, publicKey: Uint8Array) => x25519.getSharedSecret(privateKey, publicKey);
const AEAD = (key: Uint8Array, plaintext: Uint8Array, aad: Uint8Array) =>
  chacha20poly1305(key, new Uint8Array(12), aad).encrypt(plaintext);

/** KDF_n of the paper is HKDF with the chaining key as salt and nothing as info: RFC 5869, n blocks of output. */
export function referenceKdf(n: number, key: Uint8Array, input: Uint8Array): Uint8Array[] {
  const output = hkdf(blake2s, input, key, undefined, 32 * n);
  return Array.from({ length: n }, (_, i) => output.subarray(32 * i, 32 * (i + 1)));
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

export function referenceHandshake(input: ReferenceInput): ReferenceHandshake {
  const { initiatorStatic, responderStatic, initiatorEphemeral, responderEphemeral } = input;
  const SiPub = x25519.getPublicKey(initiatorStatic);
  const SrPub = x25519.getPublicKey(responderStatic);
  const EiPub = x25519.getPublicKey(initiatorEphemeral);
  const ErPub = x25519.getPublicKey(responderEphemeral);
  const none = new Uint8Array(0);
  const macs = new Uint8Array(32);

  // 5.4.2 First message.
  let C: Uint8Array = HASH(ascii('Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s'));
  let H: Uint8Array = HASH(HASH(C, ascii('WireGuard v1 zx2c4 Jason@zx2c4.com')), SrPub);
  [C] = referenceKdf(1, C, EiPub);
  H = HASH(H, EiPub);
  let k: Uint8Array;
  [C, k] = referenceKdf(2, C, DH(initiatorEphemeral, SrPub));
  const msgStatic = AEAD(k, SiPub, H);
  H = HASH(H, msgStatic);
  [C, k] = referenceKdf(2, C, DH(initiatorStatic, SrPub));
  const msgTimestamp = AEAD(k, input.timestamp, H);
  H = HASH(H, msgTimestamp);
  const initiation = join(u32(1), u32(input.initiatorIndex), EiPub, msgStatic, msgTimestamp, macs);

  // 5.4.3 Second message.
  [C] = referenceKdf(1, C, ErPub);
  H = HASH(H, ErPub);
  [C] = referenceKdf(1, C, DH(responderEphemeral, EiPub));
  [C] = referenceKdf(1, C, DH(responderEphemeral, SiPub));
  const [chain, tau, key] = referenceKdf(3, C, input.presharedKey);
  C = chain;
  k = key;
  H = HASH(H, tau);
  const msgEmpty = AEAD(k, none, H);
  const response = join(u32(2), u32(input.responderIndex), u32(input.initiatorIndex), ErPub, msgEmpty, macs);

  // 5.4.5 Transport keys.
  const [initiatorSends, responderSends] = referenceKdf(2, C, none);
  return { initiation, response, initiatorSends, responderSends };
}
