import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Crng, type CrngEvent, type HardwareEntropy } from 'wireonce/crng';
import { FileSource, MemorySource, NO_EPOCH, UNSURE_RESEED_MS, VmGenId } from 'wireonce/vmgenid';
import { FRESHNESS_TIMEOUT_MS, HARDWARE_FACT_BYTES, HARDWARE_RETRY_MS } from '../../crng/freshness.js';
import { ID_A, ID_B, type Machine, type MachineOptions, RepeatingEntropy, hex, machine } from './machine.js';

const notFresh = expect.objectContaining({ name: 'CrngError', code: 'ERR_CRNG_NOT_FRESH' });
const COUNTER: MachineOptions = { source: { uniqueness: 'counter' } };
const ONE = new Uint8Array(16).fill(1, 0, 1);

/** Two clones of one snapshot that see the same counter, as with vmclock. */
async function siblings(options: MachineOptions = COUNTER): Promise<[Machine, Machine]> {
  const pair: [Machine, Machine] = [await machine(options), await machine(options)];
  for (const { source, vmgenid } of pair) {
    source.fork(ONE);
    vmgenid.check();
  }
  return pair;
}

function freshnessEvents(events: CrngEvent[]): string[] {
  return events.filter(event => event.type === 'freshness').map(event => event.freshness);
}

/** A hardware generator that gives what it is told to, portion by portion. */
class Portions implements HardwareEntropy {
  readonly name = 'portions';
  readonly queue: number[] = [];
  /** What it was asked for, and filled. */
  readonly asked: Uint8Array[] = [];
  fill: number;

  constructor(fill: number) {
    this.fill = fill;
  }

  read(into: Uint8Array): number {
    this.asked.push(into);
    const count = Math.min(this.queue.shift() ?? 0, into.length);
    into.fill(this.fill, 0, count);
    return count;
  }

  close(): void {}

  get reads(): number {
    return this.asked.length;
  }
}

describe('the barrier', () => {
  test('is open on a machine that was never forked', async () => {
    const { crng, events } = await machine();
    expect(crng.isFresh()).toBe(true);
    expect(crng.freshness).toBe('fresh');
    expect(events).toEqual([]);
  });

  test('opens at once for a unique generation ID', async () => {
    const { crng, source, events } = await machine();
    source.fork(ID_A);
    expect(crng.isFresh()).toBe(true);
    crng.uint32();
    expect(events).toEqual([
      { type: 'reseeded', reason: 'fork', epoch: 2 },
      { type: 'freshness', freshness: 'fresh', epoch: 2, facts: ['vmGenId'], waitedMs: 0 },
    ]);
  });

  test('stays closed for a counter: two siblings draw nothing, and so nothing in common', async () => {
    for (const { crng } of await siblings()) {
      expect(crng.isFresh()).toBe(false);
      expect(crng.freshness).toBe('waiting');
      const into = new Uint8Array(32);
      expect(() => crng.fill(into)).toThrow(notFresh);
      expect(() => crng.bytes(1000)).toThrow(notFresh);
      expect(() => crng.uint32()).toThrow(notFresh);
      expect(() => crng.below(1)).toThrow(notFresh);
      expect(into).toEqual(new Uint8Array(32));
    }
  });

  test('opens when the kernel says that it reseeded, and the kernel is read after that', async () => {
    const drawn: string[] = [];
    for (const [i, m] of (await siblings()).entries()) {
      const reads = m.entropy.reads;
      m.entropy.part(i + 1);
      m.announcer.announce({ kernelReseeded: true });
      expect(m.entropy.reads).toBe(reads + 1);
      expect(m.crng.isFresh()).toBe(true);
      drawn.push(hex(m.crng.bytes(32)));
    }
    expect(drawn[0]).not.toBe(drawn[1]);
  });

  test('negative control: read before the kernel reseeded, its bytes part nobody', async () => {
    const [a, b] = await siblings();
    for (const m of [a, b]) m.announcer.announce({ kernelReseeded: true });
    expect(a.crng.bytes(32)).toEqual(b.crng.bytes(32));
  });

  test('opens without a new announcement when an uncertain log line has become certain with time', async () => {
    const { crng, source, announcer, clock } = await machine(COUNTER);
    announcer.poll = () => announcer.announce({ kernelReseeded: true });
    source.fork(ONE);
    expect(crng.isFresh()).toBe(false);
    clock.ms += UNSURE_RESEED_MS - 1;
    expect(crng.isFresh()).toBe(false);
    clock.ms += 1;
    expect(crng.isFresh()).toBe(true);
  });

  test('opens for a seed from the hypervisor, which parts the siblings', async () => {
    const drawn: string[] = [];
    for (const [i, m] of (await siblings()).entries()) {
      m.announcer.announce({ seed: new Uint8Array(32).fill(i + 1) });
      expect(m.crng.isFresh()).toBe(true);
      drawn.push(hex(m.crng.bytes(32)));
    }
    expect(drawn[0]).not.toBe(drawn[1]);
  });

  test('says what has opened it', async () => {
    const seed = new Uint8Array(32).fill(1);
    const [a] = await siblings();
    a.announcer.announce({ seed });
    const [b] = await siblings();
    b.announcer.announce({ kernelReseeded: true });
    const hardware = new Portions(1);
    hardware.queue.push(HARDWARE_FACT_BYTES);
    const [c] = await siblings({ ...COUNTER, crng: { hardware } });
    const opened = [a, b, c].map(({ events }) =>
      events.flatMap(event => (event.type === 'freshness' && event.freshness === 'fresh' ? event.facts : [])),
    );
    expect(opened).toEqual([['seed'], ['kernelReseeded'], ['hardware']]);
  });

  test('stays closed for an ID and a seed that were under way when the machine was copied', async () => {
    const drawn: string[] = [];
    for (const by of [1, 2]) {
      const { source, announcer, crng } = await machine(COUNTER);
      source.fork(ONE);
      // The call waited unread, in every sibling: it is what wakes the program, which only then sees the fork.
      announcer.announce({ vmGenId: ID_A, seed: new Uint8Array(32).fill(9) });
      expect(crng.isFresh()).toBe(false);
      // A caller that was copied too may call again.
      announcer.announce({ vmGenId: ID_A });
      expect(crng.isFresh()).toBe(false);
      announcer.announce({ seed: new Uint8Array(32).fill(by) });
      drawn.push(hex(crng.bytes(32)));
    }
    expect(drawn[0]).not.toBe(drawn[1]);
  });

  test('stays closed for an ID that stood in a file, unread, when the machine was copied', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'wireonce-fresh-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'generation');
    writeFileSync(path, new Uint8Array(16).fill(0xf0));
    const page = new MemorySource({ uniqueness: 'counter' });
    const vmgenid = new VmGenId([page, new FileSource(path)], { now: () => 0 });
    const crng = new Crng({ entropy: new RepeatingEntropy(7), vmgenid, now: () => 0 });
    writeFileSync(path, ID_A);
    page.fork(ONE);
    // The page is looked at for a packet; a moment later the file's watcher looks too.
    expect(crng.isFresh()).toBe(false);
    vmgenid.poll();
    expect(crng.isFresh()).toBe(false);
    writeFileSync(path, ID_B);
    vmgenid.poll();
    expect(crng.isFresh()).toBe(true);
    await vmgenid.close();
  });

  test('stays closed for a line that the kernel owed for the fork before', async () => {
    const { source, announcer, crng, clock } = await machine(COUNTER);
    const line = () => announcer.announce({ kernelReseeded: true });
    source.fork(ONE);
    expect(crng.isFresh()).toBe(false);
    // Copied again before the kernel has spoken: it may have been in the middle of it.
    source.fork(new Uint8Array(16).fill(2, 0, 1));
    expect(crng.isFresh()).toBe(false);
    line();
    expect(crng.isFresh()).toBe(false);
    line();
    expect(crng.isFresh()).toBe(true);
    // Control: where nothing is owed the first line counts.
    clock.ms += 10;
    source.fork(new Uint8Array(16).fill(3, 0, 1));
    expect(crng.isFresh()).toBe(false);
    line();
    expect(crng.isFresh()).toBe(true);
  });

  test('stays closed for a line that may be about a fork that nobody has looked at', async () => {
    const { source, announcer, crng, clock } = await machine(COUNTER);
    // Copied, and copied again before the program ran: the counter has moved by two.
    source.fork(new Uint8Array(16).fill(2, 0, 1));
    expect(crng.isFresh()).toBe(false);
    announcer.announce({ kernelReseeded: true });
    expect(crng.isFresh()).toBe(false);
    clock.ms += UNSURE_RESEED_MS;
    expect(crng.isFresh()).toBe(true);
  });

  test('opens a second after such a line, when the kernel has had time for the newer fork too', async () => {
    const { source, announcer, crng, clock } = await machine(COUNTER);
    for (const fill of [1, 2]) {
      source.fork(new Uint8Array(16).fill(fill, 0, 1));
      expect(crng.isFresh()).toBe(false);
    }
    announcer.announce({ kernelReseeded: true });
    clock.ms += UNSURE_RESEED_MS;
    expect(crng.isFresh()).toBe(true);
  });

  test('opens for an ID that the application brings', async () => {
    const [a, b] = await siblings();
    a.crng.addVmForkRandomness(ID_A);
    b.crng.addVmForkRandomness(ID_B);
    expect(a.crng.bytes(32)).not.toEqual(b.crng.bytes(32));
    expect(() => a.crng.addVmForkRandomness(new Uint8Array(15))).toThrow(
      expect.objectContaining({ code: 'ERR_CRNG_LENGTH' }),
    );
  });

  test('says so when the application brings one, and answers no fork by it', async () => {
    const [{ crng, events, guard }] = await siblings();
    guard.answer = () => NO_EPOCH;
    crng.addVmForkRandomness(ID_A);
    expect(events.slice(-2)).toEqual([
      { type: 'reseeded', reason: 'request', epoch: 2 },
      { type: 'freshness', freshness: 'fresh', epoch: 2, facts: ['vmGenId'], waitedMs: 0 },
    ]);
    expect(events.filter(event => event.type === 'reseeded').map(({ reason }) => reason)).toEqual([
      'fork',
      'request',
    ]);
  });

  test('an ID brought together with a fork counts for that fork', async () => {
    const deaf: MachineOptions = {
      ...COUNTER,
      before: ({ vmgenid }) => {
        vmgenid.register = () => () => {};
      },
    };
    for (const options of [COUNTER, deaf]) {
      const { crng, source } = await machine(options);
      source.fork(ONE);
      crng.addVmForkRandomness(ID_A);
      expect(crng.isFresh()).toBe(true);
    }
  });

  test('closes again with the next fork: old facts do not count', async () => {
    const [a] = await siblings();
    a.announcer.announce({ kernelReseeded: true });
    expect(a.crng.isFresh()).toBe(true);
    a.source.fork(new Uint8Array(16).fill(2, 0, 1));
    expect(a.crng.isFresh()).toBe(false);
  });

  test('stands before a generator that is made after a fork as well', async () => {
    const { crng, announcer, events } = await machine({
      ...COUNTER,
      before: ({ source, vmgenid }) => {
        source.fork(ONE);
        vmgenid.check();
      },
    });
    expect(freshnessEvents(events)).toEqual(['waiting']);
    expect(() => crng.uint32()).toThrow(notFresh);
    announcer.announce({ kernelReseeded: true });
    crng.uint32();
  });

  test('does not take the word of the kernel where entropy comes from this process', async () => {
    const [a] = await siblings({ ...COUNTER, entropy: new RepeatingEntropy(7, true) });
    a.announcer.announce({ kernelReseeded: true });
    const { reseeds } = a.crng;
    for (let i = 0; i < 5; i++) expect(a.crng.isFresh()).toBe(false);
    expect(a.crng.reseeds).toBe(reseeds);
  });
});

describe('a public ID is not enough for ever', () => {
  test('the generator reseeds once more when the kernel has reseeded, and once only', async () => {
    const { crng, source, announcer, events } = await machine();
    source.fork(ID_A);
    crng.uint32();
    announcer.announce({ kernelReseeded: true });
    for (let i = 0; i < 10; i++) crng.uint32();
    expect(events.map(event => (event.type === 'reseeded' ? event.reason : event.type))).toEqual([
      'fork',
      'freshness',
      'evidence',
    ]);
  });

  test('and when the hardware has spoken', async () => {
    const hardware = new Portions(1);
    const { crng, source, clock } = await machine({ crng: { hardware } });
    source.fork(ID_A);
    crng.uint32();
    const { reseeds } = crng;
    hardware.queue.push(HARDWARE_FACT_BYTES);
    clock.ms += HARDWARE_RETRY_MS;
    crng.uint32();
    crng.uint32();
    expect(crng.reseeds).toBe(reseeds + 1);
    // That is enough: it is not asked again until the next fork.
    const { reads } = hardware;
    clock.ms += HARDWARE_RETRY_MS;
    crng.uint32();
    expect([hardware.reads, crng.reseeds]).toEqual([reads, reseeds + 1]);
  });
});

describe('a hardware generator', () => {
  test('opens the barrier when more came than the buffers before it may hold', async () => {
    const drawn: string[] = [];
    for (const own of [1, 2]) {
      const hardware = new Portions(9);
      const { crng, source, clock } = await machine({ ...COUNTER, crng: { hardware } });
      source.fork(ONE);
      // What a fork copied is the same in both clones; only what follows is not.
      hardware.queue.push(256, 256);
      expect(crng.isFresh()).toBe(false);
      clock.ms += HARDWARE_RETRY_MS;
      expect(crng.isFresh()).toBe(false);
      hardware.fill = own;
      hardware.queue.push(40, 40);
      clock.ms += HARDWARE_RETRY_MS;
      expect(crng.isFresh()).toBe(false);
      clock.ms += HARDWARE_RETRY_MS;
      expect(crng.isFresh()).toBe(true);
      drawn.push(hex(crng.bytes(32)));
    }
    expect(drawn[0]).not.toBe(drawn[1]);
  });

  test('is not asked more often than its pause allows, nor on a machine that was never forked', async () => {
    const hardware = new Portions(1);
    const { crng, source, clock } = await machine({ ...COUNTER, crng: { hardware } });
    crng.uint32();
    expect(hardware.reads).toBe(0);
    source.fork(ONE);
    for (let i = 0; i < 50; i++) crng.isFresh();
    expect(hardware.reads).toBe(1);
    const { reseeds } = crng;
    clock.ms += HARDWARE_RETRY_MS;
    for (let i = 0; i < 50; i++) crng.isFresh();
    expect(hardware.reads).toBe(2);
    // Nor does the kernel have to give anything for it.
    expect(crng.reseeds).toBe(reseeds);
  });

  test('is asked for what is lacking, and no copy of what it gave is kept', async () => {
    const hardware = new Portions(9);
    const { crng, source, clock } = await machine({ ...COUNTER, crng: { hardware } });
    source.fork(ONE);
    for (const portion of [256, 300]) {
      hardware.queue.push(portion);
      crng.isFresh();
      clock.ms += HARDWARE_RETRY_MS;
    }
    expect(hardware.asked.map(({ length }) => length)).toEqual([
      HARDWARE_FACT_BYTES,
      HARDWARE_FACT_BYTES - 256,
    ]);
    expect(hardware.asked.every(bytes => bytes.every(byte => byte === 0))).toBe(true);
  });

  test('starts counting anew with every fork', async () => {
    const hardware = new Portions(1);
    const { crng, source, clock } = await machine({ ...COUNTER, crng: { hardware } });
    hardware.queue.push(HARDWARE_FACT_BYTES - 1, HARDWARE_FACT_BYTES - 1);
    source.fork(ONE);
    expect(crng.isFresh()).toBe(false);
    clock.ms += HARDWARE_RETRY_MS;
    source.fork(new Uint8Array(16).fill(2, 0, 1));
    expect(crng.isFresh()).toBe(false);
  });
});

describe('a kernel that fails while a fork is answered', () => {
  test('takes nothing from what the hardware has given for this fork', async () => {
    const hardware = new Portions(1);
    const { crng, source, entropy } = await machine({ ...COUNTER, crng: { hardware } });
    hardware.queue.push(HARDWARE_FACT_BYTES);
    entropy.broken = true;
    source.fork(ONE);
    expect(() => crng.uint32()).toThrow('no entropy today');
    entropy.broken = false;
    expect(crng.isFresh()).toBe(true);
  });

  test('does not put off the timeout', async () => {
    const { crng, source, entropy, clock } = await machine(COUNTER);
    entropy.broken = true;
    source.fork(ONE);
    expect(() => crng.uint32()).toThrow('no entropy today');
    clock.ms += FRESHNESS_TIMEOUT_MS;
    entropy.broken = false;
    expect(crng.isFresh()).toBe(false);
    expect(crng.freshness).toBe('refusing');
  });
});

describe('after the timeout', () => {
  test('the policy refuse goes on refusing and says so once', async () => {
    const [{ crng, clock, events, announcer }] = await siblings();
    clock.ms += FRESHNESS_TIMEOUT_MS - 1;
    expect(crng.isFresh()).toBe(false);
    expect(crng.freshness).toBe('waiting');
    for (let i = 0; i < 5; i++) {
      clock.ms += 1_000;
      expect(() => crng.uint32()).toThrow(notFresh);
    }
    expect(crng.freshness).toBe('refusing');
    announcer.announce({ seed: new Uint8Array(32) });
    crng.uint32();
    expect(freshnessEvents(events)).toEqual(['waiting', 'refusing', 'fresh']);
  });

  test('every word on it says how long after the fork it comes', async () => {
    const [{ crng, clock, events, announcer }] = await siblings({
      ...COUNTER,
      crng: { freshnessTimeoutMs: 1_000 },
    });
    clock.ms += 1_000;
    crng.isFresh();
    clock.ms += 234;
    announcer.announce({ seed: new Uint8Array(32) });
    expect(events.filter(event => event.type === 'freshness').map(({ waitedMs }) => waitedMs)).toEqual([
      0, 1_000, 1_234,
    ]);
  });

  test('the policy proceed lets siblings repeat, and never calls that fresh', async () => {
    const [a, b] = await siblings({ ...COUNTER, crng: { onNotFresh: 'proceed', freshnessTimeoutMs: 100 } });
    for (const { crng, clock } of [a, b]) {
      clock.ms += 99;
      expect(crng.isFresh()).toBe(false);
      clock.ms += 1;
      expect(crng.isFresh()).toBe(true);
      expect(crng.freshness).toBe('proceeding');
    }
    expect(a.crng.bytes(32)).toEqual(b.crng.bytes(32));
    expect(freshnessEvents(a.events)).toEqual(['waiting', 'proceeding']);
    a.entropy.part(1);
    a.announcer.announce({ kernelReseeded: true });
    expect(a.crng.bytes(32)).not.toEqual(b.crng.bytes(32));
    expect(a.crng.freshness).toBe('fresh');
  });
});

describe('whoever asks to hear of evidence', () => {
  test('is told when the key has it, once for each, and not for the fork itself', async () => {
    const drawn: string[][] = [];
    for (const by of [1, 2]) {
      const { crng, source, announcer } = await machine({
        ...COUNTER,
        crng: { onNotFresh: 'proceed', freshnessTimeoutMs: 0 },
      });
      const own: string[] = [];
      crng.onEvidence(() => own.push(hex(crng.bytes(32))));
      source.fork(ONE);
      crng.uint32();
      expect(own).toEqual([]);
      announcer.announce({ seed: new Uint8Array(32).fill(by) });
      crng.uint32();
      expect(own).toHaveLength(1);
      crng.addVmForkRandomness(ID_A);
      expect(own).toHaveLength(2);
      drawn.push(own);
    }
    expect(new Set(drawn.flat()).size).toBe(4);
  });

  test('is told no more when he has ended it', async () => {
    const [{ crng, announcer }] = await siblings();
    let told = 0;
    const end = crng.onEvidence(() => void told++);
    announcer.announce({ seed: new Uint8Array(32).fill(1) });
    crng.addVmForkRandomness(ID_A);
    expect(told).toBe(2);
    end();
    crng.addVmForkRandomness(ID_B);
    expect(told).toBe(2);
  });

  test('may throw or leave: the others are told all the same, and it is an event', async () => {
    const [{ crng, announcer, events }] = await siblings();
    let told = 0;
    crng.onEvidence(() => {
      throw new Error('a listener that fails');
    });
    const leave = crng.onEvidence(() => leave());
    crng.onEvidence(() => void told++);
    announcer.announce({ seed: new Uint8Array(32).fill(1) });
    expect(told).toBe(1);
    expect(events.filter(event => event.type === 'failed')).toHaveLength(1);
  });
});

test('a failing kernel at an evidence callback is an event; the announcer does not suffer', async () => {
  const [{ crng, announcer, entropy, events }] = await siblings();
  entropy.broken = true;
  announcer.announce({ kernelReseeded: true });
  expect(events.filter(event => event.type === 'failed')).toHaveLength(1);
  expect(() => crng.uint32()).toThrow('no entropy today');
  entropy.broken = false;
  crng.uint32();
});

describe('a drill', () => {
  test('reseeds, and opens no barrier: on a machine that was never forked it stays open', async () => {
    const { crng, vmgenid, events } = await machine({ source: { uniqueness: 'counter' } });
    const before = crng.reseeds;
    vmgenid.drill();
    expect([crng.isFresh(), crng.reseeds, crng.bytes(8).length]).toEqual([true, before + 1, 8]);
    expect(events).toEqual([{ type: 'reseeded', reason: 'fork', epoch: 2 }]);
  });

  test('is told of as no fork: what was told of the last one holds, and of the next one it is told', async () => {
    const { crng, vmgenid, source, events, clock } = await machine();
    const told = () =>
      events.flatMap(each => (each.type === 'freshness' ? [[each.epoch, each.waitedMs]] : []));
    clock.ms += 60_000;
    vmgenid.drill();
    crng.bytes(1);
    expect(told()).toEqual([]);
    source.fork(ID_A);
    crng.bytes(1);
    expect(told()).toEqual([[3, 0]]);
    clock.ms += 60_000;
    vmgenid.drill();
    crng.bytes(1);
    expect(told()).toEqual([[3, 0]]);
    source.fork(ID_B);
    crng.bytes(1);
    expect(told()).toEqual([
      [3, 0],
      [5, 0],
    ]);
  });

  test('where nothing parts a clone from its siblings they wait on, and longer for no drill', async () => {
    for (const { crng, vmgenid, clock } of await siblings()) {
      expect(crng.isFresh()).toBe(false);
      clock.ms += FRESHNESS_TIMEOUT_MS / 2;
      vmgenid.drill();
      expect([crng.isFresh(), crng.freshness]).toEqual([false, 'waiting']);
      expect(() => crng.bytes(1)).toThrow(notFresh);
      clock.ms += FRESHNESS_TIMEOUT_MS / 2;
      expect([crng.isFresh(), crng.freshness]).toEqual([false, 'refusing']);
    }
  });

  test('what has parted them holds: they draw on, and nothing in common', async () => {
    const drawn: string[] = [];
    for (const [n, { crng, vmgenid, announcer }] of (await siblings()).entries()) {
      announcer.announce({ seed: new Uint8Array(32).fill(n + 1) });
      expect(crng.isFresh()).toBe(true);
      vmgenid.drill();
      expect(crng.isFresh()).toBe(true);
      drawn.push(hex(crng.bytes(16)));
    }
    expect(new Set(drawn).size).toBe(2);
  });
});
