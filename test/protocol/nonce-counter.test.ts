import fc from 'fast-check';
import { expect, it } from 'vitest';
import { REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES } from '../../protocol/constants.js';
import { NonceCounter } from '../../protocol/nonce-counter.js';

const U32 = 0xffff_ffffn;

/** A counter whose next value is this one, in shared memory as in a slab. */
function counterAt(next: bigint) {
  const words = new Uint32Array(new SharedArrayBuffer(16), 8, 2);
  words.set([Number(next & U32), Number(next >> 32n)]);
  return { counter: new NonceCounter(words), words };
}

const spent = (counter: NonceCounter): bigint => (BigInt(counter.high) << 32n) | BigInt(counter.low);

it('starts at zero and hands out each value once', () => {
  const counter = new NonceCounter(new Uint32Array(2));
  expect(counter.value).toBe(0n);
  const taken = Array.from({ length: 5 }, () => counter.spend() && spent(counter));
  expect(taken).toEqual([0n, 1n, 2n, 3n, 4n]);
  expect(counter.value).toBe(5n);
});

it.each([31n, 32n, 33n, 52n, 53n, 60n, 63n])('counts across 2^%i without a gap or a repetition', power => {
  const start = (1n << power) - 3n;
  const { counter } = counterAt(start);
  for (let i = 0n; i < 6n; i++) {
    expect(counter.value).toBe(start + i);
    expect(counter.spend()).toBe(true);
    expect(spent(counter)).toBe(start + i);
  }
});

it('asks for new keys when more than REKEY_AFTER_MESSAGES counters are spent', () => {
  const { counter } = counterAt(REKEY_AFTER_MESSAGES - 1n);
  const answers = Array.from({ length: 3 }, () => counter.spend() && counter.isPastRekeyLimit());
  expect(answers).toEqual([false, true, true]);
  expect(counterAt(0n).counter.isPastRekeyLimit()).toBe(false);
  expect(counterAt(REKEY_AFTER_MESSAGES - (1n << 32n) + 7n).counter.isPastRekeyLimit()).toBe(false);
  expect(counterAt(REKEY_AFTER_MESSAGES + (1n << 32n)).counter.isPastRekeyLimit()).toBe(true);
});

it('ends at REJECT_AFTER_MESSAGES and takes nothing any more', () => {
  const { counter } = counterAt(REJECT_AFTER_MESSAGES - 2n);
  expect([counter.spend(), counter.spend(), counter.spend(), counter.spend()]).toEqual([
    true,
    true,
    false,
    false,
  ]);
  expect(spent(counter)).toBe(REJECT_AFTER_MESSAGES - 1n);
  expect(counter.value).toBe(REJECT_AFTER_MESSAGES);
  expect(counter.isExhausted()).toBe(true);
  // The words of a 64-bit number are no two numbers: a full low word alone is not the end.
  for (const before of [U32, (1n << 63n) + U32, REJECT_AFTER_MESSAGES - 1n]) {
    expect(counterAt(before).counter.isExhausted()).toBe(false);
    expect(counterAt(before).counter.spend()).toBe(true);
  }
  for (const beyond of [REJECT_AFTER_MESSAGES + 1n, (1n << 64n) - 1n]) {
    const exhausted = counterAt(beyond);
    expect(exhausted.counter.spend()).toBe(false);
    expect(exhausted.counter.value).toBe(beyond);
  }
});

it('a retired counter spends nothing', () => {
  const { counter } = counterAt(42n);
  counter.retire();
  expect(counter.spend()).toBe(false);
  expect(counter.isExhausted()).toBe(true);
});

it('the count lives in the memory it was given: two views of it never spend one value', () => {
  const { counter, words } = counterAt(U32 - 1n);
  const other = new NonceCounter(words);
  const taken = [counter, other, other, counter, other].map(one => one.spend() && spent(one));
  expect(taken).toEqual([U32 - 1n, U32, U32 + 1n, U32 + 2n, U32 + 3n]);
});

it('a copy of the memory made between two stores is never behind what was spent', () => {
  const { words } = counterAt(U32);
  const copies: bigint[] = [];
  const watched = new Proxy(words, {
    get: (target, key) => Reflect.get(target, key, target),
    set: (target, key, value) => {
      const stored = Reflect.set(target, key, value, target);
      copies.push((BigInt(target[1]) << 32n) | BigInt(target[0]));
      return stored;
    },
  });
  new NonceCounter(watched).spend();
  expect(copies).toHaveLength(2);
  for (const copy of copies) expect(copy > U32).toBe(true);
});

it('agrees with bigint arithmetic from any start', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), start => {
      const { counter } = counterAt(start);
      const allowed = start < REJECT_AFTER_MESSAGES;
      expect(counter.isExhausted()).toBe(!allowed);
      expect(counter.isPastRekeyLimit()).toBe(start > REKEY_AFTER_MESSAGES);
      expect(counter.spend()).toBe(allowed);
      expect(counter.value).toBe(allowed ? start + 1n : start);
      if (allowed) expect(spent(counter)).toBe(start);
    }),
  );
});

it('refuses memory of another length', () => {
  for (const length of [0, 1, 3]) {
    expect(() => new NonceCounter(new Uint32Array(length))).toThrow(
      expect.objectContaining({ code: 'ERR_LENGTH' }),
    );
  }
});
