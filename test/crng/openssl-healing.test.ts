// OpenSSL seeded anew after a fork, with a generator in its place whose state can be cloned.

import crypto from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  flushOpenSslCaches,
  followOpenSslHealing,
  openSslHealing,
  type OpenSslHealing,
  type OpenSslSeeding,
} from 'wireonce/crng';
import { OpenSslMethod } from '../support/openssl-method.js';
import { hex, ID_A, ID_B, type Machine, machine, type MachineOptions, RepeatingEntropy } from './machine.js';

let openssl: OpenSslMethod;
const open: { close(): void }[] = [];
beforeEach(() => {
  openssl = new OpenSslMethod();
});
afterEach(() => {
  for (const it of open.splice(0)) it.close();
  openssl.restore();
});

interface Healed extends Machine {
  readonly healing: OpenSslHealing;
  readonly seedings: OpenSslSeeding[];
}

async function healed(options?: MachineOptions): Promise<Healed> {
  const made = await machine(options);
  const seedings: OpenSslSeeding[] = [];
  const { healing, reason } = openSslHealing({
    vmgenid: made.guard,
    crng: made.crng,
    entropy: made.entropy,
    onSeeded: seeding => seedings.push(seeding),
  });
  if (!healing) throw new Error(reason);
  open.push(healing);
  return { ...made, healing, seedings };
}

/** What a program draws from OpenSSL as it needs it. Draws that Node makes ahead have a test of their own. */
function drawAll(): string[] {
  const { publicKey } = crypto.generateKeyPairSync('x25519');
  return [
    hex(crypto.randomBytes(16)),
    hex(crypto.randomFillSync(new Uint8Array(16))),
    hex(crypto.getRandomValues(new Uint8Array(16))),
    crypto.randomUUID({ disableEntropyCache: true }),
    hex(crypto.generateKeySync('hmac', { length: 128 }).export()),
    hex(publicKey.export({ type: 'spki', format: 'der' })),
  ];
}

/** Two clones of the machine, one after the other: what they draw after `fork`. */
async function clones(fork: (machine: Machine, clone: number) => void, options?: MachineOptions) {
  const drawn: string[][] = [];
  for (const clone of [0, 1]) {
    openssl.state = new Uint8Array(32).fill(5);
    const { healing, ...rest } = await healed({ entropy: new RepeatingEntropy(7), ...options });
    openssl.state = new Uint8Array(32).fill(6);
    fork(rest, clone);
    drawn.push(drawAll());
    healing.close();
  }
  return drawn[0].filter(value => drawn[1].includes(value)).length;
}

describe('after a fork with a unique ID', () => {
  test('nothing that two clones draw from OpenSSL is alike, though the kernel repeats', async () => {
    expect(
      await clones(({ source, vmgenid }, clone) => {
        source.fork([ID_A, ID_B][clone]);
        vmgenid.check();
      }),
    ).toBe(0);
  });

  test('control: without the healing all of it is', async () => {
    const drawn = [ID_A, ID_B].map(() => {
      openssl.state = new Uint8Array(32).fill(6);
      return drawAll();
    });
    expect(drawn[0]).toEqual(drawn[1]);
  });

  test('what Node had drawn ahead is not handed out any more', async () => {
    crypto.randomUUID();
    crypto.randomInt(2);
    const { source, vmgenid } = await healed();
    flushOpenSslCaches();
    const before = openssl.given.length;
    source.fork(ID_A);
    vmgenid.check();
    const old = openssl.given.slice(0, before).map(bytes => Buffer.from(bytes));
    const fromBefore = (uuid: string) => {
      // Version and variant stand over six bits; 5 bytes in front of them are as they were drawn.
      const head = Buffer.from(uuid.replaceAll('-', '').slice(0, 10), 'hex');
      return old.some(bytes => bytes.includes(head));
    };
    expect(Array.from({ length: 300 }, () => crypto.randomUUID()).filter(fromBefore)).toEqual([]);
    const integers = Array.from({ length: 2_000 }, () => crypto.randomInt(2 ** 48 - 1));
    const integerFromBefore = (value: number) => {
      const bytes = Buffer.alloc(6);
      bytes.writeUIntBE(value, 0, 6);
      return old.some(piece => piece.includes(bytes));
    };
    expect(integers.filter(integerFromBefore)).toEqual([]);

    // Control: seeded alone, the caches go on.
    crypto.randomUUID();
    crypto.randomInt(2);
    old.push(...openssl.given.map(bytes => Buffer.from(bytes)));
    openssl.state = new Uint8Array(32).fill(9);
    expect(fromBefore(crypto.randomUUID())).toBe(true);
    expect(integerFromBefore(crypto.randomInt(2 ** 48 - 1))).toBe(true);
  });

  test('it is done before sessions and applications hear of the fork, after the Crng', async () => {
    const { source, guard, seedings, events } = await healed();
    const seen: string[] = [];
    guard.register('sessions', () => void seen.push(`sessions ${seedings.at(-1)?.epoch}`));
    guard.register('randomness', () => void seen.push(`first ${seedings.at(-1)?.epoch}`), {
      priority: 1_000,
    });
    source.fork(ID_A);
    guard.check();
    expect(seen).toEqual(['first 1', 'sessions 2']);
    expect(seedings).toEqual([
      { epoch: 1, parted: true },
      { epoch: 2, parted: true },
    ]);
    expect(events.some(({ type }) => type === 'reseeded')).toBe(true);
  });

  test('the ID is in what is seeded, and so are bytes of the kernel and of the Crng', async () => {
    const { source, guard } = await healed();
    source.fork(ID_A);
    guard.check();
    const [before, after] = openssl.seeds.slice(-2).map(seed => hex(seed));
    expect([before.length, after.length]).toEqual([160, 160]);
    expect(after.slice(0, 32)).toBe(hex(ID_A));
    for (const [from, to] of [
      [32, 96],
      [96, 160],
    ]) {
      expect(after.slice(from, to)).not.toMatch(/^0+$/);
      expect(after.slice(from, to)).not.toBe(before.slice(from, to));
    }
  });
});

describe('after a fork that a counter shows', () => {
  const counter: MachineOptions = { source: { uniqueness: 'counter' } };
  const fork = ({ source, vmgenid }: Machine) => {
    source.fork(new Uint8Array(16).fill(1, 0, 1));
    vmgenid.check();
  };

  test('it is seeded, but not parted; and once more when the kernel has reseeded', async () => {
    const it = await healed(counter);
    fork(it);
    expect(it.seedings.at(-1)).toEqual({ epoch: 2, parted: false });
    it.announcer.announce({ kernelReseeded: true });
    expect(it.seedings).toHaveLength(3);
    expect(it.seedings.at(-1)).toEqual({ epoch: 2, parted: true });
  });

  test('two clones then differ; control: before that word they do not', async () => {
    const kernels = [new RepeatingEntropy(1), new RepeatingEntropy(2)];
    const heard = (it: Machine, clone: number) => {
      fork(it);
      // What the kernel gives from its reseed on is different in the clones.
      const kernel = kernels[clone];
      it.entropy.read = into => kernel.read(into);
      it.announcer.announce({ kernelReseeded: true });
    };
    expect(await clones(heard, counter)).toBe(0);
    expect(await clones(fork, counter)).toBe(drawAll().length);
  });

  test('a hardware generator that answers later parts them too', async () => {
    const bytes = new RepeatingEntropy(4);
    let there = false;
    const hardware = {
      name: 'hardware',
      read: (into: Uint8Array) => {
        if (!there) return 0;
        bytes.read(into);
        return into.length;
      },
      close: () => {},
    };
    const it = await healed({ ...counter, crng: { hardware } });
    fork(it);
    expect(it.seedings.at(-1)?.parted).toBe(false);
    there = true;
    it.clock.ms += 100;
    it.crng.bytes(4);
    expect(it.seedings.at(-1)).toEqual({ epoch: 2, parted: true });
  });
});

test('other threads that follow flush their caches when OpenSSL was seeded', async () => {
  const it = await healed();
  const end = followOpenSslHealing();
  const blocks = () => openssl.given.filter(bytes => bytes.length === 2_048).length;
  it.healing.heal();
  const own = blocks();
  // This thread has flushed; as a follower it does so again, when its event loop turns.
  await vi.waitFor(() => expect(blocks()).toBe(own + 1));
  end();
  it.healing.heal();
  await new Promise(resolve => setTimeout(resolve, 50));
  expect(blocks()).toBe(own + 2);
});

test('closed, it hears of nothing more', async () => {
  const { healing, source, vmgenid, seedings } = await healed();
  healing.close();
  healing.close();
  source.fork(ID_A);
  vmgenid.check();
  expect(seedings).toHaveLength(1);
});

test('where OpenSSL cannot be reached, the reason is said', async () => {
  const { guard, crng, entropy } = await machine();
  for (const [koffi, reason] of [
    [{ reason: 'no koffi here' }, 'no koffi here'],
    [
      {
        koffi: {
          load: () => ({
            func: () => {
              throw new Error('no such symbol');
            },
          }),
        },
      },
      'this Node does not export the RAND_seed of OpenSSL',
    ],
  ] as const) {
    vi.resetModules();
    vi.doMock('../../native/koffi.js', () => ({ loadKoffi: () => koffi }));
    const { openSslHealing: bare } = await import('../../crng/openssl.js');
    vi.doUnmock('../../native/koffi.js');
    expect(bare({ vmgenid: guard, crng, entropy })).toEqual({ reason });
  }
});
