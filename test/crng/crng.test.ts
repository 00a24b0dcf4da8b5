import { chacha20 } from '@noble/ciphers/chacha.js';
import { blake2s } from '@noble/hashes/blake2.js';
import { concatBytes } from '@noble/hashes/utils.js';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { Crng, kernelEntropy, reseedIntervalMs } from 'wireonce/crng';
import { MemorySource, NO_EPOCH, VmGenId } from 'wireonce/vmgenid';
import { RepeatingEntropy, hex, machine } from './machine.js';

const withCode = (code: string) => expect.objectContaining({ name: 'CrngError', code });

/** Pearson's statistic of counts that should all be equal. */
function chiSquare(counts: readonly number[]): number {
  const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

function keystream(key: Uint8Array, length: number): Uint8Array {
  return chacha20(key, new Uint8Array(12), new Uint8Array(length), undefined, 1);
}

/** The first key, from the generation ID at birth (zeros here) and the 64 bytes that are read then. */
function firstKey(): Uint8Array {
  const bytes = new Uint8Array(64);
  new RepeatingEntropy(7).read(bytes);
  const counter1 = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);
  return blake2s(concatBytes(bytes.subarray(32), counter1), {
    key: blake2s(concatBytes(new Uint8Array(16), bytes.subarray(0, 32))),
  });
}

describe('output', () => {
  test('is the keystream behind the next key, block after block', async () => {
    const { crng } = await machine();
    const first = keystream(firstKey(), 1024);
    const second = keystream(first.subarray(0, 32), 1024);
    const drawn = concatBytes(...Array.from({ length: 62 }, () => crng.bytes(32)));
    expect(hex(drawn)).toBe(hex(concatBytes(first.subarray(32), second.subarray(32))));
  });

  test('of up to 256 bytes comes from the block, and a word is four bytes of it, the low one first', async () => {
    const { crng } = await machine();
    const block = keystream(firstKey(), 1024);
    expect(hex(crng.bytes(256))).toBe(hex(block.subarray(32, 288)));
    expect(crng.uint32()).toBe(new DataView(block.buffer).getUint32(288, true));
  });

  test('of a large draw comes from a key of its own', async () => {
    const { crng } = await machine();
    const block = keystream(firstKey(), 1024);
    expect(hex(crng.bytes(5000))).toBe(hex(keystream(block.subarray(32, 64), 5000)));
    expect(hex(crng.bytes(16))).toBe(hex(block.subarray(64, 80)));
  });

  test('of two machines built alike is the same, whatever is drawn; no two draws of one machine are', async () => {
    const sizes = fc.array(fc.integer({ min: 16, max: 1500 }), { minLength: 1, maxLength: 30 });
    const property = fc.asyncProperty(sizes, async lengths => {
      const [a, b] = [await machine(), await machine()];
      const drawn = lengths.map(length => hex(a.crng.bytes(length)));
      expect(lengths.map(length => hex(b.crng.bytes(length)))).toEqual(drawn);
      expect(new Set(drawn.map(text => text.slice(0, 32))).size).toBe(drawn.length);
    });
    await fc.assert(property, { numRuns: 50 });
  });

  test('is uniform: bytes, words and bounded integers pass a chi-square test', async () => {
    const { crng } = await machine();
    const bytes = Array.from({ length: 256 }, () => 0);
    for (const byte of crng.bytes(1 << 18)) bytes[byte]++;
    const small = Array.from({ length: 256 }, () => 0);
    for (let i = 0; i < 1 << 14; i++) small[crng.uint32() >>> 24]++;
    const dice = Array.from({ length: 6 }, () => 0);
    for (let i = 0; i < 1 << 14; i++) dice[crng.below(6)]++;
    // 99.9 % quantiles for 255 and 5 degrees of freedom. The seed is fixed, and with it the outcome.
    expect(chiSquare(bytes)).toBeLessThan(330.5);
    expect(chiSquare(small)).toBeLessThan(330.5);
    expect(chiSquare(dice)).toBeLessThan(20.5);
  });

  test('of two generators on the real kernel differs', () => {
    const entropy = kernelEntropy();
    const vmgenid = new VmGenId([new MemorySource()]);
    const [a, b] = [1, 2].map(() => new Crng({ entropy, vmgenid, now: () => performance.now() }));
    expect(a.bytes(32)).not.toEqual(b.bytes(32));
    entropy.close();
  });
});

describe('helpers', () => {
  test('below stays below every bound, and knows the bounds it cannot serve', async () => {
    const { crng } = await machine();
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 32 }), bound => {
        const value = crng.below(bound);
        expect(Number.isInteger(value) && value >= 0 && value < bound).toBe(true);
      }),
    );
    expect(crng.below(1)).toBe(0);
    for (const bound of [0, -1, 1.5, 2 ** 32 + 1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => crng.below(bound)).toThrow(withCode('ERR_CRNG_BOUND'));
    }
  });

  test('below(2^32) is the whole word', async () => {
    const [a, b] = [await machine(), await machine()];
    for (let i = 0; i < 100; i++) expect(a.crng.below(2 ** 32)).toBe(b.crng.uint32());
  });

  test('below rejects instead of folding: just above 2^31, both halves come equally often', async () => {
    const { crng } = await machine();
    const bound = 3 * 2 ** 30;
    const thirds = [0, 0, 0];
    for (let i = 0; i < 6000; i++) thirds[Math.floor(crng.below(bound) / 2 ** 30)]++;
    // Folding a word would put half of all values into the first third.
    expect(chiSquare(thirds)).toBeLessThan(13.9);
  });

  test('below takes no word from the last multiple of the bound on', async () => {
    const limit = 2 ** 32 - (2 ** 32 % 10);
    const words = [limit + 5, limit, limit - 1, 2 ** 32 - 1, 13];
    const { crng } = await machine({
      crng: {
        keystream: (_, out) => {
          const view = new DataView(out.buffer);
          for (const [i, word] of words.entries()) view.setUint32(32 + 4 * i, word, true);
        },
      },
    });
    expect([crng.below(10), crng.below(10)]).toEqual([9, 3]);
  });

  test('uuid has the form of version 4', async () => {
    const { crng } = await machine();
    const drawn = Array.from({ length: 200 }, () => crng.uuid());
    for (const uuid of drawn) {
      expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    }
    expect(new Set(drawn).size).toBe(200);
  });

  test('an X25519 private key is 32 random bytes, clamped', async () => {
    const [a, b] = [await machine(), await machine()];
    const expected = a.crng.bytes(32);
    expected[0] &= 0xf8;
    expected[31] = (expected[31] & 0x7f) | 0x40;
    expect(b.crng.x25519PrivateKey()).toEqual(expected);
  });

  test('bytes knows what is no length', async () => {
    const { crng } = await machine();
    expect(crng.bytes(0)).toHaveLength(0);
    for (const length of [-1, 0.5, Number.NaN, 2 ** 60, 2 ** 30 + 1]) {
      expect(() => crng.bytes(length)).toThrow(withCode('ERR_CRNG_LENGTH'));
    }
    expect(() => crng.fill(new Uint8Array(2 ** 30 + 1))).toThrow(withCode('ERR_CRNG_LENGTH'));
  });
});

describe('reseeding', () => {
  test('follows the schedule of the kernel: half the age at first, a minute later on', async () => {
    const { crng, clock, events } = await machine();
    const due = [1000];
    while (due[due.length - 1] < 300_000) {
      const age = due[due.length - 1];
      due.push(age + (age >= 120_000 ? 60_000 : Math.max(1000, Math.ceil(age / 20) * 10)));
    }
    const seen: number[] = [];
    const born = clock.ms;
    for (; clock.ms <= born + 300_000; clock.ms += 10) {
      const before = crng.reseeds;
      crng.uint32();
      if (crng.reseeds > before) seen.push(clock.ms - born);
    }
    expect(seen).toEqual(due.filter(at => at <= 300_000));
    expect(new Set(events.map(event => event.type === 'reseeded' && event.reason))).toEqual(
      new Set(['timer']),
    );
    expect([0, 1_999, 10_000, 119_000, 120_000, 10 ** 9].map(reseedIntervalMs)).toEqual([
      1_000, 1_000, 5_000, 59_500, 60_000, 60_000,
    ]);
  });

  test('a reseed discards the buffered block', async () => {
    const [a, b] = [await machine(), await machine()];
    expect(a.crng.bytes(32)).toEqual(b.crng.bytes(32));
    a.clock.ms += 1_000;
    expect(a.crng.bytes(32)).not.toEqual(b.crng.bytes(32));
  });

  test('a due reseed that fails lets nothing out until it succeeds', async () => {
    const { crng, clock, entropy, events } = await machine();
    entropy.broken = true;
    crng.uint32();
    clock.ms += 1_000;
    expect(() => crng.uint32()).toThrow('no entropy today');
    expect(() => crng.bytes(1000)).toThrow('no entropy today');
    expect(crng.isFresh()).toBe(false);
    expect(crng.isFresh()).toBe(false);
    expect(events.filter(event => event.type === 'failed')).toHaveLength(1);
    entropy.broken = false;
    expect(crng.isFresh()).toBe(true);
    crng.uint32();
  });

  test('the first that fails is told of, also where none has succeeded yet', async () => {
    const { crng, guard, entropy, events } = await machine({
      before: ({ vmgenid }) => {
        vmgenid.check = () => NO_EPOCH;
      },
    });
    entropy.broken = true;
    guard.answer = () => guard.epoch;
    expect(crng.isFresh()).toBe(false);
    expect(events.filter(event => event.type === 'failed')).toHaveLength(1);
  });

  test('a generator without a first seed is not made', async () => {
    const entropy = new RepeatingEntropy(1);
    entropy.broken = true;
    await expect(machine({ entropy })).rejects.toThrow('no entropy today');
  });
});

describe('the end', () => {
  test('of a generator is told to the guard', async () => {
    const gone = vi.fn();
    const heard: (() => void)[] = [];
    const { crng, source, guard, entropy, events } = await machine({
      before: ({ vmgenid }) => {
        vmgenid.register = (_, subscriber) => {
          heard.push(() => void subscriber({ epoch: 2, source: 'test' }));
          return gone;
        };
        vmgenid.onEvidence = callback => {
          heard.push(callback);
          return gone;
        };
      },
    });
    expect(gone).not.toHaveBeenCalled();
    crng.close();
    crng.close();
    expect(gone).toHaveBeenCalledTimes(2);
    // One that calls all the same is not answered.
    source.fork(new Uint8Array(16).fill(1));
    guard.check();
    const { reads } = entropy;
    for (const call of heard) call();
    expect(heard).toHaveLength(2);
    expect([entropy.reads, events]).toEqual([reads, []]);
  });

  test('nothing comes out after close, and no fork is heard of', async () => {
    const { crng, source, vmgenid, guard, entropy } = await machine();
    crng.bytes(10);
    crng.close();
    crng.close();
    const { checks } = guard;
    const reads = entropy.reads;
    source.fork(new Uint8Array(16).fill(1));
    vmgenid.check();
    expect(entropy.reads).toBe(reads);
    const into = new Uint8Array(8).fill(3);
    const draws = [
      () => crng.fill(into),
      () => crng.fill(new Uint8Array(1000)),
      () => crng.uint32(),
      () => crng.below(3),
      () => crng.uuid(),
      () => crng.x25519PrivateKey(),
      () => crng.addVmForkRandomness(new Uint8Array(16)),
    ];
    for (const draw of draws) expect(draw).toThrow(withCode('ERR_CRNG_CLOSED'));
    expect(into).toEqual(new Uint8Array(8).fill(3));
    expect(crng.isFresh()).toBe(false);
    expect(guard.checks).toBe(checks);
  });
});
