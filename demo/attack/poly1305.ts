// The authenticator's key, solved from two messages under one key and nonce. A tag is h(r) + s: h a
// polynomial whose coefficients are the message, r and s a key for one message alone. The difference of two
// tags is without s, and leaves an equation in r.
// Read on: RFC 8439 2.5 and 2.8; polynomials.ts (how it is solved); Joux, Authentication Failures in NIST
// version of GCM (the same of another authenticator).

import { poly1305 } from '@noble/ciphers/_poly1305.js';
import { equalBytes } from '../../native/bytes.js';
import { TAG_BYTES } from '../../protocol/suite.js';
import { ciphertextOf } from './keystream.js';
import { evaluate, type Polynomial, rootsOf, subtract } from './polynomials.js';

/** Poly1305's key for one nonce: whoever has it makes the tag of any message. */
export interface OneTimeKey {
  readonly r: bigint;
  readonly s: bigint;
}

export interface Solved {
  readonly key: OneTimeKey;
  /** Of the equations: the number of blocks of the longer message. */
  readonly degree: number;
  /** Numbers that solve one of the equations. Only r has its 22 bits of zeros. */
  readonly roots: number;
}

const BLOCK = 16;
const CLAMP = 0x0ffffffc0ffffffc0ffffffc0fffffffn;
const TAG_RANGE = 1n << 128n;
/** h is less than 2^130, and a tag has 128 bits: so often it may have gone round. */
const LAPS = [0n, 1n, -1n, 2n, -2n, 3n, -3n, 4n, -4n];

/** From two data messages of one key and nonce; `undefined` if they are none, or one and the same. */
export function solveOneTimeKey(first: Uint8Array, second: Uint8Array): Solved | undefined {
  const difference = subtract(polynomialOf(first), polynomialOf(second));
  if (difference.length === 0) return undefined;
  let roots = 0;
  for (const laps of LAPS) {
    const equation = subtract(difference, [tagOf(first) - tagOf(second) + laps * TAG_RANGE]);
    for (const r of rootsOf(equation)) {
      roots++;
      if ((r & CLAMP) !== r) continue;
      const s = (tagOf(first) - evaluate(polynomialOf(first), r)) & (TAG_RANGE - 1n);
      const key = { r, s };
      if (isTagOf(first, key) && isTagOf(second, key)) return { key, degree: difference.length - 1, roots };
    }
  }
  return undefined;
}

/** The tag of a ciphertext without associated data, as in WireGuard's data messages. */
export function tag(ciphertext: Uint8Array, { r, s }: OneTimeKey): Uint8Array {
  const key = new Uint8Array(32);
  key.set(bytesOf(r));
  key.set(bytesOf(s), 16);
  return poly1305(authenticated(ciphertext), key);
}

function isTagOf(datagram: Uint8Array, key: OneTimeKey): boolean {
  return equalBytes(tag(ciphertextOf(datagram), key), datagram.subarray(-TAG_BYTES));
}

/** What a tag is of: the ciphertext, filled up to whole blocks, and the two lengths (RFC 8439 2.8). */
function authenticated(ciphertext: Uint8Array): Uint8Array {
  const padded = Math.ceil(ciphertext.length / BLOCK) * BLOCK;
  const bytes = new Uint8Array(padded + BLOCK);
  bytes.set(ciphertext);
  new DataView(bytes.buffer).setBigUint64(padded + 8, BigInt(ciphertext.length), true);
  return bytes;
}

/** h: the first block is the coefficient of the highest power, and nothing that of x^0. */
function polynomialOf(datagram: Uint8Array): Polynomial {
  const bytes = authenticated(ciphertextOf(datagram));
  const blocks = Array.from({ length: bytes.length / BLOCK }, (_, i) =>
    numberOf(bytes.subarray(i * BLOCK, (i + 1) * BLOCK)),
  );
  return [0n, ...blocks.map(block => block + TAG_RANGE).toReversed()];
}

function tagOf(datagram: Uint8Array): bigint {
  return numberOf(datagram.subarray(-TAG_BYTES));
}

/** Little-endian. */
function numberOf(bytes: Uint8Array): bigint {
  return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function bytesOf(number: bigint): Uint8Array {
  return Uint8Array.from({ length: BLOCK }, (_, i) => Number((number >> BigInt(8 * i)) & 0xffn));
}
