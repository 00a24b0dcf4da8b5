// Keys as `wg` writes them: 32 bytes in 44 characters of base64.
// Promises: one text per key (the spare bits of the last character must be zero); no error shows the text.
// Read on: wireguard-tools src/encoding.c key_from_base64().

import { secretBytes } from '../native/secret-bytes.js';
import { TunnelError } from './errors.js';

export const KEY_BYTES = 32;
const KEY_CHARACTERS = 44;
const EQUALS = 0x3d;
// 43 characters carry 258 bits: the last one must leave its two spare bits zero.
const CANONICAL = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;

/** The 32 bytes of a key in base64. Throws `ERR_KEY`, without the text, unless it is the one canonical form. */
export function decodeKey(text: string): Uint8Array {
  if (text.length !== KEY_CHARACTERS) {
    const found = `not ${text.length} characters`;
    throw new TunnelError('ERR_KEY', `a key has ${KEY_CHARACTERS} characters of base64, ${found}`);
  }
  if (!CANONICAL.test(text)) {
    throw new TunnelError('ERR_KEY', `not a key: ${KEY_CHARACTERS} characters, but not base64 of 32 bytes`);
  }
  return decoded(at => text.charCodeAt(at));
}

/** The same from bytes, of which no text is made; undefined where they are none. */
export function decodeKeyBytes(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length !== KEY_CHARACTERS || bytes[KEY_CHARACTERS - 1] !== EQUALS) return undefined;
  const digits = bytes.subarray(0, KEY_CHARACTERS - 1);
  let isText = true;
  // `A` is the one character whose bits are zeros.
  for (const code of digits) isText &&= sixBits(code) !== 0 || code === 0x41;
  if (!isText || (sixBits(digits[KEY_CHARACTERS - 2]) & 3) !== 0) return undefined;
  return decoded(at => bytes[at]);
}

function decoded(code: (at: number) => number): Uint8Array {
  const key = secretBytes(KEY_BYTES);
  for (let at = 0, from = 0; at < KEY_BYTES; at += 3, from += 4) {
    const [a, b, c, d] = [0, 1, 2, 3].map(i => sixBits(code(from + i)));
    key[at] = (a << 2) | (b >> 4);
    key[at + 1] = (b << 4) | (c >> 2);
    // The last character is `=`: there is no byte for it.
    key[at + 2] = (c << 6) | d;
  }
  return key;
}

/** The base64 text of 32 bytes. Throws `ERR_KEY` on any other length. */
export function encodeKey(key: Uint8Array): string {
  if (key.length !== KEY_BYTES) {
    throw new TunnelError('ERR_KEY', `a key has ${KEY_BYTES} bytes, not ${key.length}`);
  }
  const text: string[] = [];
  for (let at = 0; at < KEY_BYTES; at += 3) {
    const [a, b, c] = [key[at], key[at + 1], key[at + 2] ?? 0];
    text.push(character(a >> 2), character(((a << 4) | (b >> 4)) & 63));
    text.push(character(((b << 2) | (c >> 6)) & 63), at + 2 < KEY_BYTES ? character(c & 63) : '=');
  }
  return text.join('');
}

// Without a table to look into: what a cache holds would depend on the key. Six bits for each character, 0 for `=`.
function sixBits(code: number): number {
  const inRange = (first: number, last: number) => ((first - 1 - code) & (code - last - 1)) >> 8;
  return (
    (inRange(0x41, 0x5a) & (code - 0x41)) |
    (inRange(0x61, 0x7a) & (code - 0x61 + 26)) |
    (inRange(0x30, 0x39) & (code - 0x30 + 52)) |
    (inRange(0x2b, 0x2b) & 62) |
    (inRange(0x2f, 0x2f) & 63)
  );
}

function character(bits: number): string {
  // 0x41 is `A`; each line is what the characters from there on lie further or nearer.
  const code =
    bits +
    0x41 +
    (((25 - bits) >> 8) & 6) -
    (((51 - bits) >> 8) & 75) -
    (((61 - bits) >> 8) & 15) +
    (((62 - bits) >> 8) & 3);
  return String.fromCharCode(code);
}
