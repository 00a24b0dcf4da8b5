import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REJECT_AFTER_MESSAGES } from '../../protocol/constants.js';
import { REPLAY_WINDOW, ReplayFilter } from '../../protocol/replay-filter.js';
import { ReplayOracle } from '../support/replay-oracle.js';

const WINDOW = BigInt(REPLAY_WINDOW);
const words = (counter: bigint): [number, number] => [Number(counter >> 32n), Number(counter & 0xffff_ffffn)];

/** A filter that is asked for bigints, and whose two answers must agree. */
function filter() {
  const inner = new ReplayFilter();
  return (counter: bigint | number): boolean => {
    const [high, low] = words(BigInt(counter));
    const would = inner.check(high, low);
    if (inner.accept(high, low) !== would) throw new Error(`check and accept differ about ${counter}`);
    return would;
  };
}

it('the window is 8128 counters', () => {
  expect(REPLAY_WINDOW).toBe(8128);
});

it('each counter is accepted once, in any order within the window', () => {
  const accept = filter();
  expect([0, 0, 3, 1, 1, 2, 3, 0].map(accept)).toEqual([true, false, true, true, false, true, false, false]);
});

it('`check` changes nothing: a forged counter does not move the window', () => {
  const inner = new ReplayFilter();
  expect(inner.accept(0, 5)).toBe(true);
  expect(inner.check(0x7fff_ffff, 0)).toBe(true);
  expect(inner.check(0, 4)).toBe(true);
  expect(inner.check(0, 4)).toBe(true);
  expect(inner.accept(0, 4)).toBe(true);
  expect(inner.check(0, 4)).toBe(false);
});

describe.each([
  ['0', 0n],
  ['2^31', 1n << 31n],
  ['2^32', 1n << 32n],
  ['2^53', 1n << 53n],
  ['2^60', 1n << 60n],
  ['2^63', 1n << 63n],
  ['the reject limit', REJECT_AFTER_MESSAGES - 3n * WINDOW],
])('around %s', (_, base) => {
  it('a counter exactly the window behind is taken, one further is too old', () => {
    for (const shift of [0n, 1n, 31n, 32n, 63n, 64n]) {
      const accept = filter();
      const highest = base + 2n * WINDOW + shift;
      expect(accept(highest)).toBe(true);
      expect(accept(highest - WINDOW - 1n)).toBe(false);
      expect(accept(highest - WINDOW)).toBe(true);
      expect(accept(highest - WINDOW)).toBe(false);
      expect(accept(highest + 1n)).toBe(true);
      expect(accept(highest - WINDOW)).toBe(false);
      expect(accept(highest - WINDOW + 1n)).toBe(true);
      expect(accept(highest)).toBe(false);
    }
  });

  it('a whole window fills once, upwards and downwards', () => {
    const upwards = filter();
    const downwards = filter();
    let refused = 0;
    for (let i = 0n; i <= WINDOW; i++) {
      if (!upwards(base + i)) refused++;
      if (!downwards(base + WINDOW - i)) refused++;
    }
    for (let i = 0n; i <= WINDOW; i++) {
      if (upwards(base + i)) refused++;
      if (downwards(base + i)) refused++;
    }
    expect(refused).toBe(0);
  });

  it('a stream whose neighbours change places is accepted without a gap, lap after lap', () => {
    const accept = filter();
    const start = base > 9000n ? (base - 9000n) & ~1n : 0n;
    let refused = 0;
    for (let counter = start; counter < base + 9000n; counter++) if (!accept(counter ^ 1n)) refused++;
    expect(refused).toBe(0);
  });

  it('steps of every size around a word and a lap leave no stale bit and lose none', () => {
    for (const step of [1n, 31n, 32n, 33n, 63n, 64n, 65n, 8127n, 8128n, 8129n, 8191n, 8192n, 8193n]) {
      const accept = filter();
      const oracle = new ReplayOracle();
      for (const at of [base, base + 5n, base + 5n + step]) expect(accept(at)).toBe(oracle.accept(at));
      for (let i = 0n; i <= 8300n; i++) {
        const counter = base + 5n + step - i;
        if (counter < 0n) break;
        if (accept(counter) !== oracle.accept(counter)) throw new Error(`step ${step}: ${counter} differs`);
      }
    }
  });
});

it('REJECT_AFTER_MESSAGES and all above are refused, and the last counter below is not', () => {
  const accept = filter();
  const limit = REJECT_AFTER_MESSAGES;
  for (const refused of [limit, limit + 1n, limit + 2n, (1n << 64n) - 1n])
    expect(accept(refused)).toBe(false);
  expect(accept(limit - 1n)).toBe(true);
  expect(accept(limit - 1n)).toBe(false);
  expect(accept(limit)).toBe(false);
  expect(accept(limit - 2n)).toBe(true);
  expect(accept(limit - 1n - WINDOW)).toBe(true);
  expect(accept(limit - 2n - WINDOW)).toBe(false);
  expect(accept(0)).toBe(false);
});

it('a leap over all 64 bits forgets what was before', () => {
  const accept = filter();
  for (const counter of [0n, 1n, 1n << 40n, (1n << 40n) + 2n ** 32n, 1n << 63n])
    expect(accept(counter)).toBe(true);
  for (const counter of [0n, 1n, 1n << 40n, (1n << 63n) - 2n ** 32n, 1n << 63n]) {
    expect(accept(counter)).toBe(false);
  }
});

// Counters near a drifting place, so that most fall into or about the window.
const base = fc.oneof(
  fc.constantFrom(0n, 1n << 31n, 1n << 32n, 1n << 53n, 1n << 60n, 1n << 63n, REJECT_AFTER_MESSAGES - 9000n),
  fc.bigInt({ min: 0n, max: REJECT_AFTER_MESSAGES }),
);
const step = fc.oneof(
  { weight: 6, arbitrary: fc.bigInt({ min: -3n, max: 4n }) },
  { weight: 3, arbitrary: fc.bigInt({ min: -9000n, max: 9000n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: -(2n ** 33n), max: 2n ** 33n }) },
);

it('it decides as its readable twin, whatever arrives', () => {
  fc.assert(
    fc.property(
      base,
      fc.array(fc.record({ step, marks: fc.boolean() }), { maxLength: 200 }),
      (start, script) => {
        const fast = new ReplayFilter();
        const oracle = new ReplayOracle();
        let counter = start;
        for (const { step, marks } of script) {
          const moved = counter + step;
          counter = moved < 0n ? 0n : moved >= 1n << 64n ? (1n << 64n) - 1n : moved;
          const [high, low] = words(counter);
          expect(fast.check(high, low)).toBe(oracle.check(counter));
          if (marks) expect(fast.accept(high, low)).toBe(oracle.accept(counter));
        }
      },
    ),
    { numRuns: 300 },
  );
});
