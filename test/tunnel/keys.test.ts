import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeKey, encodeKey } from '../../tunnel/keys.js';

const keyBytes = fc.uint8Array({ minLength: 32, maxLength: 32 });

test('a key round-trips as 44 characters', () => {
  fc.assert(
    fc.property(keyBytes, key => {
      const text = encodeKey(key);
      expect(text).toHaveLength(44);
      expect(decodeKey(text)).toEqual(key);
    }),
  );
});

test('its text is base64 as Node writes it, byte for byte', () => {
  fc.assert(
    fc.property(keyBytes, key => {
      expect(encodeKey(key)).toBe(Buffer.from(key).toString('base64'));
    }),
  );
  // Each character in each of its places.
  for (let first = 0; first < 256; first++) {
    const key = Uint8Array.from({ length: 32 }, (_, i) => (first + i * 67) & 0xff);
    expect(decodeKey(Buffer.from(key).toString('base64'))).toEqual(key);
  }
});

test('one key has one text: any other last character is refused', () => {
  const text = encodeKey(new Uint8Array(32).fill(0xaa));
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const accepted = [...alphabet].filter(last => {
    try {
      return decodeKey(`${text.slice(0, 42)}${last}=`).length === 32;
    } catch {
      return false;
    }
  });
  expect(accepted).toHaveLength(16);
});

test('what is no key is refused, and not repeated', () => {
  const good = encodeKey(new Uint8Array(32).fill(0xb7));
  const bad = [
    '',
    good.slice(1),
    `${good} `,
    `${good}=`,
    good.replace('=', 'A'),
    `-${good.slice(1)}`,
    `${good.slice(0, 20)}\n${good.slice(21)}`,
    `${good.slice(0, 40)}AA==`,
    'b7'.repeat(32),
  ];
  for (const text of bad) {
    expect(() => decodeKey(text)).toThrow(expect.objectContaining({ code: 'ERR_KEY' }));
    try {
      decodeKey(text);
    } catch (error) {
      expect(String(error)).not.toContain(good.slice(4, 12));
      expect(String(error)).not.toContain('b7b7');
    }
  }
});

test('a key does not lie in the shared buffer pool', () => {
  expect(decodeKey(encodeKey(new Uint8Array(32))).buffer.byteLength).toBe(32);
});

test('only 32 bytes are written', () => {
  expect(() => encodeKey(new Uint8Array(31))).toThrow(expect.objectContaining({ code: 'ERR_KEY' }));
});
