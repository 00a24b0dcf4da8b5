// Waiting at the hook: `ready` is said of the epoch that holds, with all there, and of nothing before; else what is missing.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { VmGenId } from '../../vmgenid/driver.js';
import { HookSource, type HookSourceOptions } from '../../vmgenid/sources/hook.js';
import { type HookReport, ReadinessWatch } from '../../vmgenid/sources/hook-readiness.js';
import { MemorySource, type MemorySourceOptions } from '../../vmgenid/sources/memory.js';
import { SimulationRandom } from '../support/simulation-random.js';

const id = (n: number) =>
  new Uint8Array(16)
    .fill(n & 0xff, 0, 1)
    .fill(n >> 8, 1, 2)
    .fill(1, 15);
const all: Omit<HookReport, 'epoch'> = { says: {}, missing: [] };
let path: string;
let folder: string;
const open: VmGenId[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-hook-'));
  path = join(folder, 'hook.sock');
});
afterEach(async () => {
  await Promise.all(open.splice(0).map(vm => vm.close()));
  rmSync(folder, { recursive: true, force: true });
});

interface Reply {
  status: number;
  json: Record<string, unknown> & { missing?: string[]; error?: string; epoch?: number; ready?: boolean };
}

function call(query = '', { method = 'GET', body = '' } = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const out = request({ socketPath: path, method, path: `/fork${query}`, agent: false }, response => {
      const chunks: Buffer[] = [];
      response.on('data', chunk => chunks.push(chunk));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, json: JSON.parse(Buffer.concat(chunks).toString()) });
      });
    });
    out.on('error', reject);
    out.end(body);
  });
}

/** A machine whose page shows forks at once, with whoever reports behind its hook. */
async function machine(
  report?: (vm: VmGenId) => HookReport | Promise<HookReport>,
  options: HookSourceOptions = {},
  memory: MemorySourceOptions = {},
) {
  const page = new MemorySource(memory);
  const later: { vm?: VmGenId } = {};
  const hook = new HookSource(path, {
    ...options,
    ...(report && { report: () => report(later.vm as VmGenId) }),
  });
  const vm = new VmGenId([page, hook]);
  later.vm = vm;
  open.push(vm);
  await vm.start();
  return { vm, page };
}

describe('what the answer tells', () => {
  it('whatever the program says of itself, beside epoch and parted', async () => {
    await machine(vm => ({ epoch: vm.epoch, says: { peers: { called: 0, back: 0 } }, missing: [] }));
    expect(await call()).toEqual({
      status: 200,
      json: { epoch: 1, forkEpoch: 1, parted: true, ready: true, missing: [], peers: { called: 0, back: 0 } },
    });
  });

  it('who does not wait is told what is missing, by 200: that is no failure of the call', async () => {
    await machine(vm => ({ epoch: vm.epoch, says: {}, missing: ['peers'] }));
    expect(await call()).toMatchObject({ status: 200, json: { ready: false, missing: ['peers'] } });
  });

  it('what parts this clone and is known to the program alone, of this epoch and of no older', async () => {
    const { page } = await machine(
      vm => ({ epoch: Math.min(vm.epoch, 3), parted: vm.epoch > 2, says: {}, missing: [] }),
      {},
      { uniqueness: 'counter' },
    );
    page.fork(id(1));
    expect((await call()).json).toMatchObject({ epoch: 2, parted: false, ready: false, missing: ['parted'] });
    page.fork(id(2));
    expect((await call()).json).toMatchObject({ epoch: 3, parted: true, ready: true, missing: [] });
    page.fork(id(3));
    expect((await call()).json).toMatchObject({ epoch: 4, parted: false, missing: ['parted', 'device'] });
  });

  it('a report that fails, or never comes, is missing', async () => {
    await machine(() => Promise.reject(new Error('gone')));
    expect(await call()).toMatchObject({ status: 200, json: { ready: false, missing: ['device'] } });
    await open.splice(0)[0].close();
    await machine(() => new Promise(() => {}));
    expect(await call('?wait=50ms')).toMatchObject({ status: 504, json: { missing: ['device'] } });
  });
});

// Where the answer comes at the deadline, that is far enough for many looks on any machine.
describe('waiting', () => {
  it('is answered early, when all is there', async () => {
    let looks = 0;
    await machine(vm => ({ epoch: vm.epoch, says: { looks }, missing: ++looks < 4 ? ['peers'] : [] }));
    const reply = await call('?wait=60s');
    expect([reply.status, reply.json.ready, looks]).toEqual([200, true, 4]);
  });

  it('ends at the deadline with 504, and with what is there and what is not', async () => {
    await machine(vm => ({
      epoch: vm.epoch,
      says: { peers: { called: 2, back: 1 } },
      missing: ['peers'],
    }));
    expect(await call('?wait=2s')).toEqual({
      status: 504,
      json: {
        error: 'not ready: peers',
        epoch: 1,
        forkEpoch: 1,
        parted: true,
        ready: false,
        missing: ['peers'],
        peers: { called: 2, back: 1 },
      },
    });
  });

  it('for a fork that has not been seen yet, ends with its epoch', async () => {
    const { page } = await machine(vm => ({ ...all, epoch: vm.epoch }));
    expect(await call('?wait=2s&after=1')).toMatchObject({
      status: 504,
      json: { epoch: 1, missing: ['fork'] },
    });
    const waiting = call('?wait=60s&after=1');
    page.fork(id(1));
    expect(await waiting).toMatchObject({ status: 200, json: { epoch: 2, ready: true } });
  });

  it('for a fork is not answered by a drill, which begins an epoch too', async () => {
    const looks: number[] = [];
    const { vm, page } = await machine(({ epoch }) => {
      // The call waits already.
      if (looks.push(epoch) === 1) vm.drill();
      return { ...all, epoch };
    });
    expect(await call('?wait=2s&after=1')).toMatchObject({
      status: 504,
      json: { error: 'not ready: fork', epoch: 2, forkEpoch: 1, ready: false, missing: ['fork'] },
    });
    expect(looks.slice(0, 2)).toEqual([1, 2]);
    // Who waits for no fork is told of the drill.
    expect(await call('?wait=60s')).toMatchObject({ status: 200, json: { epoch: 2, ready: true } });
    page.fork(id(1));
    expect(await call('?wait=60s&after=1')).toMatchObject({ status: 200, json: { epoch: 3, forkEpoch: 3 } });
  });

  it('of a call that announces its fork is for that one', async () => {
    let back = 0;
    await machine(vm => ({
      epoch: vm.epoch,
      says: {},
      missing: vm.epoch === 2 && ++back < 3 ? ['peers'] : [],
    }));
    const body = JSON.stringify({ vmGenId: '00112233-4455-6677-8899-aabbccddeeff' });
    const reply = await call('?wait=60s', { method: 'POST', body });
    expect([reply.status, reply.json.epoch, reply.json.ready, back]).toEqual([200, 2, true, 3]);
  });

  it('that another fork overtakes is for the later one', async () => {
    const reported: number[] = [];
    const { page, vm } = await machine(async ({ epoch }) => {
      reported.push(epoch);
      // The first report is true when it is made, and old news when it arrives.
      if (reported.length === 1) page.fork(id(7));
      return { ...all, epoch };
    });
    const reply = await call('?wait=60s');
    expect([reply.status, reply.json.epoch, vm.epoch]).toEqual([200, 2, 2]);
    expect(reported).toEqual([1, 2]);
  });

  it('covers subscribers that have not finished', async () => {
    const { vm, page } = await machine(({ epoch }) => ({ ...all, epoch }));
    let release = () => {};
    vm.register('application', () => new Promise<void>(resolve => (release = resolve)));
    page.fork(id(1));
    expect(await call('?wait=2s')).toMatchObject({
      status: 504,
      json: { epoch: 2, missing: ['subscribers'] },
    });
    release();
    expect(await call('?wait=60s')).toMatchObject({ status: 200, json: { epoch: 2, ready: true } });
  });

  it('is bounded: of very many the rest is told so at once, and all of them get an answer', async () => {
    let missing = ['peers'];
    await machine(vm => ({ epoch: vm.epoch, says: {}, missing }));
    const answered: number[] = [];
    const calls = Array.from({ length: 80 }, async () => answered.push((await call('?wait=60s')).status));
    await vi.waitFor(() => expect(answered).toHaveLength(16), { timeout: 20_000 });
    missing = [];
    await Promise.all(calls);
    expect(answered).toEqual([...Array(16).fill(503), ...Array(64).fill(200)]);
  });

  it('ends when its caller hangs up, who takes nobody a place from then on', async () => {
    let looks = 0;
    let missing = ['peers'];
    await machine(vm => {
      looks++;
      return { epoch: vm.epoch, says: {}, missing };
    });
    const callers = Array.from({ length: 65 }, () => connect(path));
    for (const caller of callers) caller.write('GET /fork?wait=60s HTTP/1.1\r\nHost: clone\r\n\r\n');
    // One finds no place: the others have theirs.
    await Promise.race(callers.map(caller => once(caller, 'data')));
    expect((await call('?wait=1ms')).status).toBe(503);
    for (const caller of callers) caller.destroy();
    await vi.waitFor(async () => expect((await call('?wait=1ms')).status).toBe(504), { timeout: 20_000 });
    // Nobody waits: nobody looks.
    await vi.waitFor(
      async () => {
        const before = looks;
        await sleep(100);
        expect(looks).toBe(before);
      },
      { timeout: 20_000 },
    );
    missing = [];
    expect(await call('?wait=60s')).toMatchObject({ status: 200, json: { ready: true } });
  });

  it('has no place for a call that brings an identity: its fork is heard, and the identity taken', async () => {
    let missing = ['peers'];
    const taken: unknown[] = [];
    const { vm } = await machine(({ epoch }) => ({ epoch, says: {}, missing }), {
      enrol: given => async epoch => {
        taken.push([given, epoch]);
        return {};
      },
    });
    const waiting = Array.from({ length: 64 }, () => call('?wait=60s'));
    await vi.waitFor(async () => expect((await call('?wait=1ms')).status).toBe(503), { timeout: 20_000 });
    const heard = await call('', { method: 'POST', body: '{"identity":{"address":"192.0.2.7"}}' });
    expect(heard).toEqual({
      status: 504,
      json: { error: 'as many wait as may; sessions are wiped', epoch: 2 },
    });
    expect([vm.epoch, taken]).toEqual([2, [[{ address: '192.0.2.7' }, 2]]]);
    missing = [];
    await Promise.all(waiting);
  });

  it('for an identity that cannot be had ends at once, with the reason', async () => {
    await machine(({ epoch }) => ({ epoch, says: {}, missing: [] }), {
      enrol: () => async () => {
        throw new Error('no such host: gate.example');
      },
    });
    const { status, json } = await call('?wait=60s', { method: 'POST', body: '{"identity":{}}' });
    expect([status, json.epoch]).toEqual([504, 2]);
    expect(json.error).toBe('the device is not enrolled: no such host: gate.example; sessions are wiped');
  });

  it('of a call that brought an identity ends without it when another fork has taken that', async () => {
    const later: { page?: MemorySource } = {};
    const { page } = await machine(
      ({ epoch }) => ({ epoch, says: { publicKey: `key of epoch ${epoch}` }, missing: [] }),
      {
        enrol: () => async epoch => {
          // Enrolled, and forked before the answer is written.
          if (epoch === 2) later.page?.fork(id(9));
          return { publicKey: `key of epoch ${epoch}`, addresses: [`192.0.2.${epoch}`] };
        },
      },
    );
    later.page = page;
    const body = JSON.stringify({ vmGenId: '00112233-4455-6677-8899-aabbccddeeff', identity: {} });
    const overtaken = await call('?wait=60s', { method: 'POST', body });
    expect(overtaken.json).toMatchObject({ epoch: 3, publicKey: 'key of epoch 3' });
    expect(overtaken.json).not.toHaveProperty('addresses');
  });

  it.each([
    '?wait=',
    '?wait=2',
    '?wait=-1s',
    '?wait=61s',
    '?wait=2m',
    '?wait=1e1s',
    '?later=1',
    '?after=1',
    '?wait=1s&after=x',
    '?wait=1s&after=-1',
    '?wait=1s&after=NaN',
    '?wait=1s&after=1e3',
    `?wait=1s&after=${2 ** 53}`,
    '?wait=1s&wait=60s',
    '?wait=1s&after=1&after=2',
    '?wait=1s?after=1',
    '?wait=NaN',
    '?wait=99999s',
  ])('refuses %s with the reason', async query => {
    await machine();
    const { status, json } = await call(query);
    expect(status).toBe(400);
    expect(json.error).toMatch(/^("?wait|"?after|unknown parameter)/);
  });
});

/*
 * A machine in which everything takes its time: forks and drills come when they like, each part of the program hears of them
 * later and comes back later still, and reports travel. What is true at the instant of an answer is known to the test alone.
 */
type Control = 'without waiting' | 'without the last look' | 'with a drill for a fork';

class SlowProgram {
  readonly page = new MemorySource();
  readonly vm = new VmGenId([this.page]);
  readonly #random: SimulationRandom;
  readonly #watch: Pick<ReadinessWatch, 'wait'>;
  #forks = 0;
  /** Of the device: the epoch it has responded to, and whether its peers are back in it. */
  #device = { epoch: 1, isBack: true };
  #over = false;

  constructor(seed: number, control?: Control) {
    this.#random = new SimulationRandom(seed);
    this.vm.register('application', async ({ epoch }) => {
      await this.#sometime(3);
      this.#device = { epoch, isBack: false };
      await this.#sometime(6);
      if (this.#device.epoch === epoch) this.#device.isBack = true;
    });
    const report = async () => {
      await this.#sometime(2);
      const { epoch, isBack } = this.#device;
      const made = { epoch, says: {}, missing: isBack ? [] : ['peers'] };
      await this.#sometime(2);
      return made;
    };
    if (control === 'without waiting') {
      this.#watch = {
        wait: async () => ({ ...(await report()), forkEpoch: this.vm.forkEpoch, parted: true, ready: true }),
      };
      return;
    }
    const look = control === 'without the last look' ? () => this.#device.epoch : () => this.vm.poll();
    this.#watch = new ReadinessWatch(
      {
        look: () => {
          const epoch = look();
          const forkEpoch = control === 'with a drill for a fork' ? epoch : this.vm.forkEpoch;
          return { epoch, forkEpoch, parted: true };
        },
        // Whoever is behind the hook responds in its own time: what counts is what it reports.
        settled: async () => {},
      },
      report,
    );
  }

  /** The answers that were wrong when they were given, of all that said `ready`. */
  async run(calls: number): Promise<{ ready: number; wrong: number }> {
    await this.vm.start();
    const happening = this.#happenNowAndThen();
    let ready = 0;
    let wrong = 0;
    for (let i = 0; i < calls; i++) {
      // Every other call waits for a fork that is still to come.
      const after = i % 2 === 0 ? undefined : this.vm.poll();
      const before = this.#forks;
      const answer = await this.#watch.wait(10_000, after);
      if (!answer.ready) continue;
      ready++;
      const { epoch, isBack } = this.#device;
      // The page itself, which nobody has looked at since: the fork that it shows by now counts.
      const truth = this.vm.poll();
      const isAfter = after === undefined || this.#forks > before;
      if (answer.epoch !== truth || epoch !== truth || !isBack || !isAfter) wrong++;
      await this.#sometime(4);
    }
    this.#over = true;
    await happening;
    await this.vm.close();
    return { ready, wrong };
  }

  async #happenNowAndThen(): Promise<void> {
    while (!this.#over) {
      await this.#sometime(50);
      if (this.#random.next() < 0.3) this.vm.drill();
      else this.page.fork(id(++this.#forks));
    }
  }

  #sometime(atMostMs: number): Promise<void> {
    const ms = this.#random.next() * atMostMs;
    return new Promise(resolve => (ms < 0.5 ? setImmediate(resolve) : setTimeout(resolve, ms)));
  }
}

/** On a clock that moves from one timer to the next: how fast this machine is makes no difference. */
async function history(seed: number, control?: Control): Promise<{ ready: number; wrong: number }> {
  vi.useFakeTimers({ loopLimit: 1_000_000 });
  try {
    const run = new SlowProgram(seed, control).run(CALLS);
    await vi.runAllTimersAsync();
    return await run;
  } finally {
    vi.useRealTimers();
  }
}

const CALLS = 40;

describe('in histories of forks and drills that come while it waits', () => {
  it.each([1, 2, 3])(
    'says ready of nothing but the epoch that holds, with all of it there: seed %d',
    async seed => {
      expect(await history(seed)).toEqual({ ready: CALLS, wrong: 0 });
    },
  );

  it.each(['without waiting', 'without the last look', 'with a drill for a fork'] as const)(
    'control: %s it says so of an epoch that is over, before the peers are back, or without a fork',
    async control => {
      let harm = 0;
      for (let seed = 1; seed <= 3; seed++) harm += (await history(seed, control)).wrong;
      expect(harm).toBeGreaterThan(0);
    },
  );
});
