// A clone on the main thread: whom it asks, how often, and for which key; what it keeps, and for which generation.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Randomness } from '../../../../crng/randomness.js';
import { publicKeyOf } from '../../../../protocol/suite.js';
import { nobleSuite } from '../../../../protocol/suites/noble.js';
import { NO_EPOCH } from '../../../../vmgenid/generation.js';
import type { CloneSettings } from '../../../../tunnel/config/enrolment-config.js';
import type { ThreadDeviceEvent } from '../../../../tunnel/daemon/device-thread/messages.js';
import type { UapiPeerChange } from '../../../../tunnel/daemon/uapi/types.js';
import { Clone, type CloneEvent, type CloneOptions } from '../../../../tunnel/daemon/clone/clone.js';
import { readIdentity } from '../../../../tunnel/daemon/clone/identity-file.js';
import type { Enrolled, EnrolmentReport, ToldIdentity } from '../../../../tunnel/linux/enrolment.js';

const KEY = new Uint8Array(32).fill(1);
const LATER_KEY = new Uint8Array(32).fill(2);
const GENERATION = new Uint8Array(16).fill(7);
const PRIVATE_KEY = new Uint8Array(32).fill(0x48);
const ADDRESS = { ip: Uint8Array.of(10, 0, 0, 7), prefix: 24 };

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-clone-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A clone, the device that it tells, and the time that it waits. */
class World {
  /** All epochs but the last `drills` were begun by forks. */
  readonly machine = {
    epoch: 1,
    drills: 0,
    generation: GENERATION as Uint8Array | undefined,
    other: undefined as Uint8Array | undefined,
  };
  readonly events: CloneEvent[] = [];
  readonly told: { publicKey: Uint8Array; told: ToldIdentity }[] = [];
  readonly pauses: { ms: number; end: () => void }[] = [];
  readonly path = join(folder, 'identity');
  readonly program = join(folder, 'enroller');
  readonly clone: Clone;

  constructor(kind: 'derived' | 'exec' | 'hook', change: Partial<CloneOptions> = {}) {
    const { machine } = this;
    const vmgenid = {
      check: () => machine.epoch,
      get forkEpoch() {
        return machine.epoch - machine.drills;
      },
      get ids() {
        return [machine.generation, machine.other].filter(id => id !== undefined);
      },
    };
    this.clone = new Clone({
      settings: { role: 'clone', method: this.#method(kind), identityFile: this.path },
      secret: kind === 'derived' ? new Uint8Array(32).fill(3) : undefined,
      vmgenid,
      suite: nobleSuite,
      interfaceName: () => 'wg0',
      randomness: { isFresh: () => true, below: () => 50 } as Partial<Randomness> as Randomness,
      resolve: async () => [],
      after: (ms, end) => {
        const pause = { ms, end };
        this.pauses.push(pause);
        return () => this.pauses.splice(this.pauses.indexOf(pause), 1);
      },
      onEvent: event => this.events.push(event),
      ...change,
    });
  }

  #method(kind: 'derived' | 'exec' | 'hook'): CloneSettings['method'] {
    if (kind === 'derived')
      return { kind, secretFile: '/s', prefix: new Uint8Array(8).fill(0xfd), gateways: undefined };
    return kind === 'exec' ? { kind, program: this.program } : { kind };
  }

  attach(): void {
    this.clone.attach({
      tellIdentity: async (publicKey, told) => {
        this.told.push({ publicKey, told });
        return true;
      },
      setIdentity: async () => true,
    });
  }

  draws(publicKey: Uint8Array, epoch: number): void {
    this.clone.hear({ type: 'identityDrawn', publicKey, epoch });
  }

  prints(text: string): void {
    writeFileSync(this.program, `#!/bin/sh\n${text}\n`, { mode: 0o700 });
  }

  enrolled(change: Partial<Enrolled> = {}): void {
    const publicKey = publicKeyOf(nobleSuite, PRIVATE_KEY);
    const own = {
      privateKey: PRIVATE_KEY.slice(),
      publicKey,
      parent: KEY,
      since: 5,
      addresses: [ADDRESS],
      epoch: 1,
    };
    this.clone.enrolled({ ...own, ...change });
  }

  failures(): string[] {
    return this.events.filter(event => event.type === 'enrollerFailed').map(({ reason }) => reason);
  }

  async until(what: () => unknown): Promise<void> {
    while (!what()) await new Promise(resolve => setTimeout(resolve, 10));
  }
}

const report = (change: Partial<EnrolmentReport>): EnrolmentReport => ({
  stage: 'asking',
  addresses: [],
  since: undefined,
  parent: undefined,
  trouble: undefined,
  ...change,
});

describe('by a program', () => {
  it('asks again, later each time and by chance sooner than that, until there is an answer', async () => {
    const world = new World('exec');
    world.prints('exit 1');
    world.draws(KEY, 2);
    world.attach();
    for (let i = 1; i <= 9; i++) {
      await world.until(() => world.pauses.length > 0);
      expect(world.failures()).toHaveLength(i);
      if (i < 9) world.pauses.splice(0)[0].end();
    }
    const pauses = world.events.map(event => (event.type === 'enrollerFailed' ? event.againInMs : 0));
    expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60].map(s => s * 1_000));
    expect(world.clone.status(report({})).waitsFor).toBe(`${world.program}, which ended with status 1`);
    world.prints('printf "[Interface]\\nAddress = 10.0.0.7/24\\n"');
    world.pauses.splice(0)[0].end();
    await world.until(() => world.told.length > 0);
    expect(world.told).toEqual([{ publicKey: KEY, told: { addresses: [ADDRESS], peers: [] } }]);
  });

  it('asks sooner by chance, and where nothing parts it from its siblings not at all sooner', async () => {
    for (const [randomness, ms] of [
      [{ isFresh: () => true, below: (bound: number) => bound - 51 }, 500],
      [
        {
          isFresh: () => false,
          below: () => {
            throw new Error('not fresh');
          },
        },
        1_000,
      ],
    ] as const) {
      const world = new World('exec', { randomness: randomness as Partial<Randomness> as Randomness });
      world.prints('exit 1');
      world.draws(KEY, 2);
      world.attach();
      await world.until(() => world.pauses.length > 0);
      expect(world.pauses[0].ms).toBe(ms);
      world.clone.close();
      expect(world.pauses).toEqual([]);
    }
  });

  it('an answer for a key of before a fork is given to nobody', async () => {
    const world = new World('exec');
    world.attach();
    world.prints(`until [ -e ${folder}/go ]; do sleep 0.02; done; echo Address`);
    world.draws(KEY, 2);
    world.clone.hear({ type: 'vmFork', epoch: 3, policy: 'enrol', wipedKeypairs: 0, wipedHandshakes: 0 });
    world.prints('printf "[Interface]\\nAddress = 10.0.0.7/24\\n"');
    world.draws(LATER_KEY, 3);
    await world.until(() => world.told.length > 0);
    expect(world.told.map(({ publicKey }) => publicKey)).toEqual([LATER_KEY]);
    expect(world.failures()).toEqual([]);
  });

  it.each([
    ['nothing', '', /printed no identity: its output:1: Address: is missing/],
    ['a private key', 'printf "[Interface]\\nPrivateKey = x\\n"', /PrivateKey: is not for others to say/],
    [
      'a peer without a key',
      'printf "[Interface]\\nAddress = 10.0.0.7/24\\n[Peer]\\n"',
      /PublicKey: is missing/,
    ],
    [
      'a name that does not resolve',
      `printf "[Interface]\\nAddress = 10.0.0.7/24\\n[Peer]\\nPublicKey = ${Buffer.from(KEY).toString('base64')}\\nEndpoint = gate.example:1\\n"`,
      /no such host/,
    ],
  ])('%s is no answer', async (_, script, words) => {
    const resolve = async () => {
      throw new Error('no such host');
    };
    const world = new World('exec', { resolve });
    world.prints(script);
    world.draws(KEY, 2);
    world.attach();
    await world.until(() => world.failures().length > 0);
    expect(world.failures()[0]).toMatch(words);
    world.clone.close();
  });
});

describe('by the hook', () => {
  const told = () => ({ addresses: [ADDRESS], peers: [] });

  it.each(['before', 'after'])('what comes %s the key is drawn is for the key of its epoch', order => {
    const world = new World('hook');
    world.attach();
    const steps = [() => world.clone.bring(2, told()), () => world.draws(KEY, 2)];
    for (const step of order === 'before' ? steps : steps.toReversed()) step();
    expect(world.told).toEqual([{ publicKey: KEY, told: told() }]);
  });

  it('what the device cannot take ends nothing: another call may bring it', async () => {
    const world = new World('hook');
    const heard: ToldIdentity[] = [];
    world.clone.attach({
      tellIdentity: async (_, brought) => {
        heard.push(brought);
        throw new Error('the device thread has ended');
      },
      setIdentity: async () => true,
    });
    world.draws(KEY, 2);
    for (let calls = 1; calls <= 2; calls++) {
      world.clone.bring(2, told());
      // A rejection that nobody handles ends a process, and fails this run.
      await new Promise(resolve => setImmediate(resolve));
      expect(heard).toHaveLength(calls);
    }
  });

  it('and for none of another', () => {
    const world = new World('hook');
    world.attach();
    world.clone.bring(2, told());
    world.draws(LATER_KEY, 3);
    expect(world.told).toEqual([]);
  });

  it('a call that another has overtaken, as its names took long to be resolved, takes nothing from that one', () => {
    const world = new World('hook');
    world.attach();
    const [late, ours] = [told(), told()].map(each => ({
      ...each,
      peers: [{ publicKey: KEY, presharedKey: new Uint8Array(32).fill(9) } as UapiPeerChange],
    }));
    world.clone.bring(3, ours);
    world.clone.bring(2, late);
    expect(late.peers[0].presharedKey).toEqual(new Uint8Array(32));
    world.draws(LATER_KEY, 3);
    expect(world.told).toEqual([{ publicKey: LATER_KEY, told: ours }]);
  });

  it('what came for a fork before is erased at the next one', () => {
    const world = new World('hook');
    const presharedKey = new Uint8Array(32).fill(9);
    world.clone.bring(2, { ...told(), peers: [{ publicKey: KEY, presharedKey } as UapiPeerChange] });
    world.clone.hear({ type: 'vmFork', epoch: 2 } as ThreadDeviceEvent);
    expect(presharedKey).not.toEqual(new Uint8Array(32));
    world.clone.hear({ type: 'vmFork', epoch: 3 } as ThreadDeviceEvent);
    expect(presharedKey).toEqual(new Uint8Array(32));
  });

  it('word of an identity that a fork has ended is not what whoever waits is told', async () => {
    const world = new World('hook');
    const heard: number[] = [];
    const waiting = [2, 2, 3].map(async epoch => heard.push((await world.clone.enrolledIn(epoch)).epoch));
    for (const epoch of [1, 2, 3]) {
      world.enrolled({ epoch });
      await new Promise(resolve => setImmediate(resolve));
    }
    await Promise.all(waiting);
    expect(heard).toEqual([2, 2, 3]);
  });

  it('whoever waits for an identity of this epoch hears of one of it, or of a later one', async () => {
    const world = new World('hook');
    const waiting = world.clone.enrolledIn(1);
    world.enrolled();
    expect((await waiting).epoch).toBe(1);
    expect((await world.clone.enrolledIn(1)).epoch).toBe(1);
    const later = world.clone.enrolledIn(2);
    world.enrolled({ epoch: 3 });
    expect((await later).epoch).toBe(3);
  });
});

describe('what is kept', () => {
  it('is taken at the next start of this generation, and of no other', () => {
    new World('derived').enrolled();
    const { identity, derive, epoch } = new World('derived').clone.order();
    expect(identity).toMatchObject({ privateKey: PRIVATE_KEY, parent: KEY, since: 5 });
    expect([derive?.secret, epoch]).toEqual([new Uint8Array(32).fill(3), 1]);
    const other = new World('derived');
    other.machine.generation = new Uint8Array(16).fill(8);
    expect(other.clone.order().identity).toBeUndefined();
    expect(other.events).toEqual([
      { type: 'identityRefused', path: other.path, reason: expect.stringContaining('another generation') },
    ]);
  });

  it('is of no copy, whichever of two sources shows it', () => {
    const world = () => {
      const made = new World('derived');
      made.machine.other = new Uint8Array(16).fill(9);
      return made;
    };
    world().enrolled();
    expect(world().clone.order().identity).toMatchObject({ privateKey: PRIVATE_KEY });
    const copies = [world(), world()];
    copies[0].machine.generation = new Uint8Array(16).fill(8);
    copies[1].machine.other = new Uint8Array(16).fill(8);
    for (const { clone } of copies) expect(clone.order().identity).toBeUndefined();
  });

  it('leaves no key where it came in', () => {
    const world = new World('derived');
    const privateKey = PRIVATE_KEY.slice();
    const presharedKey = new Uint8Array(32).fill(4);
    const peer = {
      publicKey: KEY,
      presharedKey,
      remove: false,
      updateOnly: false,
      replaceAllowedIps: false,
      allowedIps: [],
    };
    world.enrolled({ privateKey, told: { addresses: [ADDRESS], peers: [peer] } });
    expect([...privateKey, ...presharedKey].some(byte => byte !== 0)).toBe(false);
    expect(readIdentity(world.path, nobleSuite)?.told?.peers[0].presharedKey).toEqual(
      new Uint8Array(32).fill(4),
    );
  });

  it('is nothing where no source tells the generation, and that is said', () => {
    const world = new World('derived');
    world.machine.generation = undefined;
    world.clone.order();
    world.enrolled();
    expect(existsSync(world.path)).toBe(false);
    expect(world.events[0]).toMatchObject({
      type: 'identityNotKept',
      reason: expect.stringContaining('no source'),
    });
  });

  it('goes with a fork, though the next start may show the same generation', () => {
    const world = new World('derived');
    world.enrolled();
    const fork = { epoch: 2, policy: 'enrol', wipedKeypairs: 0, wipedHandshakes: 0 } as const;
    writeFileSync(`${world.path}.new`, 'half of it');
    world.machine.epoch = 2;
    world.clone.hear({ type: 'vmFork', ...fork });
    expect(readdirSync(folder)).toEqual([]);
    expect(new World('derived').clone.order().identity).toBeUndefined();
    // Again, where there is none.
    world.clone.hear({ type: 'vmFork', ...fork, epoch: 3 });
    expect(world.events.filter(({ type }) => type === 'identityLeft')).toEqual([]);
  });

  it('that cannot be removed at a fork is told of', () => {
    mkdirSync(join(folder, 'identity', 'folder'), { recursive: true });
    const world = new World('derived');
    world.clone.hear({ type: 'vmFork', epoch: 2, policy: 'enrol', wipedKeypairs: 0, wipedHandshakes: 0 });
    expect(world.events).toEqual([
      { type: 'identityLeft', path: world.path, reason: expect.stringMatching(/EISDIR|directory/) },
    ]);
  });

  it.each([
    ['of the machine that this one was copied from', 2],
    ['that nothing vouches for', NO_EPOCH],
  ])('is no key %s', (_, epoch) => {
    const world = new World('derived');
    world.machine.epoch = epoch;
    world.enrolled({ epoch: 1 });
    expect(existsSync(world.path)).toBe(false);
  });

  it('stays what it is when a drill is held', () => {
    const world = new World('derived');
    world.machine.epoch = 2;
    world.machine.drills = 1;
    world.enrolled({ epoch: 1 });
    world.clone.hear({
      type: 'vmFork',
      epoch: 2,
      policy: 'wipe',
      isDrill: true,
      wipedKeypairs: 1,
      wipedHandshakes: 0,
    });
    expect(existsSync(world.path)).toBe(true);
  });

  it('(control: the key of now is)', () => {
    const world = new World('derived');
    world.enrolled({ epoch: 1 });
    expect(existsSync(world.path)).toBe(true);
  });

  it('cannot be kept in a place that is none: that is said, and ends nothing', () => {
    const world = new World('derived');
    writeFileSync(join(folder, 'file'), '');
    const clone = new World('derived', {
      settings: { role: 'clone', method: { kind: 'hook' }, identityFile: join(folder, 'file', 'identity') },
    });
    clone.enrolled();
    expect(clone.events.map(({ type }) => type)).toEqual(['identityNotKept', 'enrolled']);
    world.clone.close();
  });
});

it.each([
  ['drawing', undefined, 'random numbers that no other clone has'],
  ['addressing', 'an address, which cannot be set: EACCES', 'an address, which cannot be set: EACCES'],
  ['asking', undefined, "the hook's call"],
  ['enrolled', undefined, null],
  ['operator', undefined, null],
] as const)('says what it waits for: %s', (stage, trouble, words) => {
  const { clone } = new World('hook');
  const status = clone.status(report({ stage, trouble, addresses: [ADDRESS], since: 7, parent: KEY }));
  expect(status).toEqual({
    method: 'hook',
    stage,
    addresses: stage === 'enrolled' ? ['10.0.0.7/24'] : [],
    since: 7,
    parent: Buffer.from(KEY).toString('base64'),
    waitsFor: words,
  });
});
