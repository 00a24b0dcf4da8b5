import { describe, expect, it } from 'vitest';
import { Crng } from '../../../crng/index.js';
import { ThreadGuard } from '../../../tunnel/daemon/thread-guard.js';
import { MemorySource, NO_EPOCH, VmGenId } from '../../../vmgenid/index.js';
import { Announcer, RepeatingEntropy } from '../../crng/machine.js';

const id = (byte: number) => new Uint8Array(16).fill(byte);

function twoThreads(own: MemorySource[] = []) {
  let now = 0;
  const page = new MemorySource();
  const main = new VmGenId([page], { now: () => now });
  const locals: number[] = [];
  const guard = new ThreadGuard({
    sharedEpoch: main.sharedEpoch,
    readings: main.readings,
    sources: own,
    protection: main.protection,
    now: () => now,
    onLocalFork: () => locals.push(guard.epoch),
  });
  const forks: number[] = [];
  guard.register('sessions', ({ epoch }) => void forks.push(epoch));
  return { page, main, guard, forks, locals, pass: (ms: number) => (now += ms) };
}

/** A main thread that also hears of forks by a delayed source. */
async function withAnnouncer(own: MemorySource) {
  const announcer = new Announcer();
  const main = new VmGenId([new MemorySource(), announcer], { now: () => 0 });
  await main.start();
  const { sharedEpoch, protection, readings } = main;
  const options = { sharedEpoch, protection, readings, sources: [own], now: () => 0, onLocalFork: () => {} };
  return { main, announcer, guard: new ThreadGuard(options) };
}

describe('a device thread', () => {
  it('learns of a fork that the main thread saw at its next check, once', () => {
    const { page, main, guard, forks, locals } = twoThreads();
    expect(guard.check()).toBe(1);
    page.fork(id(1));
    expect(guard.check()).toBe(1);
    main.check();
    expect(guard.check()).toBe(2);
    expect(guard.check()).toBe(2);
    expect(forks).toEqual([2]);
    expect(locals).toEqual([]);
  });

  it('sees a fork by its own source before the main thread does, and takes that one’s word for the same fork', () => {
    const own = new MemorySource({ uniqueness: 'counter' });
    const { page, main, guard, forks, locals } = twoThreads([own]);
    own.fork(id(1));
    page.fork(id(1));
    expect(guard.check()).toBe(2);
    expect(locals).toEqual([2]);
    main.check();
    expect(guard.check()).toBe(2);
    expect(forks).toEqual([2]);
  });

  it('is immediate by a source of its own alone: the main thread’s word comes later', () => {
    const own = new MemorySource();
    const { guard, main } = twoThreads([own]);
    expect([main.protection, guard.protection]).toEqual(['immediate', 'immediate']);
    const { guard: blind, page } = twoThreads();
    expect(blind.protection).toBe('delayed');
    // The harm: the page has changed, and this thread does not see it at its check.
    page.fork(id(1));
    expect(blind.check()).toBe(1);
  });

  it('lets nothing out while the main thread cannot vouch, and goes on when it can', async () => {
    const { main, guard } = twoThreads();
    await main.close();
    expect(guard.check()).toBe(NO_EPOCH);
  });

  it('takes evidence about this fork, and none that was about an older one', () => {
    const own = new MemorySource({ uniqueness: 'counter' });
    const { page, main, guard, pass } = twoThreads([own]);
    let told = 0;
    guard.onEvidence(() => told++);
    page.fork(id(1));
    main.check();
    guard.check();
    // The thread's own source shows a second fork before the main thread's word on the first arrives.
    pass(10_000);
    own.fork(id(2));
    expect(guard.check()).toBe(3);
    const seed = id(9);
    guard.learn({ epoch: main.epoch, readings: main.readings, vmGenId: id(1), seed, kernelReseeded: true });
    expect(guard.evidence).toMatchObject({ kernelReseeded: false, vmGenId: undefined });
    expect(seed).toEqual(id(0));
    expect(told).toBe(0);
    page.fork(id(2));
    main.check();
    guard.learn({ epoch: main.epoch, readings: main.readings, vmGenId: id(2), kernelReseeded: true });
    expect(guard.check()).toBe(3);
    expect(guard.evidence).toMatchObject({ kernelReseeded: true, vmGenId: id(2) });
    expect(told).toBe(1);
  });

  it('takes the main thread’s word where that one saw the fork first, and both see it by a counter', () => {
    const own = new MemorySource({ uniqueness: 'counter' });
    const { page, main, guard } = twoThreads([own]);
    page.fork(id(1));
    main.check();
    own.fork(id(1));
    guard.learn({ epoch: main.epoch, readings: main.readings, kernelReseeded: true });
    expect(guard.evidence.kernelReseeded).toBe(true);
  });

  it('takes none that was under way when a delayed source of the main thread told of the next fork', async () => {
    const own = new MemorySource();
    const { main, guard, announcer } = await withAnnouncer(own);
    const { epoch, readings } = main;
    announcer.announce({});
    expect(guard.check()).toBe(2);
    guard.learn({ epoch, readings, kernelReseeded: true });
    expect(guard.evidence.kernelReseeded).toBe(false);
  });

  it('gives a seed to those who listen, and to nobody after', () => {
    const { page, main, guard } = twoThreads();
    page.fork(id(1));
    main.check();
    guard.check();
    let seen: Uint8Array | undefined;
    guard.onEvidence(() => {
      seen = guard.evidence.seed && Uint8Array.from(guard.evidence.seed);
    });
    guard.learn({ epoch: main.epoch, readings: main.readings, seed: id(7), kernelReseeded: false });
    expect(seen).toEqual(id(7));
    expect(guard.evidence.seed).toBeUndefined();
  });
});

describe('a thread that is born while its machine is forked', () => {
  /** vmclock in both threads; all that a clone has is what its siblings have too, its kernel's bytes among it. */
  function startAround(fork: (page: MemorySource, own: MemorySource, main: VmGenId) => void) {
    const page = new MemorySource({ uniqueness: 'counter' });
    const own = new MemorySource({ uniqueness: 'counter' });
    const main = new VmGenId([page], { now: () => 0 });
    const { readings } = main;
    fork(page, own, main);
    const guard = new ThreadGuard({
      sharedEpoch: main.sharedEpoch,
      readings,
      sources: [own],
      protection: main.protection,
      now: () => 0,
      onLocalFork: () => {},
    });
    const crng = new Crng({ entropy: new RepeatingEntropy(7), vmgenid: guard, now: () => 0 });
    return { main, guard, crng };
  }

  const forkBoth = (page: MemorySource, own: MemorySource) => {
    for (const source of [page, own]) source.fork(id(1));
  };

  it('draws nothing that a sibling may draw, though its first look already shows the new generation', () => {
    const { crng, guard } = startAround(forkBoth);
    expect(crng.isFresh()).toBe(false);
    expect(guard.epoch).toBe(2);
  });

  it('nor when the main thread had seen the fork before', () => {
    const { crng, guard, main } = startAround((page, own, main) => {
      forkBoth(page, own);
      main.check();
    });
    expect(crng.isFresh()).toBe(false);
    guard.learn({ epoch: main.epoch, readings: main.readings, seed: id(3), kernelReseeded: false });
    expect(crng.isFresh()).toBe(true);
  });

  it('control: on a machine that was not forked it draws at once', () => {
    expect(startAround(() => {}).crng.isFresh()).toBe(true);
  });
});
