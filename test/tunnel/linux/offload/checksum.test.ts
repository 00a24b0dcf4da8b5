import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import {
  fold,
  putChecksum,
  putIpv4Checksum,
  sumWords,
  swap16,
  wordAt,
} from '../../../../tunnel/linux/offload/checksum.js';
import { packetMemory, sumWithin, vectorMemory } from '../../../../tunnel/linux/offload/packet-memory.js';
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

  it('is never written as none', () => {
    for (const sum of [0, 1, 0x1234, 0xfffe, 0xffff]) {
      const field = new Uint8Array(4);
      putChecksum(field, 1, sum);
      expect([field[0], field[3]]).toEqual([0, 0]);
      expect(same(wordAt(field, 1) + sum)).toBe(0);
      expect(wordAt(field, 1)).not.toBe(0);
    }
  });

  it('of an IPv4 header makes it sum up', () => {
    const header = Uint8Array.from({ length: 24 }, (_, i) => i * 11);
    putIpv4Checksum(header, 4, 24);
    expect(slowChecksum(header.subarray(4))).toBe(0);
  });
});

describe('the sum by vectors', () => {
  it('is that of the words, wherever they lie', () => {
    const memory = vectorMemory(131_072)!;
    const { bytes } = memory;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(70), fc.nat(200), (content, start, skip) => {
        bytes.fill(0xa5, 0, 600);
        bytes.set(content, start);
        const from = start + Math.min(skip, content.length);
        const end = start + content.length;
        expect(same(memory.sum(from, end))).toBe(same(sumWords(bytes, from, end)));
      }),
      { numRuns: 2_000 },
    );
  });

  it('holds for the longest packets of the highest bytes', () => {
    const memory = vectorMemory(131_072)!;
    const random = memory.bytes.map((_, i) => Math.imul(i, 0x9e37_79b1) >>> 24);
    for (const content of [memory.bytes.slice().fill(0xff), random]) {
      memory.bytes.set(content);
      for (const start of [0, 1, 17]) {
        for (const end of [65_535, 65_536, 131_000]) {
          expect(same(memory.sum(start, end))).toBe(same(sumWords(content, start, end)));
        }
      }
    }
  });

  it('is taken of packets that lie in its memory, wherever else they lie JavaScript sums them', () => {
    const memory = vectorMemory(65_536)!;
    const sums: number[] = [];
    const watched = {
      bytes: memory.bytes,
      sum: (start: number, end: number) => sums.push(start, end) && memory.sum(start, end),
    };
    const sum = sumWithin(watched, 1_000_000);
    memory.bytes.set([1, 2, 3, 4], 65_530);
    const inside = memory.bytes.subarray(65_530, 65_534);
    expect(sum(inside, 0, 4, 1_065_530)).toBe(0x0604);
    expect(sums).toEqual([65_530, 65_534]);
    const elsewhere = Uint8Array.of(0, 1, 2, 3, 4);
    // Not known, before, over the end, behind.
    for (const address of [0, 999_999, 1_065_533, 1_065_536]) {
      expect(sum(elsewhere, 1, 5, address)).toBe(0x0604);
    }
    expect(sums).toHaveLength(2);
  });

  it('is left to JavaScript where the engine has no WebAssembly', () => {
    vi.stubGlobal('WebAssembly', undefined);
    try {
      expect(vectorMemory(1)).toBeUndefined();
      const memory = packetMemory(10);
      memory.bytes.set([1, 2, 3]);
      expect(memory.sum(0, 3)).toBe(sumWords(Uint8Array.of(1, 2, 3), 0, 3));
    } finally {
      vi.unstubAllGlobals();
    }
  });
});
