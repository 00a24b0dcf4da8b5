import { blake2s } from '@noble/hashes/blake2.js';
import { concatBytes } from '@noble/hashes/utils.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InputPool } from '../../crng/pool.js';

const fresh = new Uint8Array(32).fill(0x5a);

function extract(pool: InputPool, length = 32): Uint8Array {
  const out = new Uint8Array(length);
  pool.extract(fresh, out);
  return out;
}

function counted(counter: number): Uint8Array {
  return concatBytes(fresh, Uint8Array.of(counter, 0, 0, 0, 0, 0, 0, 0));
}

describe('input pool', () => {
  test('two extractions are what BLAKE2s gives when it is called step by step', () => {
    const pool = new InputPool();
    const first = Uint8Array.from({ length: 100 }, (_, i) => i);
    const second = Uint8Array.from({ length: 7 }, (_, i) => 200 + i);

    pool.mix(first);
    const seed = blake2s(first);
    const nextKey = blake2s(counted(0), { key: seed });
    const expected = concatBytes(
      blake2s(counted(1), { key: seed }),
      blake2s(counted(2), { key: seed, dkLen: 13 }),
    );
    expect(extract(pool, 45)).toEqual(expected);

    pool.mix(second);
    const nextSeed = blake2s(second, { key: nextKey });
    expect(extract(pool)).toEqual(blake2s(counted(1), { key: nextSeed }));
  });

  test('any one changed bit of any input changes every later extraction', () => {
    const inputs = fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { minLength: 1, maxLength: 4 });
    const property = fc.property(inputs, fc.nat(), fc.nat(), fc.nat(7), (parts, which, where, bit) => {
      const run = (all: Uint8Array[]) => {
        const pool = new InputPool();
        for (const part of all) pool.mix(part);
        return [extract(pool), extract(pool)];
      };
      const changed = parts.map(part => part.slice());
      const part = changed[which % parts.length];
      part[where % part.length] ^= 1 << bit;
      const [a1, a2] = run(parts);
      const [b1, b2] = run(changed);
      expect(a1).not.toEqual(b1);
      expect(a2).not.toEqual(b2);
    });
    fc.assert(property, { numRuns: 50 });
  });

  test('a destroyed pool gives nothing', () => {
    const pool = new InputPool();
    pool.destroy();
    expect(() => extract(pool)).toThrow();
  });
});
