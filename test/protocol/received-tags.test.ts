import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REJECT_AFTER_MESSAGES } from '../../protocol/constants.js';
import { ReceivedTags } from '../../protocol/received-tags.js';
import { REPLAY_WINDOW, ReplayFilter } from '../../protocol/replay-filter.js';

const words = (counter: bigint): [number, number] => [Number(counter >> 32n), Number(counter & 0xffff_ffffn)];

/** A replay filter with its tags, and beside it the readable twin: a map of everything that was ever accepted. */
class Watched {
  readonly filter = new ReplayFilter();
  readonly tags = new ReceivedTags();
  readonly twin = new Map<bigint, number>();
  #highest = 0n;
  #serial = 0;

  receive(counter: bigint): void {
    const [high, low] = words(counter);
    if (!this.filter.accept(high, low)) return;
    // Any 32 bits; no two alike, so that an entry of another counter cannot pass.
    const tag = Math.imul(++this.#serial, 0x9e37_79b1) >>> 0;
    this.tags.remember(high, low, tag);
    this.twin.set(counter, tag);
    if (counter > this.#highest) this.#highest = counter;
  }

  /** What is remembered of a counter; nothing where the filter does not know it. */
  tagOf(counter: bigint): number | undefined {
    const [high, low] = words(counter);
    return this.filter.accepted(high, low) ? this.tags.of(low) : undefined;
  }

  expected(counter: bigint): number | undefined {
    return counter + BigInt(REPLAY_WINDOW) >= this.#highest ? this.twin.get(counter) : undefined;
  }
}

const base = fc.oneof(
  fc.constantFrom(0n, 0n, 60n, 8100n, 1n << 31n, (1n << 32n) - 20n, 1n << 53n, REJECT_AFTER_MESSAGES - 9000n),
  fc.bigInt({ min: 0n, max: REJECT_AFTER_MESSAGES }),
);
const step = fc.oneof(
  { weight: 6, arbitrary: fc.bigInt({ min: -3n, max: 4n }) },
  { weight: 3, arbitrary: fc.bigInt({ min: -9000n, max: 9000n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: -(2n ** 33n), max: 2n ** 33n }) },
);

it('it remembers what its readable twin remembers, of every counter that was ever accepted', () => {
  fc.assert(
    fc.property(base, fc.array(step, { maxLength: 200 }), (start, script) => {
      const watched = new Watched();
      let counter = start;
      for (const by of script) {
        const moved = counter + by;
        counter = moved < 0n ? 0n : moved >= 1n << 64n ? (1n << 64n) - 1n : moved;
        watched.receive(counter);
        for (const near of [counter - 8192n, counter - 1n, counter, counter + 1n, counter + 8192n]) {
          if (near >= 0n && near < 1n << 64n) expect(watched.tagOf(near)).toBe(watched.expected(near));
        }
      }
      for (const accepted of watched.twin.keys()) {
        expect(watched.tagOf(accepted)).toBe(watched.expected(accepted));
      }
    }),
    { numRuns: 300 },
  );
});

it.each([0n, 63n, 64n, 8191n, 8192n, 1n << 32n])(
  'a stream from %i on keeps the tags of a whole window, lap after lap',
  from => {
    const watched = new Watched();
    let wrong = 0;
    for (let i = 0n; i < 20_000n; i++) {
      watched.receive(from + (i ^ 1n));
      const oldest = from + i - BigInt(REPLAY_WINDOW) + 1n;
      for (const counter of [oldest, from + i]) {
        if (counter >= from && watched.tagOf(counter) !== watched.expected(counter)) wrong++;
      }
    }
    expect(wrong).toBe(0);
  },
);

describe('memory', () => {
  const after = (...counters: bigint[]) => {
    const tags = new ReceivedTags();
    for (const counter of counters) tags.remember(...words(counter), 1);
    return tags.bytes;
  };

  it('is none before the first message', () => expect(new ReceivedTags().bytes).toBe(0));

  it.each([
    [0n, 256],
    [63n, 256],
    [64n, 512],
    [1_000n, 4_096],
    [4_095n, 16_384],
    [4_096n, 32_768],
    [8_192n, 32_768],
    [1n << 40n, 32_768],
    [REJECT_AFTER_MESSAGES - 1n, 32_768],
  ])('follows the highest counter: %i takes %i bytes', (counter, bytes) => {
    expect(after(0n, counter)).toBe(bytes);
  });
});
