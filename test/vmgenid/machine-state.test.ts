// One state of the machine, and the drivers of two threads that are views of it. Random interleavings of more of them:
// test/properties/threads.test.ts.

import { afterEach, describe, expect, it, vi } from 'vitest';
import { Crng } from '../../crng/index.js';
import { MemorySource, NO_EPOCH, SAME_FORK_MS, type Uniqueness, VmGenId } from '../../vmgenid/index.js';
import { MachineState, newState } from '../../vmgenid/machine-state.js';
import { Announcer, RepeatingEntropy } from '../crng/machine.js';

const id = (byte: number) => new Uint8Array(16).fill(byte);
/** What a counter shows after so many forks. */
const count = (forks: number) => new Uint8Array(16).fill(forks, 0, 1);

afterEach(() => {
  vi.unstubAllGlobals();
});

/** Two threads of a process, each with a page of its own to look at, which their hypervisor writes at once. */
async function twoThreads(options: { uniqueness?: Uniqueness; looks?: boolean } = {}) {
  const { uniqueness = 'unique', looks = true } = options;
  const clock = { ms: 1_000_000 };
  const now = () => clock.ms;
  const pages = [new MemorySource({ uniqueness }), new MemorySource({ uniqueness })];
  const announcer = new Announcer();
  const main = new VmGenId([pages[0], announcer], { now });
  await main.start();
  const thread = new VmGenId(looks ? [pages[1]] : [], { now, shared: main.shared });
  const forks: number[][] = [[], []];
  const evidence = [0, 0];
  for (const [i, vm] of [main, thread].entries()) {
    vm.register('sessions', ({ epoch }) => void forks[i].push(epoch));
    vm.onEvidence(() => evidence[i]++);
  }
  const fork = (generation: Uint8Array) => {
    for (const page of pages) page.fork(generation);
  };
  return { main, thread, pages, announcer, fork, forks, evidence, clock };
}

describe('two threads', () => {
  it.each(['main', 'thread'] as const)(
    'whichever looks first (%s), each is told of a fork once',
    async who => {
      const { main, thread, fork, forks } = await twoThreads();
      fork(id(1));
      const order = who === 'main' ? [main, thread] : [thread, main];
      expect([...order, ...order].map(vm => vm.check())).toEqual([2, 2, 2, 2]);
      expect(forks).toEqual([[2], [2]]);
      expect([main, thread].map(({ evidence }) => evidence.vmGenId)).toEqual([id(1), id(1)]);
    },
  );

  it('one without a source learns of it when the other has looked, and is delayed by that', async () => {
    const { main, thread, fork, forks } = await twoThreads({ looks: false });
    expect([main.protection, thread.protection]).toEqual(['immediate', 'delayed']);
    fork(id(1));
    // The harm: the page has changed, and this thread does not see it at its check.
    expect(thread.check()).toBe(1);
    main.check();
    expect(thread.check()).toBe(2);
    expect(forks[1]).toEqual([2]);
    expect((await twoThreads()).thread.protection).toBe('immediate');
  });

  it('one without a source lets nothing out while the other cannot vouch', async () => {
    const { main, thread } = await twoThreads({ looks: false });
    expect(thread.check()).toBe(1);
    await main.close();
    expect(thread.check()).toBe(NO_EPOCH);
    // Control: one with a source of its own vouches for itself.
    const other = await twoThreads();
    await other.main.close();
    expect(other.thread.check()).toBe(1);
  });

  it('a fork that only a delayed source of one tells of is one to the other too, by the same name', async () => {
    const { thread, announcer, forks } = await twoThreads();
    const sources: string[] = [];
    thread.register('application', ({ source }) => void sources.push(source));
    announcer.announce({});
    expect(thread.check()).toBe(2);
    expect([forks, sources]).toEqual([[[2], [2]], ['announcer']]);
  });

  it('what the log says of a fork that the other saw first is evidence, for both, and no second fork', async () => {
    const { main, thread, announcer, fork, forks, evidence } = await twoThreads({ uniqueness: 'counter' });
    fork(count(1));
    thread.check();
    main.check();
    announcer.announce({ kernelReseeded: true });
    expect(thread.check()).toBe(2);
    expect(thread.evidence.kernelReseeded).toBe(true);
    expect([forks, evidence]).toEqual([
      [[2], [2]],
      [1, 1],
    ]);
  });

  it('what was in hand when a fork was noticed that the other had seen before is in doubt', async () => {
    const { main, thread, announcer, fork } = await twoThreads({ uniqueness: 'counter' });
    fork(count(1));
    thread.check();
    // The first look of this thread since then.
    announcer.announce({ kernelReseeded: true });
    expect(main.evidence.kernelReseeded).toBe(false);
  });

  it('two forks of which one thread has slept through the first leave the next line of the log in doubt', async () => {
    for (const [forks, isBelieved] of [
      [1, true],
      [2, false],
    ] as const) {
      const { main, thread, announcer, fork, clock } = await twoThreads();
      for (let n = 1; n <= forks; n++) {
        fork(id(n));
        thread.check();
      }
      expect(main.check()).toBe(1 + forks);
      clock.ms += SAME_FORK_MS;
      announcer.announce({ kernelReseeded: true });
      expect(main.evidence.kernelReseeded).toBe(isBelieved);
    }
  });

  it('evidence about one fork is none about the next, whoever sees that', async () => {
    const { main, thread, announcer, fork } = await twoThreads({ uniqueness: 'counter' });
    fork(count(1));
    main.check();
    announcer.announce({ kernelReseeded: true });
    expect(thread.check()).toBe(2);
    fork(count(2));
    expect(thread.check()).toBe(3);
    expect(thread.evidence).toMatchObject({ kernelReseeded: false, vmGenId: undefined });
    main.check();
    expect(main.evidence.kernelReseeded).toBe(false);
  });

  it('a seed of this epoch is shown to those who listen and erased after; of an older one it is erased', async () => {
    const { main, thread, fork } = await twoThreads({ uniqueness: 'counter' });
    fork(count(1));
    main.check();
    let seen: Uint8Array | undefined;
    thread.onEvidence(() => {
      seen = thread.evidence.seed && Uint8Array.from(thread.evidence.seed);
    });
    const { serial } = thread.evidence;
    const [first, second] = [id(7), id(8)];
    expect(thread.learnSeed(main.epoch, first)).toBe(true);
    expect(seen).toEqual(id(7));
    expect(thread.evidence.serial).toBeGreaterThan(serial);
    expect(thread.evidence.seed).toBeUndefined();
    seen = undefined;
    fork(count(2));
    expect(thread.learnSeed(main.epoch, second)).toBe(false);
    expect(seen).toBeUndefined();
    expect([first, second]).toEqual([id(0), id(0)]);
  });

  it('work where there is no shared memory, as on a page that is not isolated', async () => {
    vi.stubGlobal('SharedArrayBuffer', undefined);
    const { main, thread, fork } = await twoThreads();
    fork(id(1));
    expect([main.check(), thread.check()]).toEqual([2, 2]);
  });
});

describe('a thread that is born while its machine is forked', () => {
  /** vmclock in both threads; all that a clone has is what its siblings have too, its kernel's bytes among it. */
  function startAround(fork: (pages: MemorySource[], main: VmGenId) => void) {
    const pages = [new MemorySource({ uniqueness: 'counter' }), new MemorySource({ uniqueness: 'counter' })];
    const main = new VmGenId([pages[0]], { now: () => 0 });
    fork(pages, main);
    const thread = new VmGenId([pages[1]], { shared: main.shared, now: () => 0 });
    const crng = new Crng({ entropy: new RepeatingEntropy(7), vmgenid: thread, now: () => 0 });
    return { main, thread, crng };
  }

  const forkBoth = (pages: MemorySource[]) => {
    for (const page of pages) page.fork(id(1));
  };

  it('draws nothing that a sibling may draw, though its first look already shows the new generation', () => {
    const { crng, thread } = startAround(forkBoth);
    expect(crng.isFresh()).toBe(false);
    expect(thread.epoch).toBe(2);
  });

  it('nor when the main thread had seen the fork before, until it has a seed of that one', () => {
    const { crng, thread, main } = startAround((pages, vmgenid) => {
      forkBoth(pages);
      vmgenid.check();
    });
    expect(crng.isFresh()).toBe(false);
    thread.learnSeed(main.epoch, id(3));
    expect(crng.isFresh()).toBe(true);
  });

  it('control: on a machine that was not forked it draws at once', () => {
    expect(startAround(() => {}).crng.isFresh()).toBe(true);
  });
});

describe('the state', () => {
  const words = Uint32Array.of(1, 2, 3, 4);

  it('is changed by whoever knows how it stands, and by nobody who does not', () => {
    const a = new MachineState(newState(['page']));
    const b = new MachineState(a.shared);
    expect(a.change(draft => draft.setReading(0, words))).toBe(true);
    expect([a.isCurrent, b.isCurrent]).toEqual([true, false]);
    expect(b.change(draft => draft.raise(0))).toBe(false);
    expect([b.epoch, b.record.reading(0)]).toEqual([1, undefined]);
    b.refresh();
    expect(b.record.reading(0)).toEqual(words);
    expect(b.change(draft => draft.raise(0))).toBe(true);
    a.refresh();
    expect([a.epoch, b.epoch]).toEqual([2, 2]);
  });

  it('has seats for a number of drivers, and for another when one of them is closed', () => {
    const first = new MachineState(newState([]));
    const others: MachineState[] = [];
    const all = () => {
      while (others.length < 1000) others.push(new MachineState(first.shared));
    };
    expect(all).toThrow(expect.objectContaining({ code: 'ERR_SHARED_STATE' }));
    expect(others.length).toBeGreaterThan(16);
    const last = others.at(-1) as MachineState;
    last.change(draft => draft.learn({ kernelReseeded: true }));
    last.close();
    expect(last.change(draft => draft.raise(0))).toBe(false);
    // Its record holds on, whoever has its seat now.
    const next = new MachineState(first.shared);
    expect([next.epoch, next.record.kernelReseeded]).toEqual([1, true]);
    expect(next.change(draft => draft.raise(0))).toBe(true);
    first.refresh();
    expect([first.epoch, first.record.kernelReseeded]).toEqual([2, false]);
    last.close();
    expect(() => new MachineState(first.shared)).toThrow();
  });

  it('can be changed from every seat, again and again, and is the same to all', () => {
    const states = [new MachineState(newState(['page']))];
    while (states.length < 32) states.push(new MachineState(states[0].shared));
    let epoch = 1;
    for (const state of states) {
      for (let i = 0; i < 3; i++) {
        for (const each of states) each.refresh();
        expect(new Set(states.map(each => each.epoch))).toEqual(new Set([epoch++]));
        expect(state.change(draft => draft.raise(0))).toBe(true);
      }
    }
  });

  it('gives the seat of the first to another too, and ends nobody else by being closed twice', () => {
    const first = new MachineState(newState([]));
    first.isVouchedFor = true;
    const other = new MachineState(first.shared);
    const more = Array.from({ length: 30 }, () => new MachineState(first.shared));
    expect(() => new MachineState(first.shared)).toThrow();
    for (const state of [other, other]) state.close();
    expect(more[0].isVouchedFor).toBe(true);
    for (const state of [first, first]) state.close();
    for (const _ of [1, 2]) expect(new MachineState(first.shared).epoch).toBe(1);
    expect(() => new MachineState(first.shared)).toThrow();
  });

  /** A record of which all words say the same, its epoch. */
  function write(state: MachineState): void {
    const isChanged = state.change(draft => {
      draft.raise(0);
      draft.setReading(0, new Uint32Array(4).fill(draft.epoch));
    });
    expect(isChanged).toBe(true);
  }

  it('is never seen half written, wherever its reader is overtaken', () => {
    const { load } = Atomics;
    const writer = new MachineState(newState(['page']));
    const reader = new MachineState(writer.shared);
    let overtaken = 0;
    for (let step = 1; step <= 2 + reader.record.words.length; step++) {
      write(writer);
      let left = step;
      vi.spyOn(Atomics, 'load').mockImplementation((...args: Parameters<typeof load>) => {
        if (--left === 0) {
          overtaken++;
          // Twice: the second time into the slot that is being read.
          for (const _ of [1, 2]) write(writer);
        }
        return load(...args);
      });
      reader.refresh();
      vi.restoreAllMocks();
      expect([reader.epoch, ...(reader.record.reading(0) ?? [])]).toEqual(Array(5).fill(writer.epoch));
    }
    expect(overtaken).toBe(2 + reader.record.words.length);
  });

  it('holds until the next is whole: who looks in the middle of a change sees the one before', () => {
    const { compareExchange } = Atomics;
    const writer = new MachineState(newState(['page']));
    const reader = new MachineState(writer.shared);
    write(writer);
    for (let i = 0; i < 4; i++) {
      const { epoch } = writer;
      vi.spyOn(Atomics, 'compareExchange').mockImplementation(
        (...args: Parameters<typeof compareExchange>) => {
          reader.refresh();
          return compareExchange(...args);
        },
      );
      write(writer);
      vi.restoreAllMocks();
      expect([reader.epoch, ...(reader.record.reading(0) ?? [])]).toEqual(Array(5).fill(epoch));
    }
  });

  it('has a place for each source, and what stands in one is in no other', () => {
    const state = new MachineState(newState(['a', 'b', 'c']));
    const other = new MachineState(state.shared);
    const shown = [0, 1, 2].map(place => words.map(word => 10 * place + word));
    for (const [place, generation] of shown.entries()) {
      const known = () => [0, 1, 2].map(at => other.record.reading(at));
      expect(known()).toEqual(shown.map((each, at) => (at < place ? each : undefined)));
      state.change(draft => draft.setReading(place, generation));
      other.refresh();
    }
    state.change(draft => draft.learn({ vmGenId: id(9) }));
    other.refresh();
    expect(other.record).toMatchObject({ epoch: 1, serial: 1, source: 0, kernelReseeded: false });
    expect(other.record.vmGenId).toEqual(id(9));
    expect([0, 1, 2].map(at => other.record.reading(at))).toEqual(shown);
  });

  it('goes on when the count of its changes has run over', () => {
    const state = new MachineState(newState([]));
    const other = new MachineState(state.shared);
    // The head, in the middle of its range and at its end: where 32 bits change their sign, and where they begin anew.
    for (const head of [0x7fff_ffc0, -64]) {
      state.shared.words[0] = head | (state.shared.words[0] & 63);
      state.refresh();
      for (let i = 0; i < 3; i++) {
        const { epoch } = state;
        expect(state.change(draft => draft.raise(0))).toBe(true);
        other.refresh();
        expect(other.epoch).toBe(epoch + 1);
        expect(other.change(draft => draft.learn({}))).toBe(true);
        state.refresh();
      }
    }
  });

  it('keeps the first ID of an epoch, and takes none of another length for one', () => {
    const state = new MachineState(newState([]));
    state.change(draft => draft.learn({ vmGenId: new Uint8Array(15) }));
    expect([state.record.vmGenId, state.record.parts]).toEqual([undefined, false]);
    for (const vmGenId of [id(1), id(2)]) state.change(draft => draft.learn({ vmGenId }));
    expect(state.record.vmGenId).toEqual(id(1));
    state.change(draft => draft.raise(0));
    expect([state.record.vmGenId, state.record.parts]).toEqual([undefined, false]);
  });
});
