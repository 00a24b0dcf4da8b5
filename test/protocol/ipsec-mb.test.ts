import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { BATCH_CAPACITY } from '../../protocol/batches.js';
import { type Opener, type Sealer, type Suite, TAG_BYTES } from '../../protocol/suite.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { type Koffi, loadKoffi } from '../../native/koffi.js';
import { countInMemory } from '../support/process-memory.js';
import { counting, nativeSuites } from '../support/suites.js';

const suite = nativeSuites.find(({ name }) => name === 'ipsec-mb') as Suite;

const newSealer = (of = suite) => (of.sealer as () => Sealer)();
const newOpener = (of = suite) => (of.opener as () => Opener)();

type Native = (...values: number[]) => number;

interface Changes {
  readonly load?: (real: Koffi['load']) => Koffi['load'];
  readonly named?: Record<string, (real: Native) => Native>;
  /** Functions that are found through pointers, in the order in which they are asked for: get, submit, get, submit. */
  readonly found?: (real: Native, index: number) => Native;
}

/** Loads the suite anew, on a library in which some functions are replaced. */
async function loadChanged({ load, named = {}, found }: Changes): Promise<Suite | undefined> {
  let index = 0;
  vi.doMock('../../native/koffi.js', () => {
    const { koffi } = loadKoffi() as { koffi: Koffi };
    const loadReal: Koffi['load'] = path => koffi.load(path);
    const changed: Koffi = Object.assign(Object.create(koffi) as Koffi, {
      load: (path: string | null) => {
        const library = (load ?? (real => real))(loadReal)(path);
        return {
          func: (name: string, ...rest: [string, readonly string[]]) => {
            const real = library.func(name, ...rest);
            return named[name]?.(real) ?? real;
          },
        };
      },
      proto: (...type: [string, readonly string[]]) => koffi.proto(...type),
      decode: (pointer: bigint, type: unknown) => {
        const real = koffi.decode(pointer, type);
        return found?.(real, index++) ?? real;
      },
      address: (bytes: Uint8Array) => koffi.address(bytes),
    });
    return { loadKoffi: () => ({ koffi: changed }) };
  });
  vi.resetModules();
  const { loadIpsecMbSuite } = await import('../../protocol/suites/ipsec-mb.js');
  return loadIpsecMbSuite();
}

afterEach(() => {
  vi.doUnmock('../../native/koffi.js');
  vi.resetModules();
});

const isSubmit = (index: number) => index % 2 === 1;

const scratch = () => new Uint8Array(40 + TAG_BYTES).fill(0x5a);

it('is not offered where koffi is missing, and not where the library is', async () => {
  vi.doMock('../../native/koffi.js', () => ({ loadKoffi: () => ({ reason: 'not installed' }) }));
  vi.resetModules();
  const { loadIpsecMbSuite } = await import('../../protocol/suites/ipsec-mb.js');
  expect(await loadIpsecMbSuite()).toBeUndefined();
  const load: Changes['load'] = () => () => {
    throw new Error('cannot open shared object file');
  };
  expect(await loadChanged({ load })).toBeUndefined();
});

describe.runIf(suite)('the ipsec-mb suite', () => {
  it('is offered where the library is as it should be', async () => {
    expect((await loadChanged({}))?.name).toBe('ipsec-mb');
  });

  it.each([
    ['whose version has layouts that are not known', { named: { imb_get_version: () => () => 0x1_04_00 } }],
    [
      'that does nothing',
      { found: (real: Native, i: number) => (isSubmit(i) ? (_: number, n: number) => n : real) },
    ],
    [
      'that leaves jobs undone',
      {
        found: (real: Native, i: number) =>
          isSubmit(i) ? (m: number, n: number, p: number) => real(m, n - 1, p) : real,
      },
    ],
    ['that has no room', { found: (real: Native, i: number) => (isSubmit(i) ? real : () => 0) }],
  ] satisfies [string, Changes][])('is not offered on a library %s', async (_, changes) => {
    expect(await loadChanged(changes)).toBeUndefined();
  });

  /** The suite on a library that fails for as long as `trouble.isDue`. */
  async function breakable() {
    const trouble = { isDue: false };
    const { koffi } = loadKoffi() as { koffi: Koffi };
    const found: Changes['found'] = (real, index) =>
      isSubmit(index)
        ? (...values) => {
            if (!trouble.isDue) return real(...values);
            // As the library does it: the first pointer tells which job it did not like.
            new BigUint64Array(koffi.view(values[2], 8))[0] = 0n;
            return 0;
          }
        : real;
    return { changed: (await loadChanged({ found })) as Suite, trouble };
  }

  const failure = expect.objectContaining({ code: 'ERR_IPSEC_MB' });

  it('throws when a burst fails, and leaves neither plaintext nor half a message', async () => {
    const { changed, trouble } = await breakable();
    const sealer = newSealer(changed);
    const buffers = [new Uint8Array(80).fill(0x5a), new Uint8Array(80).fill(0x5a)];
    trouble.isDue = true;
    for (const buffer of buffers) sealer.seal(counting(32), 0, 0, buffer, 8, 40);
    expect(() => sealer.settle()).toThrow(failure);
    for (const buffer of buffers) {
      expect(buffer.subarray(8, 8 + 40 + TAG_BYTES).every(byte => byte === 0)).toBe(true);
      expect(buffer.subarray(0, 8).every(byte => byte === 0x5a)).toBe(true);
    }
    // The next burst is as good as any.
    trouble.isDue = false;
    const [ours, theirs] = [new Uint8Array(80), new Uint8Array(80)];
    sealer.seal(counting(32), 7, 0, ours, 8, 40);
    sealer.settle();
    nobleSuite.seal(counting(32), 7, 0, theirs, 8, 40);
    expect(ours).toEqual(theirs);
    trouble.isDue = true;
    const opener = newOpener(changed);
    const place = opener.open(counting(32), 0, 0, buffers[0], 0, 80);
    expect(() => opener.settle()).toThrow(failure);
    expect(opener.isOpened(place)).toBe(false);
  });

  it.each([
    [
      'another user needs the engine',
      (of: Suite) => newSealer(of).seal(counting(32), 1, 0, scratch(), 0, 40),
    ],
    ['it is full', (_: Suite, seal: () => void) => Array.from({ length: BATCH_CAPACITY }, seal)],
    ['keys are erased', (of: Suite) => of.forget()],
  ])('a burst that fails because %s is told to the one whose it is, once', async (_, makeItRun) => {
    const { changed, trouble } = await breakable();
    const sealer = newSealer(changed);
    const first = scratch();
    const seal = () => sealer.seal(counting(32), 0, 0, scratch(), 0, 40);
    sealer.seal(counting(32), 0, 0, first, 0, 40);
    trouble.isDue = true;
    makeItRun(changed, seal);
    trouble.isDue = false;
    expect(first.every(byte => byte === 0)).toBe(true);
    seal();
    expect(() => sealer.settle()).toThrow(failure);
    seal();
    sealer.settle();
  });

  it('an opener whose burst failed for another begins anew after it has settled', async () => {
    const { changed, trouble } = await breakable();
    const opener = newOpener(changed);
    const message = new Uint8Array(16 + TAG_BYTES);
    nobleSuite.seal(counting(32), 1, 0, message, 0, 16);
    opener.open(counting(32), 1, 0, message.slice(), 0, 32);
    trouble.isDue = true;
    changed.forget();
    trouble.isDue = false;
    expect(opener.open(counting(32), 1, 0, message.slice(), 0, 32)).toBe(1);
    expect(() => opener.settle()).toThrow(failure);
    expect([0, 1].map(place => opener.isOpened(place))).toEqual([false, true]);
    expect(opener.open(counting(32), 1, 0, message.slice(), 0, 32)).toBe(0);
    opener.settle();
    expect(opener.isOpened(0)).toBe(true);
  });

  const message = fc.record({
    key: fc.constantFrom(1, 2, 3),
    counter: fc.nat(),
    offset: fc.nat(20),
    length: fc.oneof(fc.nat(64), fc.nat(3_000)),
    flip: fc.option(fc.nat(), { freq: 4, nil: undefined }),
  });

  it('batches make what the reference makes, in whatever company: two users in turns, forgetting in between', () => {
    const script = fc.array(
      fc.tuple(fc.nat(1), fc.oneof({ weight: 8, arbitrary: message }, fc.constantFrom('settle', 'forget'))),
      { maxLength: 150 },
    );
    fc.assert(
      fc.property(script, steps => {
        const sealers = [newSealer(), newSealer()];
        const made: { ours: Uint8Array; theirs: Uint8Array }[] = [];
        for (const [who, step] of steps) {
          if (step === 'settle') sealers[who].settle();
          else if (step === 'forget') suite.forget();
          else {
            const { key, counter, offset, length } = step;
            const ours = new Uint8Array(offset + length + TAG_BYTES + 5).fill(counter);
            const theirs = ours.slice();
            // A key that is gone as soon as it was given.
            const given = new Uint8Array(32).fill(key);
            sealers[who].seal(given, counter, key, ours, offset, length);
            given.fill(0);
            nobleSuite.seal(new Uint8Array(32).fill(key), counter, key, theirs, offset, length);
            made.push({ ours, theirs });
          }
        }
        for (const sealer of sealers) sealer.settle();
        for (const { ours, theirs } of made) expect(ours).toEqual(theirs);
      }),
      { numRuns: 60 },
    );
  });

  it('each message of a batch is opened or refused by itself, two users in turns', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(1), message), { maxLength: BATCH_CAPACITY }), messages => {
        const openers = [newOpener(), newOpener()];
        const opened = messages.map(([who, { key, counter, offset, length, flip }]) => {
          const keyBytes = new Uint8Array(32).fill(key);
          const buffer = new Uint8Array(offset + length + TAG_BYTES + 5).fill(counter);
          const plain = buffer.slice(offset, offset + length);
          nobleSuite.seal(keyBytes, counter, key, buffer, offset, length);
          if (flip !== undefined) buffer[offset + (flip % (length + TAG_BYTES))] ^= 1 << (flip & 7);
          const place = openers[who].open(keyBytes, counter, key, buffer, offset, length + TAG_BYTES);
          return { who, place, plain, buffer, offset, isRight: flip === undefined };
        });
        for (const opener of openers) opener.settle();
        const next = [0, 0];
        for (const { who, place, plain, buffer, offset, isRight } of opened) {
          expect(place).toBe(next[who]++);
          expect(openers[who].isOpened(place)).toBe(isRight);
          if (isRight) expect(buffer.subarray(offset, offset + plain.length)).toEqual(plain);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('an array that was given another key seals under that', () => {
    const key = new Uint8Array(32).fill(1);
    const [first, second, expected] = [new Uint8Array(32), new Uint8Array(32), new Uint8Array(32)];
    const sealer = newSealer();
    sealer.seal(key, 0, 0, first, 0, 16);
    key.fill(2);
    sealer.seal(key, 0, 0, second, 0, 16);
    sealer.settle();
    nobleSuite.seal(key, 0, 0, expected, 0, 16);
    expect(second).toEqual(expected);
    expect(first).not.toEqual(second);
  });

  it('an opener begins anew after it has settled, and what it said before does not stay', () => {
    const opener = newOpener();
    const good = new Uint8Array(16 + TAG_BYTES);
    nobleSuite.seal(counting(32), 1, 0, good, 0, 16);
    for (const { bytes, isRight } of [
      { bytes: good, isRight: true },
      { bytes: new Uint8Array(32), isRight: false },
    ]) {
      expect(opener.open(counting(32), 1, 0, bytes, 0, 32)).toBe(0);
      opener.settle();
      opener.settle();
      expect(opener.isOpened(0)).toBe(isRight);
    }
  });

  it('keeps no key beyond a batch, and forgets in the middle of one', () => {
    const keyOf = (seed: number) => {
      const key = new Uint8Array(new SharedArrayBuffer(32));
      for (let i = 0; i < key.length; i++) key[i] = (163 * i + 17 * i * i + 89 * seed + 31) & 0xff;
      return key;
    };
    const keys = [keyOf(1), keyOf(2)];
    const counts = () => keys.map(countInMemory);
    const sealer = newSealer();
    const opener = newOpener();
    const buffer = new Uint8Array(1424 + TAG_BYTES);
    const begin = () => {
      sealer.seal(keys[0], 0, 0, buffer.slice(), 0, 1424);
      opener.open(keys[1], 0, 0, buffer.slice(), 0, 1440);
    };
    expect(counts()).toEqual([0, 0]);
    begin();
    // The control: until a batch has run its keys are there.
    expect(counts().every(count => count > 0)).toBe(true);
    sealer.settle();
    opener.settle();
    expect(counts()).toEqual([0, 0]);
    begin();
    suite.forget();
    expect(counts()).toEqual([0, 0]);
  });

  it('refuses what is no message, before the library sees it', () => {
    const wrong = expect.objectContaining({ code: 'ERR_LENGTH' });
    const buffer = new Uint8Array(64);
    const [sealer, opener] = [newSealer(), newOpener()];
    expect(() => sealer.seal(counting(32), 0, 0, buffer, 0, 49)).toThrow(wrong);
    expect(() => sealer.seal(counting(31), 0, 0, buffer, 0, 48)).toThrow(wrong);
    expect(() => sealer.seal(counting(32), 0, 0, buffer, -1, 8)).toThrow(wrong);
    expect(() => opener.open(counting(32), 0, 0, buffer, 0, 15)).toThrow(wrong);
    expect(() => opener.open(counting(32), 0, 0, buffer, 40, 32)).toThrow(wrong);
    structuredClone(buffer.buffer, { transfer: [buffer.buffer] });
    expect(() => sealer.seal(counting(32), 0, 0, buffer, 0, 0)).toThrow(wrong);
    sealer.settle();
    opener.settle();
  });
});
