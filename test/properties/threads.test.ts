// Random interleavings of drivers that share one state, as threads do: any of them is held up at any step, with a reading
// in hand or a record half written, while others go on and the machine is forked.
// One thread plays them all: whoever is held up goes on when those that overtook him are done.

import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type GenerationSource, VmGenId } from '../../vmgenid/index.js';

type Act = { readonly who: number; readonly does: 'look' | 'draw' | 'hear' } | 'fork';

const real = { load: Atomics.load, store: Atomics.store, cas: Atomics.compareExchange };

/** Counts the forks and shows how many there were. */
class World {
  readonly acts: Act[];
  /** After how many steps of whoever is running the next act comes in between. */
  readonly gaps: number[];
  readonly threads: Thread[];
  /** Which generation there was in which epoch, as the threads have it. */
  readonly generations = new Map<number, number>();
  readonly faults: string[] = [];
  /** On their way from a thread to whoever hears next. */
  readonly seeds: { readonly epoch: number; readonly generation: number }[] = [];
  forks = 0;
  held = 0;
  #gap: number;

  constructor(acts: readonly Act[], gaps: readonly number[], uniqueness: 'unique' | 'counter') {
    this.acts = [...acts];
    this.gaps = [...gaps];
    this.#gap = Number.POSITIVE_INFINITY;
    const first = new Thread(this, uniqueness);
    this.threads = [first];
    for (const sources of [1, 1, 0]) {
      this.threads.push(new Thread(this, uniqueness, first.vmgenid, sources === 1));
    }
  }

  /** `isAtomic`: false has the next act come between the comparison and the setting. */
  play(isAtomic: boolean): void {
    vi.spyOn(Atomics, 'load').mockImplementation((...args: Parameters<typeof real.load>) => {
      this.step();
      return real.load(...args);
    });
    vi.spyOn(Atomics, 'store').mockImplementation((...args: Parameters<typeof real.store>) => {
      this.step();
      return real.store(...args);
    });
    vi.spyOn(Atomics, 'compareExchange').mockImplementation((...args: Parameters<typeof real.cas>) => {
      this.step();
      if (isAtomic) return real.cas(...args);
      const [words, at, expected, next] = args;
      const found = real.load(words, at);
      if (found !== expected) return found;
      this.#gap = 1;
      this.step();
      real.store(words, at, next);
      return found;
    });
    this.#gap = this.gaps.shift() ?? Number.POSITIVE_INFINITY;
    for (let act = this.acts.shift(); act; act = this.acts.shift()) this.#do(act);
    for (const thread of this.threads) thread.go('look');
    for (const thread of this.threads) thread.end();
  }

  /** A step of whoever is running is over. */
  step(): void {
    if (--this.#gap > 0) return;
    this.#gap = this.gaps.shift() ?? Number.POSITIVE_INFINITY;
    const act = this.acts.shift();
    if (act && this.threads.some(({ isBusy }) => isBusy)) this.held++;
    if (act) this.#do(act);
  }

  #do(act: Act): void {
    if (act === 'fork') this.forks++;
    else this.threads[act.who % this.threads.length].go(act.does);
  }
}

class Thread {
  readonly vmgenid: VmGenId;
  readonly #world: World;
  readonly #isUnique: boolean;
  readonly #seesItself: boolean;
  readonly #told: number[] = [];
  isBusy = false;
  #read = 0;

  constructor(world: World, uniqueness: 'unique' | 'counter', first?: VmGenId, seesItself = true) {
    this.#world = world;
    this.#isUnique = uniqueness === 'unique';
    this.#seesItself = seesItself;
    const page: GenerationSource = {
      name: 'page',
      timing: 'immediate',
      uniqueness,
      read: into => {
        this.#read = world.forks;
        into.fill(0);
        into[0] = this.#read;
        world.step();
      },
      close: () => {},
    };
    const shared = first?.shared;
    this.vmgenid = new VmGenId(seesItself ? [page] : [], { now: () => 0, ...(shared && { shared }) });
    this.vmgenid.register('sessions', ({ epoch }) => {
      // No thread is told less than it has asked to know.
      if (epoch <= (this.#told.at(-1) ?? 1)) world.faults.push(`told of ${epoch} again`);
      this.#told.push(epoch);
    });
  }

  go(does: 'look' | 'draw' | 'hear'): void {
    // A thread does one thing at a time.
    if (this.isBusy) return;
    this.isBusy = true;
    if (does === 'hear') this.#hear();
    else {
      const epoch = this.#look();
      if (does === 'draw' && this.#seesItself) {
        this.#world.seeds.push({ epoch, generation: this.#read });
      }
    }
    this.isBusy = false;
  }

  end(): void {
    const { epoch } = this.vmgenid;
    if (epoch > 1 && this.#told.at(-1) !== epoch) this.#world.faults.push(`epoch ${epoch} was not told`);
    void this.vmgenid.close();
  }

  #look(): number {
    const { generations, faults } = this.#world;
    const before = Math.max(1, ...generations.keys());
    const epoch = this.vmgenid.check();
    if (epoch < before) faults.push(`back from epoch ${before} to ${epoch}`);
    if (this.#seesItself) this.#compare(epoch);
    return epoch;
  }

  // Each epoch has one generation, and each generation one epoch: no fork is lost, and none counts twice.
  #compare(epoch: number): void {
    const { generations, faults } = this.#world;
    const known = generations.get(epoch) ?? this.#read;
    if (known !== this.#read) faults.push(`epoch ${epoch}: generations ${known} and ${this.#read}`);
    generations.set(epoch, this.#read);
    const epochs = [...generations].filter(([, generation]) => generation === this.#read);
    if (epochs.length > 1) faults.push(`generation ${this.#read}: epochs ${epochs.join(' and ')}`);
    if (!this.#isUnique) return;
    const id = this.vmgenid.evidence.vmGenId;
    const told = id && new DataView(id.buffer).getUint32(0, true);
    if (told !== this.#read) faults.push(`generation ${this.#read}: evidence of ${told}`);
  }

  #hear(): void {
    const seed = this.#world.seeds.shift();
    if (!seed) return;
    const isBelieved = this.vmgenid.learnSeed(seed.epoch, new Uint8Array(32).fill(1));
    if (isBelieved && this.#seesItself && seed.generation !== this.#read) {
      this.#world.faults.push(`a seed of generation ${seed.generation} in ${this.#read}`);
    }
  }
}

const who = fc.nat(3);
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Act>('fork') },
  { weight: 6, arbitrary: fc.record({ who, does: fc.constant('look' as const) }) },
  { weight: 1, arbitrary: fc.record({ who, does: fc.constant('draw' as const) }) },
  { weight: 1, arbitrary: fc.record({ who, does: fc.constant('hear' as const) }) },
);
const acts = fc.array(act, { minLength: 20, maxLength: 80, size: 'max' });
const gaps = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 60, maxLength: 80, size: 'max' });
const runs = { numRuns: 400 };

afterEach(() => {
  vi.restoreAllMocks();
});

type Page = 'unique' | 'counter';

function play(history: readonly Act[], pauses: readonly number[], page: Page, isAtomic: boolean): World {
  const world = new World(history, pauses, page);
  try {
    world.play(isAtomic);
  } finally {
    vi.restoreAllMocks();
  }
  return world;
}

describe.each<Page>(['unique', 'counter'])('threads that share one state, by a page that is %s', page => {
  it('count each fork once, tell each thread of it, and believe nothing about one before', () => {
    const total = { forks: 0, held: 0, epochs: 0 };
    fc.assert(
      fc.property(acts, gaps, (history, pauses) => {
        const world = play(history, pauses, page, true);
        total.forks += world.forks;
        total.held += world.held;
        total.epochs += world.generations.size - 1;
        expect(world.faults).toEqual([]);
      }),
      runs,
    );
    // What was never in danger proves nothing.
    expect(Math.min(total.forks, total.held, total.epochs)).toBeGreaterThan(runs.numRuns);
  });

  it('control: with a load and a store in place of the compare-and-set, forks are lost, or count twice', () => {
    const faults: string[] = [];
    fc.assert(
      fc.property(acts, gaps, (history, pauses) => {
        faults.push(...play(history, pauses, page, false).faults);
      }),
      // The same histories each time: a control is not left to chance.
      { ...runs, seed: 8 },
    );
    expect(faults.some(fault => /^epoch \d+: generations/.test(fault))).toBe(true);
    expect(faults.some(fault => /^generation \d+: epochs/.test(fault))).toBe(true);
  });
});
