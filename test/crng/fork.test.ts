import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Randomness } from 'wireonce/crng';
import { NO_EPOCH } from 'wireonce/vmgenid';
import { ID_A, ID_B, type Machine, type MachineOptions, hex, machine } from './machine.js';

const withCode = (code: string) => expect.objectContaining({ name: 'CrngError', code });

/** One draw after the other, of every size class, each with a note whether the machine was forked when it came out. */
interface Released {
  readonly bytes: string;
  readonly afterFork: boolean;
}

const SCRIPT: ((crng: Machine['crng']) => Uint8Array)[] = [
  crng => crng.bytes(16),
  crng => crng.bytes(32),
  crng => crng.bytes(300),
  crng => crng.x25519PrivateKey(),
  crng => crng.bytes(900),
  crng => Buffer.from(crng.uuid().replaceAll('-', ''), 'hex'),
];

/** Runs the script in a machine that is forked to `vmGenId` when its guard is asked for the `forkAt`th time. */
async function run(
  forkAt: number,
  vmGenId: Uint8Array,
  prepare: (m: Machine) => void = () => {},
  options: MachineOptions = {},
): Promise<{ released: Released[]; checks: number }> {
  const m = await machine(options);
  let forked = false;
  const start = m.guard.checks;
  m.guard.before = check => {
    if (check - start !== forkAt) return;
    forked = true;
    m.source.fork(vmGenId);
  };
  prepare(m);
  const released = SCRIPT.map(draw => {
    const bytes = hex(draw(m.crng));
    return { bytes, afterFork: forked };
  });
  return { released, checks: m.guard.checks - start };
}

/** What both clones handed out although at least one of them had been forked by then. */
function repeated(a: Released[], b: Released[]): string[] {
  const late = (all: Released[]) => all.filter(({ afterFork }) => afterFork).map(({ bytes }) => bytes);
  const everything = (all: Released[]) => new Set(all.map(({ bytes }) => bytes));
  return [
    ...late(a).filter(bytes => everything(b).has(bytes)),
    ...late(b).filter(bytes => everything(a).has(bytes)),
  ];
}

/** A generator that no notification ever reaches. */
const DEAF: MachineOptions = {
  before: ({ vmgenid }) => {
    vmgenid.register = () => () => {};
  },
};

/** Asks only before generating: the second look of each draw is answered from memory. */
function checkBeforeOnly(m: Machine): void {
  const start = m.guard.checks;
  let remembered = m.guard.epoch;
  m.guard.answer = (epoch, check) => {
    // A fork makes no difference to the look after generation: it happens, and nobody sees.
    if ((check - start) % 2 === 1) remembered = epoch;
    return remembered;
  };
}

describe('two clones', () => {
  test('draw the same until the fork and nothing in common after it', async () => {
    const [a, b] = [await machine(), await machine()];
    expect(a.crng.bytes(100)).toEqual(b.crng.bytes(100));
    a.source.fork(ID_A);
    b.source.fork(ID_B);
    for (const length of [4, 32, 200, 300, 5000]) {
      expect(a.crng.bytes(length)).not.toEqual(b.crng.bytes(length));
    }
  });

  test('draw nothing in common with the machine that was saved and goes on', async () => {
    const [saved, clone] = [await machine(), await machine()];
    clone.source.fork(ID_A);
    expect(clone.crng.bytes(32)).not.toEqual(saved.crng.bytes(32));
  });

  test('that start this program only after their fork part by the ID they were born with', async () => {
    const born = async (vmGenId: Uint8Array) => hex((await machine({ source: { vmGenId } })).crng.bytes(32));
    expect(await born(ID_A)).not.toBe(await born(ID_B));
    expect(await born(ID_A)).toBe(await born(ID_A));
  });

  test('forked at any generation read of a script never hand out the same bytes afterwards', async () => {
    const { checks } = await run(0, ID_A);
    expect(checks).toBeGreaterThan(2 * SCRIPT.length);
    // With the notifier chain and without: the generator relies on its own reads.
    for (const options of [{}, DEAF]) {
      for (let k = 1; k <= checks; k++) {
        const [a, b] = [await run(k, ID_A, undefined, options), await run(k, ID_B, undefined, options)];
        expect(a.released.some(({ afterFork }) => afterFork)).toBe(true);
        expect(repeated(a.released, b.released), `fork at read ${k}`).toEqual([]);
      }
    }
  });

  test('forked at different reads of a script never hand out the same bytes afterwards', async () => {
    const { checks } = await run(0, ID_A);
    const at = fc.integer({ min: 1, max: checks });
    const property = fc.asyncProperty(at, at, async (i, j) => {
      const a = (await run(i, ID_A)).released;
      const b = (await run(j, ID_B)).released;
      expect(repeated(a, b)).toEqual([]);
    });
    await fc.assert(property, { numRuns: 60 });
  });

  test('negative control: checked before generating only, they repeat', async () => {
    const { checks } = await run(0, ID_A, checkBeforeOnly);
    let repeats = 0;
    for (let k = 1; k <= checks; k++) {
      const [a, b] = [await run(k, ID_A, checkBeforeOnly), await run(k, ID_B, checkBeforeOnly)];
      repeats += repeated(a.released, b.released).length;
    }
    expect(repeats).toBeGreaterThan(0);
  });

  test('negative control: with a counter for an ID and the barrier left open, they repeat for ever', async () => {
    const options: MachineOptions = {
      source: { uniqueness: 'counter' },
      crng: { onNotFresh: 'proceed', freshnessTimeoutMs: 0 },
    };
    const counter = new Uint8Array(16).fill(1, 0, 1);
    const [a, b] = [await run(3, counter, undefined, options), await run(3, counter, undefined, options)];
    expect(a.released).toEqual(b.released);
    expect(repeated(a.released, b.released).length).toBeGreaterThan(0);
  });
});

describe('a fork', () => {
  test('is answered by a draw even if no notification ever came, or another subscriber failed', async () => {
    const drawn: string[] = [];
    for (const id of [ID_A, ID_B]) {
      const deaf = await machine(DEAF);
      const loud = await machine();
      loud.guard.register('randomness', () => {
        throw new Error('a subscriber that fails');
      });
      for (const { source, crng } of [deaf, loud]) {
        source.fork(id);
        drawn.push(hex(crng.bytes(32)));
      }
    }
    expect(drawn[0]).not.toBe(drawn[2]);
    expect(drawn[1]).not.toBe(drawn[3]);
  });

  test('is answered before anybody else of its phase hears of it, and failing to answer it is told by name', async () => {
    const told: string[] = [];
    const failed: string[] = [];
    const { source, vmgenid, entropy, events } = await machine({
      before: parts => {
        parts.vmgenid.register('randomness', () => void told.push(...events.map(({ type }) => type)), {
          priority: 999,
        });
      },
      onVmGenIdEvent: event => {
        if (event.type === 'subscriberFailed') failed.push(event.subscriber);
      },
    });
    source.fork(ID_A);
    vmgenid.check();
    expect(told).toEqual(['reseeded', 'freshness']);
    entropy.broken = true;
    source.fork(ID_B);
    vmgenid.check();
    expect(failed).toEqual(['crng']);
  });

  test('while the kernel fails lets nothing out, and what comes afterwards is parted', async () => {
    const drawn: string[] = [];
    for (const id of [ID_A, ID_B]) {
      const { crng, source, entropy } = await machine();
      const into = new Uint8Array(32);
      entropy.broken = true;
      source.fork(id);
      expect(() => crng.fill(into)).toThrow('no entropy today');
      expect(() => crng.uint32()).toThrow('no entropy today');
      expect(into).toEqual(new Uint8Array(32));
      entropy.broken = false;
      drawn.push(hex(crng.bytes(32)));
    }
    expect(drawn[0]).not.toBe(drawn[1]);
  });

  test('finds a fork inside the fork response too', async () => {
    const run2 = async (last: Uint8Array) => {
      const { crng, source, vmgenid } = await machine();
      let again = true;
      const drawn: string[] = [];
      vmgenid.register('sessions', () => {
        if (again) source.fork(last);
        again = false;
        drawn.push(hex(crng.bytes(32)));
      });
      source.fork(new Uint8Array(16).fill(1));
      drawn.push(hex(crng.bytes(32)));
      return drawn;
    };
    const [a, b] = [await run2(ID_A), await run2(ID_B)];
    expect(a).toHaveLength(3);
    expect(new Set([...a, ...b]).size).toBe(6);
  });

  test('in every attempt of a draw ends in an error, not in a loop', async () => {
    const { crng, guard, source } = await machine();
    let id = 0;
    guard.before = () => source.fork(new Uint8Array(16).fill(++id));
    const into = new Uint8Array(32);
    expect(() => crng.fill(into)).toThrow(withCode('ERR_CRNG_UNSETTLED'));
    expect(() => crng.bytes(2000)).toThrow(withCode('ERR_CRNG_UNSETTLED'));
    expect(into).toEqual(new Uint8Array(32));
  });
});

describe.each([
  ['a small draw', 16, 2],
  ['a large draw', 2_000, 3],
])('%s', (_, length, checksPerDraw) => {
  /** Forked at the last look of so many draws in a row. */
  async function forkedInDraws(draws: number) {
    const m = await machine();
    const start = m.guard.checks;
    let forks = 0;
    m.guard.before = check => {
      if ((check - start) % checksPerDraw !== 0 || forks === draws) return;
      m.source.fork(new Uint8Array(16).fill(++forks));
    };
    return m.crng;
  }

  test('lives through fifteen forks in a row, and holds sixteen for a broken source', async () => {
    expect((await forkedInDraws(15)).bytes(length)).toHaveLength(length);
    const crng = await forkedInDraws(16);
    expect(() => crng.bytes(length)).toThrow(withCode('ERR_CRNG_UNSETTLED'));
  });
});

describe('no generation', () => {
  test('means no output, at the first check and at the second', async () => {
    const { crng, guard } = await machine();
    const start = guard.checks;
    guard.answer = (epoch, check) => (check > start + 1 ? NO_EPOCH : epoch);
    const into = new Uint8Array(16);
    expect(() => crng.fill(into)).toThrow(withCode('ERR_CRNG_NO_GENERATION'));
    expect(() => crng.uint32()).toThrow(withCode('ERR_CRNG_NO_GENERATION'));
    expect(into).toEqual(new Uint8Array(16));
    expect(crng.isFresh()).toBe(false);
    guard.answer = epoch => epoch;
    expect(crng.isFresh()).toBe(true);
  });

  test('at birth delays the first seed until there is one', async () => {
    const { crng, entropy, guard, events } = await machine({
      before: ({ vmgenid }) => {
        vmgenid.check = () => NO_EPOCH;
      },
    });
    expect(entropy.reads).toBe(0);
    expect(() => crng.uint32()).toThrow(withCode('ERR_CRNG_NO_GENERATION'));
    guard.answer = () => guard.epoch;
    crng.uint32();
    expect(entropy.reads).toBe(1);
    // A first seed answers no fork.
    expect(events.filter(({ type }) => type === 'reseeded')).toEqual([]);
  });
});

describe('whoever draws inside a draw', () => {
  test('gets bytes of its own, even if it exhausts the block under the outer draw', async () => {
    const { crng, guard } = await machine();
    const seen: string[] = [];
    let inside = false;
    guard.before = () => {
      if (inside) return;
      inside = true;
      for (let i = 0; i < 25; i++) seen.push(hex(crng.bytes(32)));
      inside = false;
    };
    for (let i = 0; i < 40; i++) seen.push(hex(crng.bytes(32)));
    expect(new Set(seen).size).toBe(seen.length);
  });

  test('may close the generator: the outer draw throws and writes nothing', async () => {
    for (const length of [16, 2000]) {
      // At the look before the bytes are made, and at the one after.
      for (const look of [1, 2]) {
        const { crng, guard } = await machine();
        const start = guard.checks;
        guard.before = check => {
          if (check === start + look) crng.close();
        };
        const into = new Uint8Array(length);
        expect(() => crng.fill(into)).toThrow(withCode('ERR_CRNG_CLOSED'));
        expect(into).toEqual(new Uint8Array(length));
      }
    }
  });
});

test('an event handler may close the generator: the draw that told it throws, and its key of zeros is not used', async () => {
  const { crng, clock } = await machine({ crng: { onEvent: () => crng.close() } });
  const into = new Uint8Array(32);
  clock.ms += 1_000;
  expect(() => crng.fill(into)).toThrow(withCode('ERR_CRNG_CLOSED'));
  expect(into).toEqual(new Uint8Array(32));
});

test.each([
  ['when it hears of the fork', {}],
  ['when it answers the fork by itself', DEAF],
])('an event handler may close it %s, in a call that brings an ID: this throws', async (_, options) => {
  const { crng, source } = await machine({ ...options, crng: { onEvent: () => crng.close() } });
  source.fork(ID_A);
  expect(() => crng.addVmForkRandomness(ID_B)).toThrow(withCode('ERR_CRNG_CLOSED'));
});

test('the floors above may use a Crng as their Randomness', async () => {
  const randomness: Randomness = (await machine()).crng;
  expect(randomness.isFresh()).toBe(true);
});
