// The broker: who is told of a fork, in which order, and for how long a fork waits for whom.

import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { KERNEL_RESEED_MS } from '../../../vmgenid/broker/broker.js';
import { RETRY_LONGEST_MS } from '../../../vmgenid/broker/command-turns.js';
import {
  Broker,
  type BrokerEvent,
  type BrokerOptions,
  FileSource,
  MemorySource,
  VmGenId,
  formatGuid,
} from '../../../vmgenid/index.js';
import { Announcer } from '../../crng/machine.js';
import { BrokerTestClient } from '../../support/broker-client.js';

const id = (fill: number) => new Uint8Array(16).fill(fill);
let folder: string;
let path: { page: string; socket: string; out: string };
const closers: (() => unknown)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-broker-'));
  path = { page: join(folder, 'vmgenid'), socket: join(folder, 'sock'), out: join(folder, 'out') };
});
afterEach(async () => {
  vi.useRealTimers();
  for (const close of closers.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

class Machine {
  readonly source: MemorySource;
  readonly kernel = new Announcer();
  readonly vmgenid: VmGenId;
  readonly events: BrokerEvent[] = [];
  broker!: Broker;

  constructor(fill = 1) {
    this.source = new MemorySource({ vmGenId: id(fill) });
    this.vmgenid = new VmGenId([this.source, this.kernel]);
  }

  async open(options: Partial<BrokerOptions> = { counterFile: path.page, socket: path.socket }) {
    await this.vmgenid.start();
    this.broker = await Broker.open({
      vmgenid: this.vmgenid,
      onEvent: event => this.events.push(event),
      ...options,
    });
    closers.push(async () => {
      await this.broker.close();
      await this.vmgenid.close();
    });
    return this;
  }

  fork(fill: number): number {
    this.source.fork(id(fill));
    return this.vmgenid.check();
  }

  settlements() {
    return this.events.flatMap(event => (event.type === 'settled' ? [event] : []));
  }
}

const start = (options?: Partial<BrokerOptions>) => new Machine().open(options);

async function client(): Promise<BrokerTestClient> {
  const made = await BrokerTestClient.connect(path.socket);
  closers.push(() => made.close());
  return made;
}

async function subscriber(): Promise<BrokerTestClient> {
  const made = await client();
  made.say('subscribe');
  await made.line(/^subscribed /);
  return made;
}

const counter = () => readFileSync(path.page).readUInt32LE(0);
const reseededAt = () => readFileSync(path.page).readUInt32LE(4);

describe('the page', () => {
  it('has moved before any other subscriber of the chain runs', async () => {
    const machine = await start({ counterFile: path.page });
    const seen: number[] = [];
    machine.vmgenid.register('randomness', () => void seen.push(counter()), { priority: 1e9 });
    machine.fork(2);
    expect(seen).toEqual([1]);
    expect(machine.broker.counter).toBe(1);
  });

  // What the only source has of forks: a kernel's log that tells of the last, a counter, or nothing.
  it.each([
    ['a log', 'same', 'forked'],
    ['a counter', 'same', 'forked'],
    ['a log that says nothing of the past', 'unknown', 'unknown'],
  ])(
    'without an ID, by %s: a start without a fork is %s, and one after it %s',
    async (kind, quiet, after) => {
      let forks = 7;
      let bootId = 'this boot';
      const brokers: Broker[] = [];
      const begin = async () => {
        const counts = new MemorySource({ uniqueness: 'counter', vmGenId: id(forks) });
        const log = Object.defineProperty(new Announcer(), 'history', {
          get: () => (kind === 'a log' ? Uint8Array.of(forks) : undefined),
        });
        const vmgenid = new VmGenId([kind === 'a counter' ? counts : log]);
        await vmgenid.start();
        const events: BrokerEvent[] = [];
        const broker = await Broker.open({
          vmgenid,
          counterFile: path.page,
          bootId,
          onEvent: event => events.push(event),
        });
        brokers.push(broker);
        const close = () => Promise.all([broker.close(), vmgenid.close()]);
        closers.push(close);
        const fork = () => {
          forks++;
          counts.fork(id(forks));
          if (kind === 'a counter') vmgenid.check();
          else log.announce({ kernelReseeded: true });
        };
        return {
          close,
          fork,
          vmgenid,
          history: events.flatMap(each => (each.type === 'page' ? [each.history] : [])),
        };
      };
      const next = async () => {
        const begun = await begin();
        await begun.close();
        return begun.history[0];
      };
      const first = await begin();
      expect(first.history).toEqual(['new']);
      await first.close();
      expect(await next()).toBe(quiet);
      // One that a broker was there to see, and a drill, which is none.
      const live = await begin();
      live.fork();
      live.vmgenid.drill();
      await live.close();
      expect(await next()).toBe(quiet);
      // One that none was.
      forks++;
      expect(await next()).toBe(after);
      expect(await next()).toBe(quiet);
      bootId = 'another boot';
      expect(await next()).toBe(after);
      bootId = '';
      expect(await next()).toBe('unknown');
      const moved = counter();
      expect(moved).toBe(quiet === 'same' ? 5 : 9);
    },
  );

  it('tells of a fork that fell between two brokers', async () => {
    await (await start({ counterFile: path.page })).broker.close();
    const same = await start({ counterFile: path.page });
    expect(same.events).toEqual([{ type: 'page', history: 'same', counter: 0 }]);
    await same.broker.close();
    const forked = new Machine(2);
    await forked.open({ counterFile: path.page });
    expect(forked.events).toEqual([{ type: 'page', history: 'forked', counter: 1 }]);
    expect([counter(), reseededAt()]).toEqual([1, 0]);
  });

  it('moves for a drill, and takes the next start for no missed fork', async () => {
    const before = await start({ counterFile: path.page });
    expect(before.vmgenid.drill()).toBe(2);
    expect(before.broker.counter).toBe(1);
    await before.broker.close();
    const after = await start({ counterFile: path.page });
    expect(after.events).toEqual([{ type: 'page', history: 'same', counter: 1 }]);
    expect(after.fork(2)).toBe(2);
    expect(after.broker.counter).toBe(2);
  });

  it('says that the kernel has reseeded when that is known', async () => {
    const machine = await start({ counterFile: path.page });
    machine.fork(2);
    expect([counter(), reseededAt()]).toEqual([1, 0]);
    machine.kernel.announce({ kernelReseeded: true });
    // A line that was found right after the fork may be older than the snapshot; one that comes later is not.
    expect([counter(), reseededAt()]).toEqual([1, 1]);
  });

  it('does not say so of a fork whose broker died before the kernel had reseeded', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const first = await start({ counterFile: path.page });
    first.fork(2);
    await first.broker.close();
    await new Machine(2).open({ counterFile: path.page });
    expect([counter(), reseededAt()]).toEqual([1, 0]);
    vi.advanceTimersByTime(KERNEL_RESEED_MS);
    expect([counter(), reseededAt()]).toEqual([1, 1]);
  });

  it('says so a minute later in any case, since the kernel reseeds once a minute', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const machine = await start({ counterFile: path.page });
    machine.fork(2);
    vi.advanceTimersByTime(KERNEL_RESEED_MS / 2);
    machine.fork(3);
    vi.advanceTimersByTime(KERNEL_RESEED_MS - 1);
    expect([counter(), reseededAt()]).toEqual([2, 0]);
    vi.advanceTimersByTime(1);
    expect([counter(), reseededAt()]).toEqual([2, 2]);
  });

  it('serves our own library: a driver in another program sees each fork', async () => {
    const machine = await start({ counterFile: path.page });
    const source = new FileSource(path.page, { format: 'counter32', pollMs: 1e6, watch: false });
    const reader = new VmGenId([source]);
    const told: number[] = [];
    reader.register('application', ({ epoch }) => void told.push(epoch));
    expect([reader.protection, reader.poll()]).toEqual(['delayed', 1]);
    machine.fork(2);
    expect(reader.poll()).toBe(2);
    machine.fork(3);
    expect(reader.poll()).toBe(3);
    expect(reader.poll()).toBe(3);
    expect(told).toEqual([2, 3]);
    await reader.close();
  });
});

describe('the socket', () => {
  it('is its owner’s alone, and goes with the broker', async () => {
    const machine = await start();
    expect(statSync(path.socket).mode & 0o777).toBe(0o600);
    await machine.broker.close();
    expect(existsSync(path.socket)).toBe(false);
    expect(existsSync(path.page)).toBe(true);
  });

  it('may be opened to others', async () => {
    await start({ socket: path.socket, socketMode: 0o666 });
    expect(statSync(path.socket).mode & 0o777).toBe(0o666);
  });

  it('prints a line for a fork, for its reseed and for its end, in words and in JSON', async () => {
    const machine = await start();
    const words = await client();
    const json = await client();
    json.say('json');
    json.say('subscribe');
    await json.line(/subscribed/);
    machine.fork(2);
    machine.kernel.announce({ kernelReseeded: true });
    json.say('ack 2');
    await words.line(/^settled/);
    await json.line(/settled/);
    const guid = formatGuid(id(2));
    expect(words.lines).toEqual([
      'hello 1 epoch 1 counter 0',
      `fork 2 counter 1 vmgenid ${guid} reseeded no source memory`,
      'reseeded 2',
      'settled 2 acknowledged 1 missed 0',
    ]);
    expect(json.lines.slice(1).map(line => JSON.parse(line))).toEqual([
      { event: 'subscribed', epoch: 1 },
      { event: 'fork', epoch: 2, counter: 1, vmGenId: guid, reseeded: false, source: 'memory' },
      { event: 'reseeded', epoch: 2 },
      { event: 'settled', epoch: 2, acknowledged: 1, missed: 0 },
    ]);
  });

  it('refuses a name that is in use, and one that is something else', async () => {
    await start();
    const other = { vmgenid: new VmGenId([]), socket: path.socket };
    const failure = (reason: RegExp) =>
      expect.objectContaining({ code: 'ERR_BROKER_LISTEN', message: expect.stringMatching(reason) });
    await expect(Broker.open(other)).rejects.toEqual(failure(/another program answers/));
    writeFileSync(path.out, '');
    await expect(Broker.open({ ...other, socket: path.out })).rejects.toEqual(failure(/is no socket/));
    await expect(Broker.open({ ...other, socket: `/${'x'.repeat(200)}` })).rejects.toEqual(
      failure(/too long/),
    );
    expect(existsSync(path.out)).toBe(true);
  });
});

describe('a fork is settled', () => {
  it('at once where nobody asked to be waited for', async () => {
    const machine = await start();
    await client();
    machine.fork(2);
    await machine.vmgenid.settled();
    expect(machine.settlements()).toEqual([{ type: 'settled', epoch: 2, acknowledged: 0, missed: 0 }]);
  });

  it('when all subscribers have acknowledged it, and not before', async () => {
    const machine = await start();
    const [one, two] = [await subscriber(), await subscriber()];
    machine.fork(2);
    one.say('ack 2');
    await one.line(/^fork 2/);
    one.say('ack 1');
    await new Promise(resolve => setTimeout(resolve, 50));
    expect(machine.settlements()).toEqual([]);
    two.say('ack 2');
    await machine.vmgenid.settled();
    expect(machine.settlements()).toEqual([{ type: 'settled', epoch: 2, acknowledged: 2, missed: 0 }]);
  });

  it('by a later acknowledgement too, as one reset answers all forks before it', async () => {
    const machine = await start();
    const one = await subscriber();
    machine.fork(2);
    machine.fork(3);
    one.say('ack 3');
    await machine.vmgenid.settled();
    expect(machine.settlements().map(({ epoch, acknowledged }) => [epoch, acknowledged])).toEqual([
      [2, 1],
      [3, 1],
    ]);
  });

  it('without the subscriber that goes away instead, which counts as missed', async () => {
    const machine = await start();
    const one = await subscriber();
    machine.fork(2);
    await one.line(/^fork/);
    one.close();
    await machine.vmgenid.settled();
    expect(machine.settlements()).toMatchObject([{ acknowledged: 0, missed: 1 }]);
  });

  it('after its time without the subscriber that never answers', async () => {
    const machine = await start({ socket: path.socket, ackTimeoutMs: 1_000 });
    const [quick, silent] = [await subscriber(), await subscriber()];
    machine.fork(2);
    quick.say('ack 2');
    await machine.vmgenid.settled();
    expect(machine.settlements()).toMatchObject([{ acknowledged: 1, missed: 1 }]);
    expect(await silent.line(/^settled/)).toBe('settled 2 acknowledged 1 missed 1');
  });

  it('when the broker ends, which leaves nobody waiting', async () => {
    const machine = await start();
    await subscriber();
    machine.fork(2);
    await machine.broker.close();
    await machine.vmgenid.settled();
    expect(machine.settlements()).toMatchObject([{ acknowledged: 0, missed: 1 }]);
  });
});

describe('a client that does harm', () => {
  it.each([
    ['speaks nonsense', 'GET / HTTP/1.1\r\n\r\n', /^error not a command/],
    ['acknowledges with nonsense', 'ack -1\n', /^error not a command/],
    ['writes a line without an end', 'x'.repeat(1_000), /^error a line without an end/],
    ['says too much', 'ack 1\n'.repeat(1_000), /^error too many commands/],
  ])('and %s is told why, and sent away', async (_, bytes, reason) => {
    const machine = await start();
    const rude = await client();
    rude.socket.write(bytes);
    await rude.line(reason);
    await rude.end();
    expect(machine.events).toContainEqual(expect.objectContaining({ type: 'clientTrouble' }));
    expect(machine.broker.clients).toBe(0);
    // Everybody else is served as ever.
    const other = await subscriber();
    machine.fork(2);
    await other.line(/^fork 2/);
  });

  it('and acknowledges what has not happened has acknowledged nothing', async () => {
    const machine = await start();
    const hasty = await subscriber();
    hasty.say('ack 2');
    await hasty.line(/^error ack 2: the epoch is 1/);
    machine.fork(2);
    await hasty.line(/^fork 2/);
    expect(machine.settlements()).toEqual([]);
    hasty.say('ack 2');
    await machine.vmgenid.settled();
  });

  it('and does not read is sent away, and holds up nobody', async () => {
    const machine = await start({ socket: path.socket, ackTimeoutMs: 1_000_000 });
    const deaf = await subscriber();
    const other = await client();
    deaf.socket.pause();
    for (let fork = 2; machine.broker.clients > 1; fork = 2 + (fork % 200)) {
      machine.fork(fork);
      await new Promise(resolve => setImmediate(resolve));
    }
    await machine.vmgenid.settled();
    await other.line(/^settled/);
    expect(machine.events).toContainEqual({
      type: 'clientTrouble',
      reason: 'a client was sent away: does not read',
    });
    expect(machine.settlements().every(({ missed }) => missed === 1)).toBe(true);
  });

  it('and takes places without a wish to be waited for gives way, the oldest first, to whoever comes', async () => {
    const machine = await start();
    const first = await subscriber();
    const crowd = await Promise.all(Array.from({ length: 255 }, () => client()));
    const newcomer = await subscriber();
    await crowd[0].line(/^error a newcomer takes its place/);
    machine.fork(2);
    for (const served of [first, newcomer, crowd[254]]) await served.line(/^fork 2/);
    expect(machine.broker.clients).toBe(256);
  });

  it('and takes every place by subscribing has taken those of the socket alone: the page goes on', async () => {
    const machine = await start();
    const crowd = await Promise.all(Array.from({ length: 256 }, () => subscriber()));
    await expect(BrokerTestClient.connect(path.socket)).rejects.toThrow('closed after');
    machine.fork(2);
    await crowd[255].line(/^fork 2/);
    expect(counter()).toBe(1);
  });
});

describe('a second broker on the same page', () => {
  const refusal = expect.objectContaining({
    code: 'ERR_BROKER_IN_USE',
    message: expect.stringMatching(/another broker writes it; end that one first/),
  });

  it.each([
    ['the same socket', () => path.socket],
    ['a socket of its own', () => `${path.socket}.2`],
    ['no socket', () => undefined],
  ])('with %s is refused, and changes nothing', async (_, socketOf) => {
    const machine = await start();
    const before = [readFileSync(path.page), readdirSync(folder)];
    const socket = socketOf();
    // It knows of no generation: to be safe it would move the page.
    const second = { vmgenid: new VmGenId([]), counterFile: path.page, ...(socket && { socket }) };
    await expect(Broker.open(second)).rejects.toEqual(refusal);
    expect([readFileSync(path.page), readdirSync(folder)]).toEqual(before);
    machine.fork(2);
    expect(counter()).toBe(1);
    await machine.broker.close();
    expect(readdirSync(folder)).toEqual(['vmgenid']);
    await (await Broker.open({ ...second, socket: path.socket })).close();
    expect(counter()).toBe(2);
  });

  it('that fails for another reason changes nothing either', async () => {
    await (await start({ counterFile: path.page })).broker.close();
    writeFileSync(path.out, '');
    const before = [readFileSync(path.page), readdirSync(folder)];
    const second = { vmgenid: new VmGenId([]), counterFile: path.page, socket: path.out };
    await expect(Broker.open(second)).rejects.toMatchObject({ code: 'ERR_BROKER_LISTEN' });
    expect([readFileSync(path.page), readdirSync(folder)]).toEqual(before);
    // Nor does it leave a page where there was none.
    const none = { ...second, counterFile: `${path.page}.2` };
    await expect(Broker.open(none)).rejects.toMatchObject({ code: 'ERR_BROKER_LISTEN' });
    expect(readdirSync(folder)).toEqual(before[1]);
  });

  it('control: without the lock both would serve, and the page would move for a start', async () => {
    vi.resetModules();
    vi.doMock('../../../vmgenid/broker/page-lock.js', () => ({
      PageLock: class {
        release(): void {}
      },
    }));
    try {
      const { Broker: Careless } = await import('../../../vmgenid/broker/broker.js');
      await start({ counterFile: path.page });
      const second = await Careless.open({ vmgenid: new VmGenId([]), counterFile: path.page });
      closers.push(() => second.close());
      expect(counter()).toBe(1);
    } finally {
      vi.doUnmock('../../../vmgenid/broker/page-lock.js');
    }
  });
});

describe('the command', () => {
  const run = (command: string, more: Partial<BrokerOptions> = {}) =>
    start({ counterFile: path.page, command, ...more });

  it('runs for each fork, and finds in its environment what is known', async () => {
    const machine = await run(`env | grep ^WIREONCE_ | sort >> ${path.out}; echo . >> ${path.out}`);
    machine.fork(2);
    await machine.vmgenid.settled();
    machine.fork(3);
    await machine.vmgenid.settled();
    const runs = readFileSync(path.out, 'utf8').split('.\n');
    expect(runs[0].trim().split('\n')).toEqual(
      expect.arrayContaining([
        'WIREONCE_COUNTER=1',
        'WIREONCE_EPOCH=2',
        'WIREONCE_RESEEDED=0',
        'WIREONCE_SOURCE=memory',
        `WIREONCE_VMGENID=${formatGuid(id(2))}`,
      ]),
    );
    expect(runs[1]).toContain('WIREONCE_EPOCH=3\n');
    expect(machine.settlements()).toMatchObject([{ acknowledged: 1 }, { acknowledged: 1 }]);
  });

  it('that fails is reported, and nothing else', async () => {
    const machine = await run('exit 3');
    machine.fork(2);
    await machine.vmgenid.settled();
    expect(machine.events).toContainEqual({ type: 'commandFailed', epoch: 2, reason: 'exit status 3' });
    expect(machine.settlements()).toMatchObject([{ acknowledged: 0, missed: 1 }]);
  });

  it('that takes too long is ended with all that it started', async () => {
    const machine = await run(`sleep 1000 & echo $! > ${path.out}; trap '' TERM; wait; sleep 1000`, {
      ackTimeoutMs: 1_000,
    });
    machine.fork(2);
    await machine.vmgenid.settled();
    expect(machine.events).toContainEqual(
      expect.objectContaining({
        type: 'commandFailed',
        reason: expect.stringMatching(/longer than 1000 ms/),
      }),
    );
    const pid = Number(readFileSync(path.out, 'utf8'));
    await vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow('ESRCH'), { timeout: 5_000 });
  });

  it('runs once more when the kernel has reseeded, and is told so', async () => {
    const machine = await run(`echo $WIREONCE_EPOCH $WIREONCE_RESEEDED >> ${path.out}`);
    machine.fork(2);
    await machine.vmgenid.settled();
    machine.kernel.announce({ kernelReseeded: true });
    await done(machine, 2);
    expect(readFileSync(path.out, 'utf8')).toBe('2 0\n2 1\n');
    expect(machine.events.filter(({ type }) => type === 'commandDone')).toEqual([
      { type: 'commandDone', epoch: 2, reseeded: false },
      { type: 'commandDone', epoch: 2, reseeded: true },
    ]);
  });

  it('that failed is tried again until it succeeds, while nobody waits for it', async () => {
    const machine = await run(`echo . >> ${path.out}; [ $(wc -l < ${path.out}) = 3 ]`);
    machine.fork(2);
    await machine.vmgenid.settled();
    expect(machine.settlements()).toMatchObject([{ missed: 1 }]);
    await done(machine, 2, false);
    expect(machine.events.map(({ type }) => type)).toEqual([
      'page',
      'commandFailed',
      'settled',
      'commandFailed',
      'commandDone',
    ]);
  });

  it('is not started again by a broker that has ended', async () => {
    const machine = await run(`echo . >> ${path.out}; exit 1`);
    machine.fork(2);
    await machine.vmgenid.settled();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    await machine.broker.close();
    vi.advanceTimersByTime(10 * RETRY_LONGEST_MS);
    vi.useRealTimers();
    expect(readFileSync(path.out, 'utf8')).toBe('.\n');
  });

  it('is ended by a newer fork, which has a run of its own: there are never two', async () => {
    const lock = join(folder, 'lock');
    // Slow to die: that the second run waits for the end of the first is what is looked at.
    const machine = await run(
      `mkdir ${lock} || echo two at once >> ${path.out}; trap 'sleep 0.2; rmdir ${lock}; exit 1' TERM
       echo begin $WIREONCE_EPOCH >> ${path.out}
       while [ $WIREONCE_EPOCH = 2 ]; do sleep 0.01; done
       rmdir ${lock}; echo end $WIREONCE_EPOCH >> ${path.out}`,
    );
    machine.fork(2);
    await vi.waitFor(() => expect(readFileSync(path.out, 'utf8')).toBe('begin 2\n'), { timeout: 20_000 });
    machine.fork(3);
    machine.fork(4);
    await machine.vmgenid.settled();
    expect(readFileSync(path.out, 'utf8')).toBe('begin 2\nbegin 4\nend 4\n');
    // The newest stands for all before it, and nothing has failed.
    expect(machine.settlements()).toMatchObject([
      { acknowledged: 1 },
      { acknowledged: 1 },
      { acknowledged: 1 },
    ]);
    expect(machine.events.filter(({ type }) => type === 'commandFailed')).toEqual([]);
  });

  describe('at the start of a broker', () => {
    const next = async (fill: number) => {
      const machine = new Machine(fill);
      const command = `echo $WIREONCE_COUNTER $WIREONCE_RESEEDED >> ${path.out}`;
      await machine.open({ counterFile: path.page, command });
      return machine;
    };
    const ran = () => (existsSync(path.out) ? readFileSync(path.out, 'utf8') : '');

    it('runs for a fork that fell between two brokers', async () => {
      await (await next(1)).broker.close();
      const machine = await next(2);
      await done(machine, 1, false);
      machine.kernel.announce({ kernelReseeded: true });
      await machine.broker.close();
      expect(ran()).toMatch(/^1 0\n/);
    });

    it('runs for a fork whose broker ended before the command was through', async () => {
      const machine = await start({ counterFile: path.page, command: 'exit 1' });
      machine.fork(2);
      await machine.vmgenid.settled();
      machine.kernel.announce({ kernelReseeded: true });
      await machine.broker.close();
      await done(await next(2), 1);
      expect(ran()).toBe('1 1\n');
    });

    it('does not run where there was no fork, or where it is through with it', async () => {
      await (await next(1)).broker.close();
      const machine = await next(1);
      machine.fork(2);
      machine.kernel.announce({ kernelReseeded: true });
      await done(machine, 2);
      await machine.broker.close();
      const before = ran();
      const after = await next(2);
      await after.broker.close();
      expect(after.events).toEqual([{ type: 'page', history: 'same', counter: 1 }]);
      expect([ran(), before.includes('1 1\n')]).toEqual([before, true]);
    });
  });
});

/** The command has succeeded for this epoch. */
const done = (machine: Machine, epoch: number, reseeded = true) =>
  vi.waitFor(() => expect(machine.events).toContainEqual({ type: 'commandDone', epoch, reseeded }), {
    timeout: 20_000,
  });

it('a fork while the fork before is being told is told after it, with a counter of its own', async () => {
  const machine = await start();
  const one = await client();
  let nested = false;
  machine.vmgenid.register('sessions', () => {
    if (nested) return;
    nested = true;
    machine.fork(3);
  });
  machine.fork(2);
  await one.line(/^fork 3/);
  expect(one.lines.filter(line => line.startsWith('fork')).map(line => line.split(' vmgenid')[0])).toEqual([
    'fork 2 counter 1',
    'fork 3 counter 2',
  ]);
});
