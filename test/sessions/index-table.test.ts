import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Randomness } from '../../crng/randomness.js';
import { IndexTable, MAX_INDEX_DRAWS } from '../../sessions/index-table.js';

/** Draws these numbers in turn, then the last one for ever. */
function scripted(...draws: number[]): Randomness & { readonly drawn: number } {
  let drawn = 0;
  return {
    get drawn() {
      return drawn;
    },
    fill: () => {},
    uint32: () => draws[Math.min(drawn++, draws.length - 1)],
    below: () => 0,
    isFresh: () => true,
  };
}

/** Every 32-bit number once, in a scattered order. */
function scattered(): Randomness {
  let state = 0;
  return { ...scripted(0), uint32: () => Math.imul(state++, 0x9e3779b1) >>> 0 };
}

describe('IndexTable', () => {
  test('finds what was inserted, over the whole range of 32 bits', () => {
    const table = new IndexTable<string>();
    for (const index of [0, 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
      expect(table.insert(`at ${index}`, scripted(index))).toBe(index);
    }
    expect(table.lookup(0xffffffff)).toBe('at 4294967295');
    expect(table.lookup(0x80000000)).toBe('at 2147483648');
    expect(table.lookup(2)).toBeUndefined();
    expect(table.size).toBe(5);
  });

  test('a taken index is never given twice', () => {
    const table = new IndexTable<string>();
    table.insert('first', scripted(7));
    const random = scripted(7, 7, 8);
    expect(table.insert('second', random)).toBe(8);
    expect(random.drawn).toBe(3);
    expect(table.lookup(7)).toBe('first');
  });

  test('a generator that only repeats itself ends in ERR_INDEX_EXHAUSTED and changes nothing', () => {
    const table = new IndexTable<string>();
    table.insert('first', scripted(7));
    const random = scripted(7);
    expect(() => table.insert('second', random)).toThrow(
      expect.objectContaining({ code: 'ERR_INDEX_EXHAUSTED' }),
    );
    expect(random.drawn).toBe(MAX_INDEX_DRAWS);
    expect([table.size, table.lookup(7)]).toEqual([1, 'first']);
  });

  test('a generator that is not fresh leaves the table as it was', () => {
    const table = new IndexTable<string>();
    const random: Randomness = {
      ...scripted(0),
      uint32: () => {
        throw new Error('not fresh');
      },
    };
    expect(() => table.insert('value', random)).toThrow('not fresh');
    expect(table.size).toBe(0);
  });

  test('replace hands an index on, and adds none', () => {
    const table = new IndexTable<string>();
    const index = table.insert('handshake', scripted(42));
    expect(table.replace(index, 'keypair')).toBe(true);
    expect(table.lookup(index)).toBe('keypair');
    expect(table.replace(43, 'stray')).toBe(false);
    expect([table.size, table.lookup(43)]).toEqual([1, undefined]);
  });

  test('holds three entries for each of 2^16 peers', () => {
    const table = new IndexTable<number>();
    const random = scattered();
    const indices = Array.from({ length: 3 * 2 ** 16 }, (_, i) => table.insert(i, random));
    expect(table.size).toBe(3 * 2 ** 16);
    expect(indices.every((index, i) => table.lookup(index) === i)).toBe(true);
    table.clear();
    expect([table.size, table.lookup(indices[0])]).toEqual([0, undefined]);
  });

  test('behaves as a map under any script', () => {
    const step = fc.record({
      op: fc.constantFrom('insert', 'replace', 'remove'),
      index: fc.integer({ min: 0, max: 12 }),
      value: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 50 }), script => {
        const table = new IndexTable<number>();
        const model = new Map<number, number>();
        for (const { op, index, value } of script) {
          if (op === 'insert') {
            // The second draw is free for sure.
            const free = 100 + model.size;
            const given = table.insert(value, scripted(index, free));
            expect(given).toBe(model.has(index) ? free : index);
            model.set(given, value);
          } else if (op === 'replace') {
            expect(table.replace(index, value)).toBe(model.has(index));
            if (model.has(index)) model.set(index, value);
          } else {
            expect(table.remove(index)).toBe(model.delete(index));
            // Keep `100 + size` free.
            for (const key of model.keys()) if (key >= 100) expect(table.remove(key)).toBe(model.delete(key));
          }
          expect(table.size).toBe(model.size);
          for (const [key, expected] of model) expect(table.lookup(key)).toBe(expected);
        }
      }),
    );
  });
});
