import fc from 'fast-check';
import { expect, it } from 'vitest';
import { equalBytes, isZero, wipe } from '../../native/bytes.js';

it('arrays are equal when every byte is, and only then', () => {
  const bytes = fc.uint8Array({ maxLength: 40 });
  fc.assert(
    fc.property(bytes, bytes, fc.nat(), fc.integer({ min: 1, max: 255 }), (a, b, at, change) => {
      expect(equalBytes(a, a.slice())).toBe(true);
      expect(equalBytes(a, b)).toBe(Buffer.compare(a, b) === 0);
      if (a.length === 0) return;
      const changed = a.slice();
      changed[at % a.length] ^= change;
      expect(equalBytes(a, changed)).toBe(false);
      expect(equalBytes(a, a.subarray(1))).toBe(false);
    }),
  );
});

it('an array of zeros is one in which no byte is another', () => {
  expect(isZero(new Uint8Array(0))).toBe(true);
  expect(isZero(new Uint8Array(32))).toBe(true);
  for (let at = 0; at < 32; at++) expect(isZero(new Uint8Array(32).fill(0x80, at, at + 1))).toBe(false);
});

it('wiping leaves zeros and touches nothing beside it', () => {
  const memory = new Uint8Array(new SharedArrayBuffer(8)).fill(7);
  const other = Uint8Array.of(1, 2);
  wipe(memory.subarray(2, 5), other);
  expect([...memory]).toEqual([7, 7, 0, 0, 0, 7, 7, 7]);
  expect([...other]).toEqual([0, 0]);
});
