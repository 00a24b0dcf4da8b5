import fc from 'fast-check';
import { expect, it } from 'vitest';
import { compareTai64n, isAfterTai64n, tai64n, writeTai64n } from '../../protocol/tai64n.js';
import { toHex } from '../support/suites.js';

it.each([
  // 1970 began ten TAI seconds after 2^62.
  [0, '400000000000000a00000000'],
  [1_000, '400000000000000b00000000'],
  // 16,777,216 ns are 16.777216 ms: 16 ms round down to nothing, 17 ms to one unit.
  [16, '400000000000000a00000000'],
  [17, '400000000000000a01000000'],
  // 999 ms are 59 units.
  [999, '400000000000000a3b000000'],
  // 2000-01-01T00:00:00Z, 946,684,800 s.
  [946_684_800_000, '40000000386d438a00000000'],
  // The second in which 32 bits of seconds overflow, and one that fills them.
  [(2 ** 32 - 10) * 1000, '400000010000000000000000'],
  [(2 ** 32 - 11) * 1000 + 500, '40000000ffffffff1d000000'],
])('%i ms is %s', (milliseconds, label) => {
  expect(toHex(tai64n(milliseconds))).toBe(label);
});

it('takes fractions of a millisecond and rounds them down', () => {
  expect(toHex(tai64n(16.777215))).toBe('400000000000000a00000000');
  expect(toHex(tai64n(16.7773))).toBe('400000000000000a01000000');
});

it('byte order is time order, and at least 17 ms make a later label', () => {
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 52 }), fc.nat({ max: 100_000 }), (earlier, later) => {
      const a = tai64n(earlier);
      const b = tai64n(earlier + later);
      expect(compareTai64n(a, b)).toBeLessThanOrEqual(0);
      expect(Math.sign(compareTai64n(a, b))).toBe(-Math.sign(compareTai64n(b, a)) || 0);
      expect(Math.sign(compareTai64n(a, b))).toBe(Buffer.compare(a, b));
      if (later >= 17) expect(isAfterTai64n(b, a)).toBe(true);
      expect(isAfterTai64n(a, b)).toBe(false);
      expect(Buffer.from(b).readUInt32BE(8) % 2 ** 24).toBe(0);
    }),
  );
});

it('a label is not after itself, and every byte counts', () => {
  const label = tai64n(1_700_000_000_000);
  expect(isAfterTai64n(label, label.slice())).toBe(false);
  for (let i = 0; i < label.length; i++) {
    const later = label.slice();
    later[i]++;
    expect(isAfterTai64n(later, label)).toBe(true);
    expect(isAfterTai64n(label, later)).toBe(false);
  }
});

it('writes where it is told to and nowhere else', () => {
  const out = new Uint8Array(16).fill(0xee);
  writeTai64n(out, 3, 17);
  expect(toHex(out)).toBe('eeeeee400000000000000a01000000ee');
});

it('refuses what is no time and where there is no room', () => {
  for (const time of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => tai64n(time)).toThrow(expect.objectContaining({ code: 'ERR_WALL_CLOCK' }));
  }
  for (const offset of [-1, 5, Number.NaN]) {
    expect(() => writeTai64n(new Uint8Array(16), offset, 0)).toThrow(
      expect.objectContaining({ code: 'ERR_LENGTH' }),
    );
  }
});
