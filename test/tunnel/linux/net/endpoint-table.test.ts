// The table of endpoints: what it finds, what it forgets, and when a way is good again.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EndpointTable } from '../../../../tunnel/linux/net/endpoint-table.js';
import { V4_WORDS, V6_WORDS } from '../../../../tunnel/linux/net/udp-endpoint.js';

const SERIAL = 1;
const words = (count: number, ...first: number[]) =>
  Int32Array.from({ length: count }, (_, i) => first[i] ?? 0);

describe.each([
  { family: 'IPv4', count: V4_WORDS },
  { family: 'IPv6', count: V6_WORDS },
])('EndpointTable of $family', ({ count }) => {
  it('finds the same endpoint by the same words, and another by any other', () => {
    const table = new EndpointTable(count);
    const known = table.get(words(count, 1, 2, 3, 4), SERIAL);
    expect(table.get(words(count, 1, 2, 3, 4), SERIAL)).toBe(known);
    for (let at = 0; at < count; at++) {
      const other = words(count, 1, 2, 3, 4);
      other[at] ^= -0x8000_0000;
      const endpoint = table.get(other, SERIAL);
      expect(endpoint).not.toBe(known);
      expect(endpoint.words()).toEqual(other);
    }
    expect(table.get(words(count, 1, 2, 3, 4), SERIAL)).toBe(known);
  });

  it('answers with the words it was asked for, whatever was asked before: all zeros too', () => {
    const word = fc.oneof(fc.integer({ min: -2, max: 2 }), fc.integer());
    const endpoint = fc.array(word, { minLength: count, maxLength: count });
    fc.assert(
      fc.property(fc.array(endpoint, { maxLength: 64 }), asked => {
        const table = new EndpointTable(count, 4);
        for (const each of [...asked, ...asked, words(count)]) {
          const key = Int32Array.from(each);
          const found = table.get(key, SERIAL);
          expect(found.words()).toEqual(key);
          expect(table.get(key, SERIAL)).toBe(found);
        }
      }),
    );
  });

  it.each([100, 500, 1_000, 2_000, 5_000, 9_400, 18_000, 30_000])(
    'grows with those it meets, and makes hardly any of %d twice',
    peers => {
      const table = new EndpointTable(count);
      const meet = () => Array.from({ length: peers }, (_, i) => table.get(words(count, i, 7), SERIAL));
      meet();
      const known = meet();
      const again = meet();
      const made = again.filter((endpoint, i) => endpoint !== known[i]).length;
      expect(made / peers).toBeLessThan(0.05);
      expect(known.every((endpoint, i) => endpoint.words()[0] === i)).toBe(true);
    },
  );

  it('costs bounded memory: it forgets, and what it made stays equal', () => {
    const table = new EndpointTable(count, 4);
    const made = Array.from({ length: 1_000 }, (_, i) => table.get(words(count, i, 7), SERIAL));
    expect(table.size).toBe(16);
    const again = Array.from({ length: 1_000 }, (_, i) => table.get(words(count, i, 7), SERIAL));
    expect(made.every((endpoint, i) => endpoint.equals(again[i]))).toBe(true);
    expect(table.size).toBe(16);
  });

  it('trusts the way of a datagram that came in, again too', () => {
    const table = new EndpointTable(count);
    const endpoint = table.get(words(count, 1, 2, 3, 4), SERIAL);
    expect(endpoint.sourceSerial).toBe(SERIAL);
    table.distrust(endpoint);
    expect(endpoint.sourceSerial).toBe(0);
    expect(table.get(words(count, 1, 2, 3, 4), SERIAL)).toBe(endpoint);
    expect(endpoint.sourceSerial).toBe(SERIAL);
    table.get(words(count, 1, 2, 3, 4), SERIAL + 1);
    expect(endpoint.sourceSerial).toBe(SERIAL + 1);
  });

  it('keeps a distrusted way distrusted when it grows', () => {
    const table = new EndpointTable(count);
    const first = table.get(words(count, -1), SERIAL);
    table.distrust(first);
    for (let i = 0; i < 3_000; i++) table.get(words(count, i, 7), SERIAL);
    expect(first.sourceSerial).toBe(0);
    expect(table.get(words(count, -1), SERIAL)).toBe(first);
    expect(first.sourceSerial).toBe(SERIAL);
  });

  it('distrusts what it has forgotten', () => {
    const table = new EndpointTable(count, 1);
    const first = table.get(words(count, 1), SERIAL);
    for (let i = 0; i < 100; i++) table.get(words(count, i, 7), SERIAL);
    const second = table.get(words(count, 1), SERIAL);
    expect(second).not.toBe(first);
    table.distrust(first);
    expect([first.sourceSerial, second.sourceSerial]).toEqual([0, 0]);
    expect(table.get(words(count, 1), SERIAL)).toBe(second);
    expect(second.sourceSerial).toBe(SERIAL);
  });
});

it('takes a number of sets that is a power of two', () => {
  for (const sets of [0, 100]) {
    expect(() => new EndpointTable(V4_WORDS, sets)).toThrowError(
      expect.objectContaining({ code: 'ERR_ENDPOINT' }),
    );
  }
});
