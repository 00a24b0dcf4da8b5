// What every suite checks before it calls a library: misuse must throw, and must not pass for a wrong tag.
// Promises: the messages name lengths, never contents.

import { ProtocolError } from '../errors.js';
import { HASH_BYTES, KEY_BYTES, MAC_BYTES, TAG_BYTES, XNONCE_BYTES } from '../suite.js';

const BLAKE2S_KEY_MAX_BYTES = 32;

function expectLength(name: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) {
    throw new ProtocolError('ERR_LENGTH', `${name} has ${bytes.length} bytes, not ${length}`);
  }
}

export const expectKey = (key: Uint8Array) => expectLength('a key', key, KEY_BYTES);
export const expectNonce = (nonce: Uint8Array) => expectLength('an extended nonce', nonce, XNONCE_BYTES);
export const expectPoint = (out: Uint8Array) => expectLength('room for a point', out, KEY_BYTES);
export const expectHash = (out: Uint8Array) => expectLength('room for a hash', out, HASH_BYTES);
export const expectMac = (out: Uint8Array) => expectLength('room for a MAC', out, MAC_BYTES);

/** An empty key would silently make an unkeyed hash of a MAC. */
export function expectMacKey(key: Uint8Array): void {
  if (key.length === 0 || key.length > BLAKE2S_KEY_MAX_BYTES) {
    throw new ProtocolError(
      'ERR_LENGTH',
      `a MAC key has 1 to ${BLAKE2S_KEY_MAX_BYTES} bytes, not ${key.length}`,
    );
  }
}

/** The `length` bytes at `buffer[offset]` must lie in the buffer, a tag included where one is to follow. */
export function expectRange(buffer: Uint8Array, offset: number, length: number, tagBytes: number): void {
  if (
    !Number.isInteger(offset) ||
    !Number.isInteger(length) ||
    offset < 0 ||
    length < 0 ||
    offset + length + tagBytes > buffer.length
  ) {
    const what = tagBytes > 0 ? `${length} bytes and a tag` : `${length} bytes`;
    throw new ProtocolError('ERR_LENGTH', `no ${what} at ${offset} of ${buffer.length}`);
  }
}

/** What is opened ends with a tag. */
export function expectTag(length: number): void {
  if (!(length >= TAG_BYTES)) throw new ProtocolError('ERR_LENGTH', `${length} bytes cannot hold a tag`);
}

/** A word too large would be cut to 32 bits, and the nonce would be one that was used before. */
export function expectCounter(low: number, high: number): void {
  if (low >>> 0 !== low || high >>> 0 !== high) {
    throw new ProtocolError('ERR_COUNTER', `not two unsigned 32-bit words: ${low}, ${high}`);
  }
}
