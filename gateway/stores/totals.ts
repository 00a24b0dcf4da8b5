// What is true of all records of a store together, so that one that is missing is noticed: how many there are, and the sum of
// their checksums.
// Promises: written with each change, in the same transaction.
// Read on: integrity.ts; record-bytes.ts (the checksum of one record).

import { crc32 } from 'node:zlib';
import { equalBytes } from '../../native/bytes.js';
import { secretBytes } from '../../native/secret-bytes.js';
import { checksumOf, isRevoked } from './record-bytes.js';

const WORDS = 6;
const WORD = 4;

/** Of both tables. Sums are modulo 2^32. */
export interface Totals {
  /** Records, and how many of them are not revoked. */
  peers: number;
  standing: number;
  peersSum: number;
  ranges: number;
  rangesSum: number;
}

export const NO_TOTALS: Readonly<Totals> = { peers: 0, standing: 0, peersSum: 0, ranges: 0, rangesSum: 0 };

export function encodeTotals({ peers, standing, peersSum, ranges, rangesSum }: Totals): Uint8Array {
  const bytes = secretBytes(WORDS * WORD);
  const view = new DataView(bytes.buffer);
  [peers, standing, peersSum, ranges, rangesSum].forEach((word, i) => view.setUint32(i * WORD, word));
  view.setUint32((WORDS - 1) * WORD, crc32(bytes.subarray(0, -WORD)));
  return bytes;
}

/** `undefined`: damaged. */
export function decodeTotals(bytes: Uint8Array): Totals | undefined {
  if (bytes.length !== WORDS * WORD) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [peers, standing, peersSum, ranges, rangesSum, checksum] = Array.from({ length: WORDS }, (_, i) =>
    view.getUint32(i * WORD),
  );
  if (crc32(bytes.subarray(0, -WORD)) !== checksum) return undefined;
  return { peers, standing, peersSum, ranges, rangesSum };
}

export function sameTotals(a: Totals, b: Totals): boolean {
  return equalBytes(encodeTotals(a), encodeTotals(b));
}

/** A record comes (1) or goes (-1). */
export function addPeer(totals: Totals, record: Uint8Array, sign: 1 | -1): void {
  totals.peers += sign;
  if (!isRevoked(record)) totals.standing += sign;
  totals.peersSum = (totals.peersSum + sign * checksumOf(record)) >>> 0;
}

/** A range comes (1) to its owner or goes (-1). */
export function addRange(totals: Totals, range: Uint8Array, owner: Uint8Array, sign: 1 | -1): void {
  totals.ranges += sign;
  totals.rangesSum = (totals.rangesSum + sign * crc32(owner, crc32(range))) >>> 0;
}
