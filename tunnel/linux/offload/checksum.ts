// The internet checksum: a one's-complement sum of 16-bit words.
// Promises: nothing is allocated while the bytes lie in one buffer; sums are kept in the order of this machine's
// memory, little-endian like all of tunnel/linux, in which they come out right without turning a word around.
// Read on: RFC 1071 (section 2.B: why byte order does not matter), RFC 1624.

import { IPV4_CHECKSUM } from './ip-fields.js';

let lastBuffer: ArrayBufferLike = new ArrayBuffer(0);
let lastWords: Uint16Array = new Uint16Array(lastBuffer);
const views = new WeakMap<ArrayBufferLike, Uint16Array>();

/**
 * The sum of `bytes[start, end)` and `initial`, 0 to 0xffff. Bytes at even distances from `start` are the lower half of
 * a word; a last one without a partner counts as such. At most 131,000 bytes, which is two packets of the longest.
 */
export function sumWords(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  const words = wordsOf(bytes.buffer);
  const to = bytes.byteOffset + end;
  let from = bytes.byteOffset + start;
  if (from >= to) return fold(initial);
  // From an odd address on the halves of all words are exchanged, and so are those of their sum.
  const isOdd = (from & 1) !== 0;
  let sum = isOdd ? bytes[start] << 8 : 0;
  if (isOdd) from++;
  // Two sums side by side, which the processor adds at the same time. Together they stay below 2^32.
  let other = 0;
  let i = from >>> 1;
  const last = to >>> 1;
  for (; i + 8 <= last; i += 8) {
    sum = (sum + words[i] + words[i + 1] + words[i + 2] + words[i + 3]) | 0;
    other = (other + words[i + 4] + words[i + 5] + words[i + 6] + words[i + 7]) | 0;
  }
  for (; i < last; i++) sum = (sum + words[i]) | 0;
  if (from < to && (to & 1) !== 0) sum = (sum + bytes[end - 1]) | 0;
  const folded = fold((sum + other) >>> 0);
  return fold((isOdd ? swap16(folded) : folded) + initial);
}

/** A sum below 2^32 brought down to 16 bits. */
export function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** A number between network order and that of the sums. */
export function swap16(word: number): number {
  return ((word & 0xff) << 8) | (word >>> 8);
}

/** The word at a byte offset, in the order of the sums. */
export function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}

/** Puts a word, in the order of the sums, at a byte offset. */
export function putWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word;
  bytes[at + 1] = word >>> 8;
}

/**
 * Puts the checksum of what adds up to `sum` at `field`. It is never 0, which in UDP would mean that there is none
 * (RFC 768; to TCP both are the same).
 */
export function putChecksum(bytes: Uint8Array, field: number, sum: number): void {
  putWord(bytes, field, ~sum & 0xffff || 0xffff);
}

/** Writes the checksum of the IPv4 header in `bytes[start, end)`. */
export function putIpv4Checksum(bytes: Uint8Array, start: number, end: number): void {
  putWord(bytes, start + IPV4_CHECKSUM, 0);
  putWord(bytes, start + IPV4_CHECKSUM, ~sumWords(bytes, start, end) & 0xffff);
}

function wordsOf(buffer: ArrayBufferLike): Uint16Array {
  if (buffer === lastBuffer) return lastWords;
  let words = views.get(buffer);
  if (words === undefined) {
    words = new Uint16Array(buffer, 0, buffer.byteLength >>> 1);
    views.set(buffer, words);
  }
  lastBuffer = buffer;
  lastWords = words;
  return words;
}
