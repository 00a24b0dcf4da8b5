import { describe, expect, it } from 'vitest';
import { messageType, readU32, writeU32 } from '../../protocol/messages.js';

function message(type: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes[0] = type;
  return bytes;
}

describe('what a datagram claims to be', () => {
  it.each([
    [1, 148],
    [2, 92],
    [3, 64],
  ])('type %i has exactly %i bytes', (type, length) => {
    for (let n = 0; n < 200; n++) {
      expect(messageType(message(type, n).subarray(0, n))).toBe(n === length ? type : undefined);
    }
  });

  it('data has 32 bytes or more', () => {
    expect(messageType(message(4, 31))).toBeUndefined();
    for (const length of [32, 33, 48, 1452, 65_535]) expect(messageType(message(4, length))).toBe(4);
  });

  it('no other type is a message', () => {
    for (let type = 0; type < 256; type++) {
      if (type >= 1 && type <= 4) continue;
      for (const length of [0, 1, 4, 32, 64, 92, 148]) {
        expect(messageType(message(type, Math.max(1, length)))).toBeUndefined();
      }
    }
    expect(messageType(new Uint8Array(0))).toBeUndefined();
  });

  it('a reserved byte that is not zero makes it no message', () => {
    for (const [type, length] of [
      [1, 148],
      [2, 92],
      [3, 64],
      [4, 32],
    ]) {
      for (const at of [1, 2, 3]) {
        const bytes = message(type, length);
        bytes[at] = 0x80;
        expect(messageType(bytes)).toBeUndefined();
      }
    }
  });

  it('words are little-endian and unsigned', () => {
    const bytes = new Uint8Array(6);
    for (const value of [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x0403_0201]) {
      writeU32(bytes, 1, value);
      expect(readU32(bytes, 1)).toBe(value);
      expect(new DataView(bytes.buffer).getUint32(1, true)).toBe(value);
    }
  });
});
