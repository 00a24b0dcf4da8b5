import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  completeChecksum,
  fold,
  putIpv4Checksum,
  sumWords,
  swap16,
} from '../../../../tunnel/linux/offload/checksum.js';
import { slowChecksum } from './packets.js';

/** 0 and 0xffff are one number there. */
const same = (sum: number) => sum % 0xffff;

describe('the internet checksum', () => {
  it('is the one that RFC 1071 computes as an example', () => {
    const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
    expect(swap16(sumWords(bytes, 0, 8))).toBe(0xddf2);
  });

  it('is that of the slow reader, wherever the bytes lie', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.nat(40),
        fc.nat(40),
        fc.nat(0xffff),
        (all, a, b, initial) => {
          const start = Math.min(a, all.length);
          const end = Math.max(start, all.length - b);
          const part = all.slice(start, end);
          const expected = 0xffff - slowChecksum(part);
          for (let shift = 0; shift < 4; shift++) {
            const shifted = new Uint8Array(all.length + shift).subarray(shift);
            shifted.set(all);
            expect(same(swap16(sumWords(shifted, start, end)))).toBe(same(expected));
            expect(same(sumWords(shifted, start, end, initial))).toBe(same(fold(swap16(expected) + initial)));
          }
        },
      ),
    );
  });

  it('holds for the longest packets of the highest bytes', () => {
    const bytes = new Uint8Array(131_000).fill(0xff);
    for (const start of [0, 1]) {
      for (const end of [65_535, 65_536, 131_000]) {
        expect(same(sumWords(bytes, start, end, 0xffff))).toBe(
          same(swap16(0xffff - slowChecksum(bytes.subarray(start, end)))),
        );
      }
    }
  });

  it('completed, makes the sum of everything all ones, and is never none', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 8, maxLength: 100 }), fc.nat(3), (bytes, half) => {
        const field = half * 2;
        const before = bytes.slice();
        completeChecksum(bytes, 0, bytes.length, field);
        expect(bytes[field] | bytes[field + 1]).not.toBe(0);
        // What stood in the field counts as a part of the sum.
        expect(slowChecksum(before.subarray(field, field + 2), bytes)).toBe(0);
      }),
    );
    const zeros = new Uint8Array(8).fill(0xff, 0, 2);
    completeChecksum(zeros, 0, 8, 4);
    expect([...zeros.subarray(4, 6)]).toEqual([0xff, 0xff]);
  });

  it('of an IPv4 header makes it sum up', () => {
    const header = Uint8Array.from({ length: 24 }, (_, i) => i * 11);
    putIpv4Checksum(header, 4, 24);
    expect(slowChecksum(header.subarray(4))).toBe(0);
  });
});
