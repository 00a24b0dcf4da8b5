// The driver: what counts as a fork, in which order things happen, when nothing may leave.

import { afterEach, describe, expect, it, vi } from 'vitest';
import { SAME_FORK_MS, VmGenId, type VmGenIdEvent, isUnforkedSince } from '../../vmgenid/driver.js';
import { UNSURE_RESEED_MS } from '../../vmgenid/evidence.js';
import { NO_EPOCH, generationBytes } from '../../vmgenid/generation.js';
import { MachineState } from '../../vmgenid/machine-state.js';
import type { VmFork } from '../../vmgenid/notifier.js';
import type { Announcement, GenerationSource, SourceListener } from '../../vmgenid/source.js';
import { MemorySource } from '../../vmgenid/sources/memory.js';

const id = (n: number) => new Uint8Array(16).fill(n);
/** What a counter shows after so many forks. */
const count = (forks: number) => new Uint8Array(16).fill(forks, 0, 1);

/** A source that announces, like a log or a hook: `waiting` is what its next poll finds. */
class Announcer implements GenerationSource {
  readonly timing = 'delayed';
  readonly uniqueness = 'unique';
  readonly waiting: Announcement[] = [];
  readonly name: string;
  listener!: SourceListener;
  constructor(name: string) {
    this.name = name;
  }
  start(listener: SourceListener): void {
    this.listener = listener;
  }
  poll(): void {
    for (let next = this.waiting.shift(); next; next = this.waiting.shift()) this.listener.announce(next);
  }
  close(): void {}
}

/** A memory source that can be made unreadable. */
class Brittle extends MemorySource {
  broken: string | undefined;
  override read(into: Uint32Array): void {
    if (this.broken) throw new Error(this.broken);
    super.read(into);
  }
}

const open: VmGenId[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  vi.useRealTimers();
  await Promise.all(open.splice(0).map(vm => vm.close()));
});

async function machine(...sources: GenerationSource[]) {
  // Not 0: what is counted from a moment and what is counted from the start of the clock are two things.
  const clock = { ms: 1_000_000 };
  const events: VmGenIdEvent[] = [];
  const forks: VmFork[] = [];
  const vm = new VmGenId(sources, { now: () => clock.ms, onEvent: event => events.push(event) });
  open.push(vm);
  vm.register('application', fork => void forks.push(fork));
  await vm.start();
  return { vm, clock, events, forks, types: () => events.map(({ type }) => type) };
}

describe('the IDs of a machine', () => {
  it('are those that its unique sources show, whichever of them showed the last fork', () => {
    const [page, file] = [1, 2].map(n => new MemorySource({ vmGenId: id(n), name: `memory ${n}` }));
    const counter = new MemorySource({ uniqueness: 'counter' });
    const unreadable = new Brittle({ vmGenId: id(3), name: 'unreadable' });
    unreadable.broken = 'not yet';
    const vm = new VmGenId([page, counter, new Announcer('hook'), file, unreadable]);
    const ids = () => vm.ids.map(([first]) => first);
    expect(ids()).toEqual([1, 2]);
    file.fork(id(7));
    vm.check();
    expect(ids()).toEqual([1, 7]);
    expect(new VmGenId([page, file]).ids).toEqual(vm.ids);
    unreadable.broken = undefined;
    vm.check();
    expect(ids()).toEqual([1, 7, 3]);
    void vm.close();
  });
});

describe('what a machine has shown', () => {
  const told = (vm: VmGenId) => vm.history?.map(bytes => bytes[0]);
  const announcer = (name: string, n?: number) =>
    Object.assign(new Announcer(name), { history: n === undefined ? undefined : Uint8Array.of(n) });
  const counter = (n: number, timing: 'immediate' | 'delayed' = 'immediate') =>
    new MemorySource({ vmGenId: id(n), uniqueness: 'counter', timing, name: `counter ${n}` });

  it('is what its sources show or tell, if all of them do', () => {
    const vms = [
      [],
      [announcer('log', 1)],
      [announcer('log', 1), counter(2, 'delayed')],
      // A hook that was called before this program ran.
      [announcer('log', 1), announcer('hook')],
    ].map(sources => new VmGenId(sources));
    expect(vms.map(told)).toEqual([undefined, [1], [1, 2], undefined]);
    for (const vm of vms) void vm.close();
    expect(vms.map(told)).toEqual([undefined, undefined, undefined, undefined]);
  });

  it('is what the immediate ones show, where one can be read: they show every fork', () => {
    const page = new Brittle({ vmGenId: id(3), uniqueness: 'counter' });
    const vm = new VmGenId([announcer('hook'), counter(4), page]);
    expect(told(vm)).toEqual([4, 3]);
    page.fork(id(5));
    expect(told(vm)).toEqual([4, 3]);
    vm.check();
    expect(told(vm)).toEqual([4, 5]);
    page.broken = 'gone';
    vm.check();
    expect(told(vm)).toEqual([4]);
    const alone = new VmGenId([page]);
    expect(told(alone)).toBeUndefined();
    for (const each of [vm, alone]) void each.close();
  });
});

describe('driver: one source', () => {
  it('the first reading notifies nobody, an equal one is nothing, a changed one raises the epoch by one', async () => {
    const source = new MemorySource({ vmGenId: id(1) });
    const { vm, forks } = await machine(source);
    expect([vm.check(), vm.check(), vm.poll()]).toEqual([1, 1, 1]);
    expect(vm.evidence.vmGenId).toEqual(id(1));
    source.fork(id(1));
    expect(vm.check()).toBe(1);
    expect(forks).toEqual([]);
    source.fork(id(2));
    expect(vm.check()).toBe(2);
    expect(vm.check()).toBe(2);
    expect(forks).toEqual([{ epoch: 2, source: 'memory', vmGenId: id(2) }]);
    expect(vm.evidence.vmGenId).toEqual(id(2));
  });

  it('the epoch is raised before anybody is told, for other threads too', async () => {
    const source = new MemorySource();
    const { vm } = await machine(source);
    const other = new VmGenId([], { shared: vm.shared });
    const seen: number[] = [];
    vm.register('randomness', () => void seen.push(vm.epoch, vm.check(), other.check()));
    source.fork(id(9));
    vm.check();
    expect(seen).toEqual([2, 2, 2]);
  });

  it('a fork found inside a subscriber counts at once and is told when the first has been', async () => {
    const source = new MemorySource();
    const { vm, forks } = await machine(source);
    const order: string[] = [];
    vm.register('randomness', fork => {
      if (fork.epoch === 2) {
        source.fork(id(3));
        expect(vm.check()).toBe(3);
      }
      order.push(`randomness ${fork.epoch}`);
    });
    vm.register('sessions', fork => void order.push(`sessions ${fork.epoch}`));
    source.fork(id(2));
    expect(vm.check()).toBe(3);
    expect(order).toEqual(['randomness 2', 'sessions 2', 'randomness 3', 'sessions 3']);
    expect(forks.map(fork => fork.vmGenId)).toEqual([id(2), id(3)]);
  });

  it('a counter raises the epoch and gives no unique id', async () => {
    const source = new MemorySource({ uniqueness: 'counter' });
    const { vm, forks } = await machine(source);
    source.fork(id(2));
    vm.check();
    expect(forks).toEqual([{ epoch: 2, source: 'memory' }]);
    expect(vm.evidence).toMatchObject({ vmGenId: undefined, kernelReseeded: false });
  });

  it.each(['immediate', 'delayed'] as const)('what an %s counter shows is never an id', async timing => {
    const source = new MemorySource({ uniqueness: 'counter', timing, vmGenId: count(1) });
    const { vm, forks } = await machine(source);
    expect(vm.evidence.vmGenId).toBeUndefined();
    source.fork(count(2));
    source.signal();
    expect(forks).toEqual([{ epoch: 2, source: 'memory' }]);
    expect(vm.evidence.vmGenId).toBeUndefined();
  });

  it('is settled when those who were told of a fork are done, for sources too', async () => {
    const hook = new Announcer('hook');
    const { vm } = await machine(hook);
    let done = 0;
    vm.register('application', async () => {
      await new Promise(setImmediate);
      done++;
    });
    for (const [n, settled] of [() => vm.settled(), () => hook.listener.settled()].entries()) {
      hook.listener.announce({});
      expect(done).toBe(n);
      await settled();
      expect(done).toBe(n + 1);
    }
  });

  it('a throwing listener of events stops neither the chain nor the next fork', async () => {
    const source = new MemorySource();
    const surfaced: unknown[] = [];
    const keep = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', error => surfaced.push(error));
    try {
      const vm = new VmGenId([source], {
        onEvent: () => {
          throw new Error('from a listener');
        },
      });
      open.push(vm);
      const told: number[] = [];
      vm.register('sessions', fork => void told.push(fork.epoch));
      for (const n of [1, 2]) {
        source.fork(id(n));
        vm.check();
      }
      expect(told).toEqual([2, 3]);
      await new Promise(setImmediate);
      expect(surfaced).toHaveLength(2);
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const listener of keep) process.on('uncaughtException', listener);
    }
  });

  it('a subscriber that throws is an event with its name and phase; the others are told', async () => {
    const source = new MemorySource();
    const { vm, forks, events } = await machine(source);
    const error = new Error('not today');
    vm.register(
      'sessions',
      () => {
        throw error;
      },
      { name: 'the one that throws' },
    );
    source.fork(id(2));
    vm.check();
    expect(forks).toHaveLength(1);
    expect(events).toContainEqual({
      type: 'subscriberFailed',
      subscriber: 'the one that throws',
      phase: 'sessions',
      error,
    });
  });

  it('protection is immediate with a page that can be read, delayed with what speaks later, and none without', async () => {
    const page = new Brittle();
    const { vm } = await machine(page, new MemorySource({ name: 'late', timing: 'delayed' }));
    expect(vm.protection).toBe('immediate');
    page.broken = 'gone';
    vm.check();
    expect(vm.protection).toBe('delayed');
  });

  it('without any source there is no protection, and the program runs', async () => {
    const { vm } = await machine();
    expect([vm.protection, vm.check(), vm.poll()]).toEqual(['none', 1, 1]);
  });
});

describe('driver: fail closed', () => {
  it('an unreadable source lets nothing out; back with the same value it is no fork', async () => {
    const source = new Brittle({ vmGenId: id(1) });
    const { vm, forks, types } = await machine(source);
    source.broken = 'gone';
    expect([vm.check(), vm.check(), vm.poll()]).toEqual([NO_EPOCH, NO_EPOCH, NO_EPOCH]);
    const about = { name: 'memory', timing: 'immediate', uniqueness: 'unique' };
    expect(vm.sources).toEqual([{ ...about, readable: false, reason: 'gone' }]);
    expect(vm.protection).toBe('none');
    source.broken = undefined;
    expect(vm.check()).toBe(1);
    expect(vm.sources).toEqual([{ ...about, readable: true }]);
    expect(forks).toEqual([]);
    expect(types()).toEqual(['sourceFailed', 'sourceRecovered']);
  });

  it('back with another value it is a fork, and nobody sees the old epoch vouched for in between', async () => {
    const source = new Brittle({ vmGenId: id(1) });
    const seen: number[] = [];
    const vm = new VmGenId([source], { onEvent: ({ type }) => type !== 'fork' && seen.push(vm.check()) });
    open.push(vm);
    vm.register('randomness', () => void seen.push(vm.check()));
    source.broken = 'gone';
    vm.check();
    source.fork(id(2));
    source.broken = undefined;
    expect(vm.check()).toBe(2);
    expect(seen).toEqual([NO_EPOCH, 2, 2]);
  });

  it('a delayed source that comes back with another value is vouched for when its chain runs', async () => {
    const source = new Brittle({ vmGenId: id(1), timing: 'delayed' });
    const { vm } = await machine(source);
    const seen: number[] = [];
    vm.register('randomness', () => void seen.push(vm.check()));
    source.broken = 'gone';
    expect(vm.poll()).toBe(NO_EPOCH);
    expect(vm.check()).toBe(NO_EPOCH);
    source.fork(id(2));
    source.broken = undefined;
    source.signal();
    expect(seen).toEqual([2]);
  });

  it.each([0, 1])(
    'a source that could not be read at the start counts as forked when it can, whatever it shows (%i)',
    async n => {
      const source = new Brittle({ vmGenId: id(n) });
      source.broken = 'not there yet';
      const { vm, forks } = await machine(source);
      expect(vm.check()).toBe(NO_EPOCH);
      source.broken = undefined;
      expect(vm.check()).toBe(2);
      expect(forks).toHaveLength(1);
      expect(vm.check()).toBe(2);
    },
  );

  it('a delayed source that could not be read at the start counts as forked once', async () => {
    const source = new Brittle({ timing: 'delayed', uniqueness: 'counter' });
    source.broken = 'not there yet';
    const { vm, forks } = await machine(source);
    source.broken = undefined;
    source.signal();
    source.signal();
    expect([vm.poll(), forks.length]).toEqual([2, 1]);
  });

  it('a source that cannot be read shows no fork, and what others show meanwhile is none of its own', async () => {
    const [a, b] = [new Brittle({ name: 'a' }), new MemorySource({ name: 'b' })];
    a.broken = 'not there yet';
    const { vm, forks } = await machine(a, b);
    b.fork(id(1));
    expect(vm.check()).toBe(2);
    a.broken = undefined;
    expect(vm.check()).toBe(3);
    expect(forks.map(({ source }) => source)).toEqual(['b', 'a']);

    const late = new Brittle({ timing: 'delayed', uniqueness: 'counter' });
    const delayed = await machine(late);
    late.broken = 'gone';
    expect([delayed.vm.poll(), delayed.vm.epoch]).toEqual([NO_EPOCH, 1]);
  });

  it('one that calls itself immediate and cannot be read protects and vouches like any that is late', async () => {
    let listener!: SourceListener;
    const caller: GenerationSource = {
      name: 'caller',
      timing: 'immediate',
      uniqueness: 'unique',
      start: given => void (listener = given),
      close: () => {},
    };
    const alone = (await machine(caller)).vm;
    expect([alone.protection, alone.check()]).toEqual(['delayed', 1]);
    const page = new Brittle();
    const { vm, forks } = await machine(page, caller);
    page.fork(id(2));
    vm.check();
    listener.announce({ kernelReseeded: true });
    expect([vm.protection, forks.length]).toEqual(['immediate', 1]);
    page.broken = 'gone';
    expect([vm.check(), vm.protection]).toEqual([NO_EPOCH, 'delayed']);
  });

  it('a failure is told once, another one again, and who never failed does not come back', async () => {
    const log = new Announcer('kmsg');
    const { vm, types } = await machine(log);
    log.listener.recovered();
    expect(types()).toEqual([]);
    for (const words of ['a', 'a', 'b']) log.listener.failed(new Error(words));
    expect([types(), vm.sources[0].reason]).toEqual([['sourceFailed', 'sourceFailed'], 'b']);
  });

  it('a source that comes back as it was is no evidence, nor is a fork of which nothing more is known', async () => {
    const [page, log] = [new Brittle({ uniqueness: 'counter' }), new Announcer('kmsg')];
    const { vm } = await machine(page, log);
    const told = vi.fn<() => void>();
    vm.onEvidence(told);
    page.broken = 'gone';
    vm.check();
    page.broken = undefined;
    expect(vm.check()).toBe(1);
    page.fork(count(1));
    expect(vm.check()).toBe(2);
    expect(told).not.toHaveBeenCalled();
    // Control: the kernel's word is. It is told once, and not again at the next fork.
    log.listener.announce({ kernelReseeded: true });
    expect(told).toHaveBeenCalledOnce();
    page.fork(count(2));
    expect(vm.check()).toBe(3);
    expect(told).toHaveBeenCalledOnce();
  });

  it('a source that has nothing to start works as it is', async () => {
    const { vm, types } = await machine({
      name: 'page',
      timing: 'immediate',
      uniqueness: 'unique',
      read: into => void into.fill(1),
      close: () => {},
    });
    expect([vm.check(), vm.sources[0].readable, types()]).toEqual([1, true, []]);
  });

  it('after close no source is read or asked or heard, and a fork that another thread sees is not told', async () => {
    const asked: string[] = [];
    const page = new MemorySource({ name: 'page', onRead: () => asked.push('page') });
    const file = new MemorySource({ name: 'file', timing: 'delayed', onRead: () => asked.push('file') });
    let fileListener!: SourceListener;
    file.start = listener => void (fileListener = listener);
    const hook = new Announcer('hook');
    hook.poll = () => void asked.push('hook');
    const { vm, forks, events } = await machine(page, file, hook);
    const other = new MachineState(vm.shared);
    await vm.close();
    asked.length = 0;
    const told = vi.fn<() => void>();
    vm.onEvidence(told);
    other.change(draft => draft.raise(0));
    fileListener.changed();
    hook.listener.missed();
    hook.listener.failed(new Error('late'));
    expect(hook.listener.announce({})).toBe(NO_EPOCH);
    const seed = id(7);
    expect(vm.learnSeed(vm.epoch, seed)).toBe(false);
    expect([vm.check(), vm.poll(), seed]).toEqual([NO_EPOCH, NO_EPOCH, id(0)]);
    other.refresh();
    expect([asked, forks, events, other.epoch]).toEqual([[], [], [], 2]);
    expect(told).not.toHaveBeenCalled();
  });

  it('closes every source though one of them cannot, and says so', async () => {
    const [bad, good] = [new Announcer('bad'), new Announcer('good')];
    bad.close = () => {
      throw new Error('stuck');
    };
    good.close = vi.fn<() => void>();
    const vm = new VmGenId([bad, good]);
    await expect(vm.close()).rejects.toThrow('stuck');
    expect(good.close).toHaveBeenCalledOnce();
    await expect(new VmGenId([good]).close()).resolves.toBeUndefined();
  });

  it('one readable immediate source is enough, one broken delayed source without any is too many', async () => {
    const [a, b] = [new Brittle({ name: 'a' }), new Brittle({ name: 'b' })];
    const both = await machine(a, b);
    a.broken = 'gone';
    expect(both.vm.check()).toBe(1);
    b.broken = 'gone too';
    expect(both.vm.check()).toBe(NO_EPOCH);

    const [log, hook] = [new Announcer('log'), new Announcer('hook')];
    const delayed = await machine(log, hook);
    expect([delayed.vm.protection, delayed.vm.check()]).toEqual(['delayed', 1]);
    log.listener.failed(new Error('no log'));
    expect(delayed.vm.check()).toBe(NO_EPOCH);
    log.listener.recovered();
    expect(delayed.vm.check()).toBe(1);
  });

  it('a listener of events that asks in the middle of a reading never gets an epoch that is already over', async () => {
    const [a, b] = [new MemorySource({ name: 'a' }), new Brittle({ name: 'b' })];
    const seen: number[] = [];
    const vm = new VmGenId([a, b], {
      onEvent: ({ type }) => type === 'sourceFailed' && seen.push(vm.check()),
    });
    open.push(vm);
    a.fork(id(2));
    b.broken = 'gone';
    expect(vm.check()).toBe(2);
    expect(seen).toEqual([2]);
  });

  it('a source that throws while the log is looked through does not keep the chain from running', async () => {
    const page = new MemorySource();
    const bad = new Announcer('bad');
    const { vm, forks } = await machine(page, bad);
    bad.poll = () => {
      throw new Error('poll broke');
    };
    page.fork(id(2));
    expect(vm.check()).toBe(2);
    expect(forks).toHaveLength(1);
    expect(vm.sources[1].reason).toBe('poll broke');
  });

  it('what a source throws that is no error is one all the same', async () => {
    const source = new Announcer('x');
    source.start = () => {
      // What somebody else's source may do.
      throw 'just words';
    };
    const { events } = await machine(source);
    expect(events).toMatchObject([
      { type: 'sourceFailed', source: 'x', error: { code: 'ERR_SOURCE_UNREADABLE', message: 'just words' } },
    ]);
  });

  it('a source that cannot start has failed', async () => {
    const source = new Announcer('x');
    source.start = () => {
      throw new Error('cannot');
    };
    const { vm } = await machine(source);
    expect(vm.check()).toBe(NO_EPOCH);
    expect(vm.sources[0].reason).toBe('cannot');
  });

  it('after close nothing may leave, and a late announcement tells nobody and keeps no seed', async () => {
    const hook = new Announcer('hook');
    const page = new MemorySource();
    const { vm, forks } = await machine(page, hook);
    const first = vm.close();
    expect(vm.check()).toBe(NO_EPOCH);
    expect(vm.close()).toBe(first);
    await first;
    page.fork(id(2));
    const seed = id(7);
    expect(hook.listener.announce({ seed })).toBe(NO_EPOCH);
    hook.listener.recovered();
    expect([vm.check(), vm.poll()]).toEqual([NO_EPOCH, NO_EPOCH]);
    expect([...seed, ...forks]).toEqual([...id(0)]);
  });
});

describe('driver: several sources', () => {
  it('the first to show a fork counts; the kernel line after it is evidence, not a second fork', async () => {
    const [page, log] = [new MemorySource(), new Announcer('kmsg')];
    const { vm, forks, types } = await machine(page, log);
    let evidence = 0;
    vm.onEvidence(() => evidence++);
    page.fork(id(2));
    vm.check();
    expect(vm.evidence.kernelReseeded).toBe(false);
    const before = vm.evidence.serial;
    expect(log.listener.announce({ kernelReseeded: true })).toBe(2);
    expect(vm.evidence.kernelReseeded).toBe(true);
    expect(vm.evidence.serial).toBeGreaterThan(before);
    expect([forks.length, evidence]).toEqual([1, 1]);
    expect(types()).toEqual(['fork', 'sameFork']);
    // Control: what it owed is paid. The next line is a fork of its own.
    expect(log.listener.announce({ kernelReseeded: true })).toBe(3);
    expect(vm.evidence).toMatchObject({ kernelReseeded: true, vmGenId: undefined });
  });

  it('without the line there is no evidence of a reseed, however long it takes', async () => {
    const [page, log] = [new MemorySource(), new Announcer('kmsg')];
    const { vm, clock } = await machine(page, log);
    page.fork(id(2));
    vm.check();
    clock.ms += 1e9;
    vm.poll();
    expect(vm.evidence.kernelReseeded).toBe(false);
  });

  it('a line that comes before the page is looked at is one fork, and shows nothing about a reseed yet', async () => {
    const [page, log] = [new MemorySource(), new Announcer('kmsg')];
    const { vm, clock, forks } = await machine(page, log);
    page.fork(id(2));
    // It may have been written before the snapshot.
    log.listener.announce({ kernelReseeded: true });
    expect(forks).toHaveLength(1);
    expect(vm.evidence).toMatchObject({ vmGenId: id(2), kernelReseeded: false });
    const serial = vm.evidence.serial;
    clock.ms += UNSURE_RESEED_MS;
    expect(vm.evidence.kernelReseeded).toBe(true);
    expect(vm.evidence.serial).toBe(serial + 1);
  });

  it('a line found waiting when the fork is noticed does not count for a second, and the true one is no fork', async () => {
    const [page, log] = [new MemorySource(), new Announcer('kmsg')];
    const { vm, clock, forks } = await machine(page, log);
    log.waiting.push({ kernelReseeded: true });
    page.fork(id(2));
    vm.check();
    clock.ms += UNSURE_RESEED_MS - 1;
    expect(vm.evidence.kernelReseeded).toBe(false);
    log.listener.announce({ kernelReseeded: true });
    expect(vm.evidence.kernelReseeded).toBe(true);
    expect(forks).toHaveLength(1);
  });

  it('what a log has lost is no news under an immediate source that can be read, and a fork under none', async () => {
    const [page, log] = [new Brittle({ name: 'page' }), new Announcer('kmsg')];
    const { vm, clock, forks, types } = await machine(page, log);
    log.listener.missed();
    expect([vm.check(), types()]).toEqual([1, []]);
    // The page has not been looked at since: it shows the fork, and what was lost is none of its own.
    page.fork(id(2));
    log.listener.missed();
    expect([vm.epoch, forks.length]).toEqual([2, 1]);
    expect(forks[0].source).toBe('page');
    page.broken = 'gone';
    clock.ms += SAME_FORK_MS + 1;
    log.listener.missed();
    expect([vm.epoch, forks.at(-1)?.source]).toEqual([3, 'kmsg']);
    expect(vm.evidence).toMatchObject({ kernelReseeded: false, vmGenId: undefined });
  });

  it('what was lost within the time of a fork that others have shown is about that fork', async () => {
    const [log, hook] = [new Announcer('kmsg'), new Announcer('hook')];
    const { vm, clock } = await machine(log, hook);
    hook.listener.announce({ vmGenId: id(2) });
    log.listener.missed();
    clock.ms += SAME_FORK_MS;
    log.listener.missed();
    expect(vm.epoch).toBe(2);
    clock.ms += 1;
    log.listener.missed();
    expect(vm.epoch).toBe(3);
  });

  it.each([
    ['what was lost does not count as the word that is owed', true, false],
    ['control: the word itself does', false, true],
  ])('%s: the next may be about the fork before', async (_, isLost, isBelieved) => {
    const count = (n: number) => new Uint8Array(16).fill(n, 0, 1);
    const [page, log] = [new MemorySource({ uniqueness: 'counter' }), new Announcer('kmsg')];
    const { vm } = await machine(page, log);
    page.fork(count(1));
    vm.check();
    if (isLost) log.listener.missed();
    else log.listener.announce({ kernelReseeded: true });
    // Copied again. A kernel that had reseeded for the fork before, and not yet said so, says so now.
    page.fork(count(2));
    vm.check();
    log.listener.announce({ kernelReseeded: true });
    expect(vm.evidence.kernelReseeded).toBe(isBelieved);
  });

  it.each<[string, number[], number[], boolean]>([
    ['moves by one', [0, 0], [1, 0], true],
    ['moves by two', [0, 0], [2, 0], false],
    ['goes back', [2, 0], [1, 0], false],
    ['carries', [0xffff_ffff, 0], [0, 1], true],
    ['carries too much', [0xffff_ffff, 0], [0, 2], false],
    ['does not carry', [0xffff_ffff, 0], [0, 0], false],
    ['carries for nothing', [5, 0], [6, 1], false],
    ['begins anew', [0xffff_ffff, 0xffff_ffff], [0, 0], true],
  ])(
    'a counter that %s: is the next line of the log about this fork?',
    async (_, before, after, isBelieved) => {
      const page = new MemorySource({
        uniqueness: 'counter',
        vmGenId: generationBytes(Uint32Array.from([...before, 0, 0])),
      });
      const log = new Announcer('kmsg');
      const { vm } = await machine(page, log);
      page.fork(generationBytes(Uint32Array.from([...after, 0, 0])));
      expect(vm.check()).toBe(2);
      log.listener.announce({ kernelReseeded: true });
      expect(vm.evidence.kernelReseeded).toBe(isBelieved);
    },
  );

  it('a counter of which nothing was known before has not leapt', async () => {
    const page = new Brittle({ uniqueness: 'counter', vmGenId: count(5) });
    page.broken = 'not yet';
    const log = new Announcer('kmsg');
    const { vm } = await machine(page, log);
    page.broken = undefined;
    expect(vm.check()).toBe(2);
    log.listener.announce({ kernelReseeded: true });
    expect(vm.evidence.kernelReseeded).toBe(true);
  });

  it('a log that owes its word on two forks may speak twice, and no more', async () => {
    const [page, log] = [new MemorySource({ uniqueness: 'counter' }), new Announcer('kmsg')];
    const { vm } = await machine(page, log);
    page.fork(count(2));
    vm.check();
    const word = () => [log.listener.announce({ kernelReseeded: true }), vm.evidence.kernelReseeded];
    expect([word(), word(), word()]).toEqual([
      [2, false],
      [2, true],
      [3, true],
    ]);
  });

  it('what says nothing of a reseed never becomes one, however long it takes', async () => {
    const [page, hook] = [new MemorySource({ uniqueness: 'counter' }), new Announcer('hook')];
    const { vm, clock } = await machine(page, hook);
    page.fork(count(1));
    vm.check();
    for (const news of [{}, { vmGenId: id(3) }, { seed: id(4) }]) hook.listener.announce(news);
    clock.ms += 1e9;
    expect([vm.check(), vm.evidence.kernelReseeded]).toEqual([4, false]);
  });

  it('the first word of a log alone is a fork and evidence of it', async () => {
    const log = new Announcer('kmsg');
    const { vm, types } = await machine(log);
    expect(vm.evidence).toMatchObject({ vmGenId: undefined, kernelReseeded: false });
    expect(log.listener.announce({})).toBe(2);
    expect(vm.evidence.kernelReseeded).toBe(false);
    expect(log.listener.announce({ kernelReseeded: true })).toBe(3);
    expect(vm.evidence.kernelReseeded).toBe(true);
    expect(types()).toEqual(['fork', 'fork']);
  });

  it('a source that speaks is not asked for more before it has finished', async () => {
    const log = new Announcer('kmsg');
    const { vm } = await machine(log);
    log.waiting.push({ kernelReseeded: true });
    expect(log.listener.announce({})).toBe(2);
    expect(vm.evidence.kernelReseeded).toBe(false);
    expect([vm.poll(), vm.evidence.kernelReseeded]).toEqual([3, true]);
  });

  it('what a delayed source shows when a fork is noticed is no evidence of it; at a later poll it is', async () => {
    const page = new MemorySource({ uniqueness: 'counter' });
    const shown = new Uint32Array(4);
    const file: GenerationSource = {
      name: 'file',
      timing: 'delayed',
      uniqueness: 'unique',
      read: into => into.set(shown),
      close: () => {},
    };
    const { vm } = await machine(page, file);
    // Written before the snapshot, and unread until now: siblings have it too.
    shown.fill(0x03030303);
    page.fork(count(1));
    expect([vm.check(), vm.evidence.vmGenId]).toEqual([2, undefined]);
    shown.fill(0x04040404);
    expect([vm.check(), vm.evidence.vmGenId]).toEqual([2, undefined]);
    expect([vm.poll(), vm.evidence.vmGenId]).toEqual([2, id(4)]);
  });

  it('an id that stood in a file when one fork was noticed is none of the next one either', async () => {
    const page = new MemorySource({ uniqueness: 'counter' });
    const file = new MemorySource({ name: 'file', timing: 'delayed' });
    const hook = new Announcer('hook');
    const { vm } = await machine(page, file, hook);
    file.fork(id(3));
    page.fork(count(1));
    file.signal();
    page.fork(count(2));
    expect(vm.check()).toBe(3);
    const seed = id(5);
    hook.listener.announce({ vmGenId: id(3), seed });
    expect([vm.evidence.vmGenId, seed]).toEqual([undefined, id(0)]);
  });

  it('the id of the last fork that a page has shown is known, and what a counter shows is no id', async () => {
    for (const [uniqueness, epoch] of [
      ['unique', 2],
      ['counter', 3],
    ] as const) {
      const [page, hook] = [new MemorySource({ uniqueness }), new Announcer('hook')];
      const { vm, clock } = await machine(page, hook);
      page.fork(count(1));
      vm.check();
      clock.ms += SAME_FORK_MS + 1;
      expect(hook.listener.announce({ vmGenId: count(1) })).toBe(epoch);
    }
  });

  it('a page that did not move at a fork has not leapt, and its id is as old as before', async () => {
    const moving = new MemorySource({ name: 'moving', uniqueness: 'counter' });
    const still = new MemorySource({ name: 'still', uniqueness: 'counter', vmGenId: count(1) });
    const page = new MemorySource({ name: 'page', vmGenId: id(1) });
    const [log, hook] = [new Announcer('kmsg'), new Announcer('hook')];
    const { vm } = await machine(moving, still, page, log, hook);
    moving.fork(count(1));
    expect(vm.check()).toBe(2);
    const seed = id(5);
    const seen: (number | undefined)[] = [];
    vm.onEvidence(() => seen.push(vm.evidence.seed?.[0]));
    hook.listener.announce({ vmGenId: id(1), seed });
    expect([seen, seed, vm.evidence.vmGenId]).toEqual([[undefined], id(0), undefined]);
    log.listener.announce({ kernelReseeded: true });
    expect(vm.evidence.kernelReseeded).toBe(true);
  });

  it('a seed in hand when a fork is noticed is believed if the page has parted the siblings, and else not', async () => {
    for (const [uniqueness, isBelieved] of [
      ['unique', true],
      ['counter', false],
    ] as const) {
      const [page, hook] = [new MemorySource({ uniqueness }), new Announcer('hook')];
      const { vm, forks } = await machine(page, hook);
      const seen: (number | undefined)[] = [];
      vm.onEvidence(() => seen.push(vm.evidence.seed?.[0]));
      page.fork(count(1));
      hook.listener.announce({ vmGenId: id(3), seed: id(9) });
      expect([forks.length, seen]).toEqual([1, [isBelieved ? 9 : undefined]]);
    }
  });

  it('an id of this fork is the same from every caller, however late, and a seed beside it is new', async () => {
    const [a, b] = [new Announcer('a'), new Announcer('b')];
    const { vm, clock, forks } = await machine(a, b);
    const seen: (number | undefined)[] = [];
    vm.onEvidence(() => seen.push(vm.evidence.seed?.[0]));
    a.listener.announce({ vmGenId: id(2) });
    clock.ms += SAME_FORK_MS + 1;
    expect(b.listener.announce({ vmGenId: id(2), seed: id(9) })).toBe(2);
    expect([forks.length, seen]).toEqual([1, [9]]);
  });

  it('an id is as old as the first who has told it', async () => {
    const [page, hook] = [new MemorySource(), new Announcer('hook')];
    const { vm } = await machine(page, hook);
    hook.listener.announce({ vmGenId: id(2) });
    page.fork(id(2));
    expect(vm.check()).toBe(3);
    const seed = id(5);
    const seen: (number | undefined)[] = [];
    vm.onEvidence(() => seen.push(vm.evidence.seed?.[0]));
    hook.listener.announce({ vmGenId: id(2), seed });
    expect([seen, seed]).toEqual([[undefined], id(0)]);
  });

  it.each([
    ['is told as evidence, once, when its time is over', UNSURE_RESEED_MS, 1],
    ['is not told while it lasts, whatever a timer says', UNSURE_RESEED_MS - 1, 0],
  ])('doubt about a reseed %s', async (_, passed, told) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const [page, log] = [new MemorySource(), new Announcer('kmsg')];
    const { vm, clock } = await machine(page, log);
    const evidence = vi.fn<() => void>();
    log.waiting.push({ kernelReseeded: true });
    page.fork(id(2));
    vm.check();
    vm.onEvidence(evidence);
    clock.ms += passed;
    vi.advanceTimersByTime(2 * UNSURE_RESEED_MS);
    expect(evidence).toHaveBeenCalledTimes(told);
    expect(vm.evidence.kernelReseeded).toBe(told > 0);
  });

  it('doubt is kept where timers are numbers, as in a browser', async () => {
    const [page, log] = [new MemorySource(), new Announcer('kmsg')];
    const { vm, clock, types } = await machine(page, log);
    vi.stubGlobal('setTimeout', () => 1);
    log.waiting.push({ kernelReseeded: true });
    page.fork(id(2));
    vm.check();
    clock.ms += UNSURE_RESEED_MS;
    expect(vm.evidence.kernelReseeded).toBe(true);
    expect(types()).not.toContain('sourceFailed');
  });

  it('doubt about a reseed passes by the clock of the program, if none is given', async () => {
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
    const [page, log] = [new MemorySource(), new Announcer('kmsg')];
    const vm = new VmGenId([page, log]);
    open.push(vm);
    await vm.start();
    log.waiting.push({ kernelReseeded: true });
    page.fork(id(2));
    vm.check();
    const told = vi.fn<() => void>();
    vm.onEvidence(told);
    vi.advanceTimersByTime(UNSURE_RESEED_MS - 1);
    expect([vm.evidence.kernelReseeded, told.mock.calls.length]).toEqual([false, 0]);
    vi.advanceTimersByTime(2);
    expect([vm.evidence.kernelReseeded, told.mock.calls.length]).toEqual([true, 1]);
  });

  /** A file and its like: its first look after `fork` fails or shows nothing, its second shows what is there. */
  class Slow extends MemorySource {
    missed = false;
    override read(into: Uint32Array): void {
      if (this.missed) {
        this.missed = false;
        throw new Error('being written');
      }
      super.read(into);
    }
  }

  it.each([
    ['could not be read when the fork was noticed', (file: Slow) => void (file.missed = true)],
    [
      'looks for itself when it is asked',
      (file: Slow) => {
        (file as GenerationSource).poll = () => file.signal();
      },
    ],
  ])('an id that stood in a source which %s is no evidence: siblings have it too', async (_, arrange) => {
    const page = new MemorySource({ uniqueness: 'counter' });
    const file = new Slow({ name: 'file', timing: 'delayed' });
    const { vm, forks } = await machine(page, file);
    // Written before the snapshot; its watcher wakes the program, which only then sees that the page has moved.
    file.fork(id(3));
    page.fork(id(2));
    arrange(file);
    file.signal();
    expect(forks).toHaveLength(1);
    expect(vm.evidence.vmGenId).toBeUndefined();
    // Control: one written after the fork is.
    file.fork(id(4));
    file.signal();
    expect(forks).toHaveLength(1);
    expect(vm.evidence.vmGenId).toEqual(id(4));
  });

  it('a call without a GUID does not make one that was told before it a new one', async () => {
    const hook = new Announcer('hook');
    const { vm } = await machine(hook);
    const call = (vmGenId?: Uint8Array) => hook.listener.announce(vmGenId ? { vmGenId } : {});
    expect([call(id(2)), call(), call(id(2)), call(id(2))]).toEqual([2, 3, 3, 3]);
    expect(vm.evidence.vmGenId).toBeUndefined();
  });

  it('one counter that has leapt makes the next line of the log doubtful, whatever the other pages show', async () => {
    for (const [forks, reseeded] of [
      [1, true],
      [2, false],
    ] as const) {
      const pages = [new MemorySource(), new MemorySource({ name: 'vmclock', uniqueness: 'counter' })];
      const log = new Announcer('kmsg');
      const { vm, clock } = await machine(...pages, log);
      pages[0].fork(id(9));
      pages[1].fork(count(forks));
      vm.check();
      log.listener.announce({ kernelReseeded: true });
      expect(vm.evidence.kernelReseeded).toBe(reseeded);
      clock.ms += UNSURE_RESEED_MS;
      expect(vm.evidence.kernelReseeded).toBe(true);
    }
  });

  it('two calls about one GUID are one fork; about another, or about none, they are two', async () => {
    const hook = new Announcer('hook');
    const { vm, forks } = await machine(hook);
    const call = (vmGenId?: Uint8Array) => hook.listener.announce(vmGenId ? { vmGenId } : {});
    expect([call(id(2)), call(id(2)), call(id(3)), call(), call()]).toEqual([2, 2, 3, 4, 5]);
    expect(forks.map(fork => fork.vmGenId)).toEqual([id(2), id(3), undefined, undefined]);
    expect(vm.evidence.vmGenId).toBeUndefined();
  });

  it('a repeated call stays one fork when the page has another id than the agent', async () => {
    const [page, hook] = [new MemorySource(), new Announcer('hook')];
    const { vm, forks } = await machine(page, hook);
    page.fork(id(2));
    vm.check();
    for (const _ of [1, 2, 3]) hook.listener.announce({ vmGenId: id(0x77) });
    expect(forks).toHaveLength(1);
    expect(vm.evidence.vmGenId).toEqual(id(2));
  });

  it('an id that was known before the fork is no evidence of freshness', async () => {
    const [log, hook] = [new Announcer('kmsg'), new Announcer('hook')];
    const { vm, clock, forks } = await machine(log, hook);
    hook.listener.announce({ vmGenId: id(2) });
    clock.ms += SAME_FORK_MS + 1;
    log.listener.announce({ kernelReseeded: true });
    expect(forks).toHaveLength(2);
    // The agent repeats what the snapshot already knew: id and seed are in every clone.
    const seed = id(5);
    hook.listener.announce({ vmGenId: id(2), seed });
    expect(vm.evidence.vmGenId).toBeUndefined();
    expect(seed).toEqual(id(0));
    clock.ms += SAME_FORK_MS + 1;
    expect(hook.listener.announce({ vmGenId: id(2) })).toBe(3);
    expect(vm.evidence.vmGenId).toBeUndefined();
    // Control: an id not heard before is.
    hook.listener.announce({ vmGenId: id(3) });
    expect(vm.evidence.vmGenId).toEqual(id(3));
  });

  it('the id that the page has shown since the start, told by an agent, is no fork', async () => {
    const [page, hook] = [new MemorySource({ vmGenId: id(1) }), new Announcer('hook')];
    const { forks } = await machine(page, hook);
    hook.listener.announce({ vmGenId: id(1) });
    expect(forks).toEqual([]);
    hook.listener.announce({ vmGenId: id(4) });
    expect(forks).toHaveLength(1);
  });

  it('what a delayed source shows later than it may counts as a fork of its own', async () => {
    for (const [wait, expected] of [
      [SAME_FORK_MS, 1],
      [SAME_FORK_MS + 1, 2],
    ]) {
      const [page, log] = [new MemorySource(), new Announcer('kmsg')];
      const { vm, clock, forks } = await machine(page, log);
      page.fork(id(2));
      vm.check();
      clock.ms += wait;
      log.listener.announce({ kernelReseeded: true });
      expect(forks).toHaveLength(expected);
    }
  });

  it('one fork that shows in two pages at once is one, and the unique id is told though the counter came first', async () => {
    const counter = new MemorySource({ name: 'counter', uniqueness: 'counter' });
    const page = new MemorySource({ name: 'page' });
    const { vm, forks } = await machine(counter, page);
    counter.fork(id(2));
    page.fork(id(3));
    vm.check();
    expect(forks).toEqual([{ epoch: 2, source: 'counter', vmGenId: id(3) }]);
  });

  it('a second fork that shows while the log is looked through is told second', async () => {
    const [page, log] = [new MemorySource(), new Announcer('kmsg')];
    const { vm, forks } = await machine(page, log);
    log.poll = () => {
      if (vm.epoch > 2) return;
      page.fork(id(3));
      log.listener.announce({ kernelReseeded: true });
    };
    page.fork(id(2));
    expect(vm.check()).toBe(3);
    expect(forks.map(fork => [fork.epoch, fork.vmGenId])).toEqual([
      [2, id(2)],
      [3, id(3)],
    ]);
  });

  it('a source may ask how things stand: which epoch, begun by a fork or a drill, and whether anything parts this clone from its siblings', async () => {
    for (const news of [{ vmGenId: id(3) }, { seed: id(4) }, { kernelReseeded: true }]) {
      const [page, hook] = [new MemorySource({ uniqueness: 'counter' }), new Announcer('hook')];
      const { vm } = await machine(page, hook);
      const stands = () => hook.listener.look();
      expect(stands()).toEqual({ epoch: 1, forkEpoch: 1, parted: true });
      page.fork(count(1));
      expect(stands()).toEqual({ epoch: 2, forkEpoch: 2, parted: false });
      hook.listener.announce(news);
      expect(stands()).toEqual({ epoch: 2, forkEpoch: 2, parted: true });
      page.fork(count(2));
      expect(stands()).toEqual({ epoch: 3, forkEpoch: 3, parted: false });
      vm.drill();
      expect(stands()).toEqual({ epoch: 4, forkEpoch: 3, parted: false });
      await vm.close();
      expect(stands()).toEqual({ epoch: NO_EPOCH, forkEpoch: NO_EPOCH, parted: false });
    }
  });

  it('each piece of evidence, and each fork, has a higher serial than what was before', async () => {
    const [page, hook] = [new MemorySource({ uniqueness: 'counter' }), new Announcer('hook')];
    const { vm } = await machine(page, hook);
    const serials = [vm.evidence.serial];
    const note = () => void serials.push(vm.evidence.serial);
    page.fork(id(2));
    vm.check();
    note();
    for (const news of [{ vmGenId: id(3) }, { seed: id(4) }, { kernelReseeded: true }]) {
      hook.listener.announce(news);
      note();
    }
    expect(serials).toEqual(serials.toSorted((a, b) => a - b));
    expect(new Set(serials).size).toBe(5);
  });

  it('a seed can be read during the notification alone, even where a log line is found beside it', async () => {
    const [hook, log] = [new Announcer('hook'), new Announcer('kmsg')];
    const { vm } = await machine(hook, log);
    const seen: (number[] | undefined)[] = [];
    vm.register('randomness', () => void seen.push(vm.evidence.seed && [...vm.evidence.seed]));
    vm.register('application', () => void seen.push(vm.evidence.seed && [...vm.evidence.seed]));
    log.waiting.push({ kernelReseeded: true });
    const seed = id(5);
    hook.listener.announce({ vmGenId: id(2), seed });
    expect(seen).toEqual([[...id(5)], [...id(5)]]);
    expect(vm.evidence.seed).toBeUndefined();
    expect(seed).toEqual(id(0));
  });

  it('a seed that comes after the notification is shown to those who wait for evidence, then wiped', async () => {
    const [page, hook] = [new MemorySource({ uniqueness: 'counter' }), new Announcer('hook')];
    const { vm, events } = await machine(page, hook);
    const seen: unknown[] = [];
    vm.onEvidence(function broken() {
      throw new Error('x');
    });
    vm.onEvidence(
      (() => () => {
        throw new Error('y');
      })(),
    );
    const stop = vm.onEvidence(() => seen.push(vm.evidence.seed?.slice()));
    page.fork(id(2));
    vm.check();
    const seed = id(6);
    hook.listener.announce({ seed });
    expect(seen).toEqual([id(6)]);
    expect(seed).toEqual(id(0));
    expect(events.filter(({ type }) => type === 'subscriberFailed')).toMatchObject([
      { subscriber: 'broken', phase: 'randomness' },
      { subscriber: 'onEvidence' },
    ]);
    stop();
    hook.listener.announce({ kernelReseeded: true });
    expect(seen).toHaveLength(1);
  });
});

describe('a driver that shares the state of another', () => {
  it('answers what has changed since as a fork, and what has not as nothing', async () => {
    const page = new MemorySource({ vmGenId: id(1) });
    const { shared } = (await machine(page)).vm;
    expect(new VmGenId([page], { shared }).epoch).toBe(1);
    page.fork(id(2));
    const later = new VmGenId([page], { shared });
    expect(later.epoch).toBe(2);
    expect(later.evidence.vmGenId).toEqual(id(2));
    expect(later.check()).toBe(2);
  });

  it('control: one with a state of its own begins with its first reading', () => {
    const page = new MemorySource({ vmGenId: id(1) });
    page.fork(id(2));
    expect(new VmGenId([page]).epoch).toBe(1);
  });

  it('counts as a fork what a source shows that the other could never read, once for both', async () => {
    const brittle = new Brittle({ vmGenId: id(1) });
    brittle.broken = 'gone';
    const { vm, forks } = await machine(brittle);
    brittle.broken = undefined;
    expect(new VmGenId([brittle], { shared: vm.shared }).epoch).toBe(2);
    expect([vm.check(), vm.check()]).toEqual([2, 2]);
    expect(forks).toHaveLength(1);
  });

  it('vouches for itself alone: one that looks at nothing goes by the first', async () => {
    const page = new MemorySource();
    const { shared } = (await machine(page)).vm;
    const second = new VmGenId([page], { shared });
    const leaning = new VmGenId([], { shared });
    await second.close();
    expect([second.check(), leaning.check()]).toEqual([NO_EPOCH, 1]);
  });

  it('believes an id of a fork that others have counted, and not of one of several: it may be the first', async () => {
    for (const [forks, isBelieved] of [
      [1, true],
      [2, false],
    ] as const) {
      const [page, hook] = [new MemorySource(), new Announcer('hook')];
      const { vm } = await machine(page, hook);
      const other = new VmGenId([page], { shared: vm.shared });
      for (let n = 1; n <= forks; n++) {
        page.fork(id(n));
        other.check();
      }
      expect(vm.check()).toBe(1 + forks);
      const seen: (number | undefined)[] = [];
      vm.onEvidence(() => seen.push(vm.evidence.seed?.[0]));
      hook.listener.announce({ vmGenId: id(forks), seed: id(9) });
      expect(seen).toEqual([isBelieved ? 9 : undefined]);
    }
  });

  /** Between what this thread has seen and what it makes of it, others act, once. */
  function overtake(act: () => void): void {
    const { compareExchange } = Atomics;
    vi.spyOn(Atomics, 'compareExchange').mockImplementationOnce(
      (...args: Parameters<typeof compareExchange>) => {
        act();
        return compareExchange(...args);
      },
    );
  }

  it('when overtaken by a fork takes the word in hand for one about it, or about one before', async () => {
    for (const isOvertaken of [false, true]) {
      const [page, log] = [new MemorySource({ uniqueness: 'counter' }), new Announcer('kmsg')];
      const { vm, forks } = await machine(page, log);
      const other = new VmGenId([page], { shared: vm.shared });
      if (isOvertaken) {
        overtake(() => {
          page.fork(count(1));
          other.check();
        });
      }
      // Control: not overtaken it is a fork, and believed.
      expect(log.listener.announce({ kernelReseeded: true })).toBe(2);
      expect(forks.map(({ source }) => source)).toEqual([isOvertaken ? 'memory' : 'kmsg']);
      expect([other.check(), vm.evidence.kernelReseeded]).toEqual([2, !isOvertaken]);
    }
  });

  it('when overtaken by evidence keeps its doubt about the word in hand', async () => {
    const [page, log] = [new MemorySource({ uniqueness: 'counter' }), new Announcer('kmsg')];
    const { vm } = await machine(page, log);
    const other = new MachineState(vm.shared);
    page.fork(count(1));
    vm.register('application', () => {
      other.refresh();
      overtake(() => expect(other.change(draft => draft.learn({}))).toBe(true));
    });
    expect(log.listener.announce({ kernelReseeded: true })).toBe(2);
    expect([vm.check(), other.isCurrent, vm.evidence.kernelReseeded]).toEqual([2, false, false]);
  });

  it('when overtaken by a fork has lost no word but one about that', async () => {
    for (const [isOvertaken, source] of [
      [false, 'kmsg'],
      [true, 'hook'],
    ] as const) {
      const log = new Announcer('kmsg');
      const { vm, forks } = await machine(log, new Announcer('hook'));
      const other = new MachineState(vm.shared);
      if (isOvertaken) overtake(() => expect(other.change(draft => draft.raise(1))).toBe(true));
      log.listener.missed();
      expect(forks).toEqual([{ epoch: 2, source }]);
    }
  });

  it.each<[string, (vm: VmGenId, page: MemorySource) => unknown]>([
    ['signals', (_, page) => page.signal()],
    ['is polled', vm => vm.poll()],
  ])('a page that %s is counted as at any check, once for all threads', async (_, act) => {
    let reads = 0;
    const page: MemorySource = new MemorySource({ onRead: () => ++reads === 4 && page.fork(id(2)) });
    const { vm } = await machine(page);
    const other = new VmGenId([page], { shared: vm.shared });
    act(vm, page);
    expect([vm.check(), other.check(), vm.check()]).toEqual([2, 2, 2]);
  });

  it('has no source that the other does not have', async () => {
    const { shared } = (await machine(new MemorySource({ name: 'one' }))).vm;
    expect(() => new VmGenId([new MemorySource({ name: 'other' })], { shared })).toThrow(
      expect.objectContaining({ code: 'ERR_SHARED_STATE' }),
    );
  });
});

describe('memory source', () => {
  it('a delayed one shows the new value, and tells the driver, when the signal comes', async () => {
    const source = new MemorySource({ timing: 'delayed' });
    const { vm, forks } = await machine(source);
    source.fork(id(2));
    expect([vm.check(), vm.poll()]).toEqual([1, 1]);
    source.signal();
    expect(vm.epoch).toBe(2);
    expect(forks).toHaveLength(1);
  });

  it('an immediate one shows it at the next read, and the outside world may act at each', async () => {
    let reads = 0;
    const source: MemorySource = new MemorySource({ onRead: () => ++reads === 3 && source.fork(id(2)) });
    const { vm } = await machine(source);
    expect([vm.check(), vm.check()]).toEqual([1, 2]);
  });
});

describe('driver: a drill', () => {
  const drill = (epoch: number) => ({ epoch, source: 'drill', isDrill: true });

  it('raises the epoch as a fork does, and runs the whole chain, also where no source is', async () => {
    for (const sources of [[], [new MemorySource()], [new Announcer('hook')]]) {
      const { vm, types } = await machine(...sources);
      const order: string[] = [];
      for (const phase of ['application', 'sessions', 'randomness'] as const)
        vm.register(phase, ({ epoch }) => void order.push(`${phase} ${epoch}: ${vm.check()}`));
      expect(vm.drill()).toBe(2);
      expect(order).toEqual(['randomness 2: 2', 'sessions 2: 2', 'application 2: 2']);
      expect([vm.epoch, vm.forkEpoch, vm.check(), types()]).toEqual([2, 1, 2, ['fork']]);
      expect(vm.drill()).toBe(3);
    }
  });

  it('is told as what it is, and leaves what is known about the last fork', async () => {
    const source = new MemorySource();
    const { vm, forks } = await machine(source);
    source.fork(id(2));
    vm.drill();
    expect(forks).toEqual([{ epoch: 2, source: 'memory', vmGenId: id(2) }, drill(3)]);
    expect([vm.forkEpoch, vm.evidence.vmGenId]).toEqual([2, id(2)]);
    source.fork(id(3));
    expect([vm.check(), vm.forkEpoch, vm.evidence.vmGenId]).toEqual([4, 4, id(3)]);
  });

  it('of a source that speaks right after it nothing is taken for the drill: it tells of a fork', async () => {
    const hook = new Announcer('hook');
    const { vm, clock, forks } = await machine(new MemorySource(), hook);
    vm.drill();
    clock.ms += 1;
    hook.listener.announce({ vmGenId: id(9) });
    expect(forks).toEqual([drill(2), { epoch: 3, source: 'hook', vmGenId: id(9) }]);
    expect(vm.evidence.vmGenId).toEqual(id(9));
  });

  it('what a source says later of the fork before it is about that one, and no fork', async () => {
    const page = new MemorySource();
    const hook = new Announcer('hook');
    const { vm, clock, types } = await machine(page, hook);
    page.fork(id(2));
    vm.check();
    vm.drill();
    clock.ms += SAME_FORK_MS + 1;
    hook.listener.announce({ vmGenId: id(2), kernelReseeded: true });
    expect([vm.epoch, vm.evidence.kernelReseeded]).toEqual([3, true]);
    expect(types()).toEqual(['fork', 'fork', 'sameFork']);
  });

  it('a doubt about the last fork passes in its time, whatever was drilled meanwhile', async () => {
    const page = new MemorySource({ uniqueness: 'counter' });
    const log = new Announcer('kmsg');
    const { vm, clock } = await machine(page, log);
    log.waiting.push({ kernelReseeded: true });
    page.fork(count(1));
    vm.check();
    vm.drill();
    expect(vm.evidence.kernelReseeded).toBe(false);
    clock.ms += UNSURE_RESEED_MS;
    expect(vm.evidence.kernelReseeded).toBe(true);
  });

  it('a fork that is found in it, or that was there before it, is told as a fork', async () => {
    const source = new MemorySource();
    const { vm, forks } = await machine(source);
    source.fork(id(2));
    vm.register('randomness', ({ isDrill }) => {
      if (!isDrill) return;
      source.fork(id(3));
      vm.check();
    });
    expect(vm.drill()).toBe(3);
    expect(forks.map(({ epoch, isDrill = false }) => [epoch, isDrill])).toEqual([
      [2, false],
      [3, true],
      [4, false],
    ]);
    expect(vm.forkEpoch).toBe(4);
  });

  it('other threads hear of it as a drill, and of a fork beside it as a fork', async () => {
    const page = new MemorySource();
    const { vm } = await machine(page);
    const other = new VmGenId([page], { shared: vm.shared });
    const heard: VmFork[] = [];
    other.register('sessions', fork => void heard.push(fork));
    vm.drill();
    expect([other.check(), heard]).toEqual([2, [drill(2)]]);
    page.fork(id(2));
    vm.drill();
    expect([other.check(), other.forkEpoch]).toEqual([4, 3]);
    expect(heard.slice(1)).toEqual([{ epoch: 4, source: 'memory', vmGenId: id(2) }]);
    // Whoever drills when another thread has counted a fork drills after it.
    page.fork(id(3));
    other.check();
    expect([vm.drill(), vm.forkEpoch]).toEqual([6, 5]);
  });

  it('of two at a time each has its epoch', async () => {
    const { vm, forks } = await machine(new MemorySource());
    const other = new VmGenId([], { shared: vm.shared });
    expect([vm.drill(), other.drill(), vm.check()]).toEqual([2, 3, 3]);
    expect(forks).toEqual([drill(2), drill(3)]);
  });

  it('is nothing in a driver that is closed', async () => {
    const { vm, forks } = await machine(new MemorySource());
    await vm.close();
    expect([vm.drill(), forks]).toEqual([NO_EPOCH, []]);
  });

  it('a machine is unforked since an epoch after which there were drills alone, while somebody vouches for it', async () => {
    const source = new Brittle();
    const { vm } = await machine(source);
    vm.drill();
    expect([1, 2, NO_EPOCH].map(epoch => isUnforkedSince(vm, epoch))).toEqual([true, true, false]);
    source.broken = 'away';
    expect(isUnforkedSince(vm, 1)).toBe(false);
    source.broken = undefined;
    source.fork(id(2));
    expect([1, 2, 3, 4].map(epoch => isUnforkedSince(vm, epoch))).toEqual([false, false, true, false]);
  });
});
