// Keys as `wg` writes them: 32 bytes in 44 characters of base64.
// Promises: one text per key (the spare bits of the last character must be zero); no error shows the text.
// Read on: wireguard-tools src/encoding.c key_from_base64().

import { secretBytes } from '../native/secret-bytes.js';
import { TunnelError } from './errors.js';

export const KEY_BYTES = 32;
const KEY_CHARACTERS = 44;
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
  const key = secretBytes(KEY_BYTES);
  // `from` alone would leave a copy of the key in Node's buffer pool.
  Buffer.from(key.buffer).write(text, 'base64');
  return key;
}

/** The base64 text of 32 bytes. Throws `ERR_KEY` on any other length. */
export function encodeKey(key: Uint8Array): string {
  if (key.length !== KEY_BYTES) {
    throw new TunnelError('ERR_KEY', `a key has ${KEY_BYTES} bytes, not ${key.length}`);
  }
  return Buffer.from(key.buffer, key.byteOffset, KEY_BYTES).toString('base64');
}
