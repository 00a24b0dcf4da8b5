// A clone comes to a key and an address of its own, over a fake kernel: in one turn where all is derived, and told the rest
// where it is not; what `wg` sets meanwhile, and what fails, changes no more than it may.
// Read on: tunnel/linux/enrolment.ts; test/system/daemon/enrolment.test.ts (a real kernel and daemons).

import { describe, expect, it } from 'vitest';
import { deriveAddress, derivePresharedKey } from '../../../gateway/index.js';
import { publicKeyOf } from '../../../protocol/suite.js';
import { nobleSuite } from '../../../protocol/suites/noble.js';
import { EACCES } from '../../../tunnel/linux/errno.js';
import type { Enrolled, EnrolmentOrder } from '../../../tunnel/linux/enrolment.js';
import { LOOK_EVERY_MS } from '../../../tunnel/linux/net/link-monitor.js';
import type { UapiPeerChange } from '../../../tunnel/daemon/uapi/types.js';
import type { LoopMachine } from '../../support/loop-machine.js';
import { LoopNetwork, type LoopOverrides } from '../../support/loop-network.js';
import { closeAll } from '../../support/loop-story.js';

const SECRET = new Uint8Array(32).fill(0x77);
const PREFIX = Uint8Array.of(0xfd, 0x5e, 0x7c, 0x1a, 0x9b, 0x2d, 0, 0);
const PARENT = Uint8Array.of(0xfd, 0x5e, 0x7c, 0x1a, 0x9b, 0x2d, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8);
const LINK_LOCAL = Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8);
const ZEROS = new Uint8Array(32);
const KEYS = [0x40, 0x41, 0x42].map(byte => publicKeyOf(nobleSuite, new Uint8Array(32).fill(byte)));

function order(change: Partial<EnrolmentOrder> = {}): EnrolmentOrder {
  return { derive: { secret: SECRET.slice(), prefix: PREFIX, gateways: undefined }, epoch: 1, ...change };
}

interface World {
  readonly network: LoopNetwork;
  readonly machine: LoopMachine;
  /** Of the machine, and of each clone of it in turn. */
  readonly enrolled: Enrolled[];
  readonly troubles: string[];
}

/** Two machines that know each other. The first has a key that `wg` has set, and enrols then. */
function world(given: () => EnrolmentOrder = order, overrides: LoopOverrides = {}): World {
  const network = new LoopNetwork(nobleSuite);
  const enrolled: Enrolled[] = [];
  const troubles: string[] = [];
  const loop = {
    settings: { forkPolicy: 'enrol' } as const,
    looksAtGuard: true,
    onEnrolled: (event: Enrolled) => enrolled.push(event),
    onTrouble: (error: Error) => troubles.push(error.message),
  };
  const [machine] = network.addMachines(2, { loop, ...overrides });
  machine.run(each => each.loop.enrol(given()));
  machine.run(each => each.turn());
  return { network, machine, enrolled, troubles };
}

/** A clone, which has not looked yet. Its parent's events are forgotten. */
function fork(
  { machine, enrolled, troubles, network }: World,
  prepare: (clone: LoopMachine) => void = () => {},
): LoopMachine {
  const clone = machine.restore(machine.snapshot(), 'clone');
  enrolled.length = troubles.length = network.inFlight.length = 0;
  clone.run(prepare);
  return clone;
}

const addressesOf = ({ kernel }: LoopMachine) => kernel.tun?.addresses.map(({ ip }) => [...ip]) ?? [];
const keyOf = ({ loop }: LoopMachine) => loop.device.publicKey as Uint8Array;
const derived = (publicKey: Uint8Array) => [...deriveAddress(PREFIX, publicKey)];
const presharedKeys = ({ loop }: LoopMachine) =>
  new Map(loop.get().peers.map(({ publicKey, presharedKey }) => [publicKey.join(), [...presharedKey]]));
const expectedPsk = (machine: LoopMachine, peer: Uint8Array) => [
  ...derivePresharedKey(SECRET, peer, keyOf(machine)),
];

function change(publicKey: Uint8Array, more: Partial<UapiPeerChange> = {}): UapiPeerChange {
  return { publicKey, remove: false, updateOnly: false, replaceAllowedIps: false, allowedIps: [], ...more };
}

describe('a clone', () => {
  it('has a key, an address and preshared keys of its own in the turn in which it sees the fork, and calls its peers', () => {
    const made = world();
    const parentKey = keyOf(made.machine);
    made.machine.run(({ kernel }) => {
      kernel.tun?.addresses.push(
        { ip: PARENT, prefix: 64, scope: 0 },
        { ip: LINK_LOCAL, prefix: 64, scope: 253 },
      );
      kernel.tun?.addresses.push({ ip: Uint8Array.of(10, 9, 8, 7), prefix: 24, scope: 0 });
    });
    const clone = fork(made);
    clone.run(each => each.loop.check());
    clone.turn();
    expect(keyOf(clone)).not.toEqual(parentKey);
    expect(addressesOf(clone)).toEqual([[...LINK_LOCAL], derived(keyOf(clone))]);
    expect(presharedKeys(clone).get(KEYS[1].join())).toEqual(expectedPsk(clone, KEYS[1]));
    expect(made.network.inFlight.length).toBeGreaterThan(0);
    expect(made.enrolled).toEqual([
      expect.objectContaining({
        publicKey: keyOf(clone),
        parent: parentKey,
        epoch: 2,
        privateKey: clone.loop.get().privateKey,
      }),
    ]);
    expect(clone.loop.report().enrolment).toMatchObject({
      stage: 'enrolled',
      parent: parentKey,
      trouble: undefined,
    });
    closeAll(made.network);
    clone.close();
  });

  it('has its new address before any old one goes', () => {
    const made = world();
    made.machine.run(({ kernel }) => kernel.tun?.addresses.push({ ip: PARENT, prefix: 64, scope: 0 }));
    const left: number[] = [];
    const clone = fork(made, ({ kernel }) => {
      const { addresses } = kernel.tun as NonNullable<typeof kernel.tun>;
      const splice = addresses.splice.bind(addresses);
      addresses.splice = (...at: [number, number]) => {
        const gone = splice(...at);
        left.push(addresses.length);
        return gone;
      };
    });
    clone.run(each => each.loop.check());
    clone.turn();
    // The parent's derived one, and the one that it was given.
    expect(left).toHaveLength(2);
    expect(Math.min(...left)).toBeGreaterThan(0);
    closeAll(made.network);
    clone.close();
  });

  it('is about to speak, in that epoch, before the first datagram is handed to whoever waits for that', () => {
    const network = new LoopNetwork(nobleSuite);
    const said: unknown[] = [];
    const [machine] = network.addMachines(3, {
      loop: {
        settings: { forkPolicy: 'enrol' },
        onSpeaking: epoch => said.push(epoch),
        // Peer 2 is reached by a relay.
        onRelay: () => said.push('datagram') > 0,
      },
    });
    // Under the key that `wg` has set.
    said.length = 0;
    machine.run(each => each.loop.enrol(order()));
    machine.run(each => each.turn());
    expect(said).toEqual([1, 'datagram']);
    closeAll(network);
  });

  it('says nothing while its address cannot be set, and enrols when it can', () => {
    const made = world();
    const clone = fork(made, ({ kernel }) =>
      kernel.fail({ call: 'netlink newAddress', errno: EACCES, after: 0, times: 3 }),
    );
    clone.run(each => each.loop.check());
    clone.turn();
    expect(clone.loop.device.held).toBe(true);
    expect(clone.loop.report().enrolment).toMatchObject({
      stage: 'addressing',
      trouble: expect.stringContaining('EACCES'),
    });
    clone.run(each => each.runFor(1.5 * LOOK_EVERY_MS));
    expect([made.network.inFlight.length, made.enrolled.length]).toEqual([0, 0]);
    // The same reason is told once.
    expect(made.troubles).toEqual([expect.stringContaining('EACCES')]);
    clone.run(each => each.runFor(2 * LOOK_EVERY_MS));
    expect(made.enrolled).toHaveLength(1);
    expect(addressesOf(clone)).toEqual([derived(keyOf(clone))]);
    expect(made.network.inFlight.length).toBeGreaterThan(0);
    closeAll(made.network);
    clone.close();
  });

  it('(control: one that does not wait for its address calls its peers without one)', () => {
    const made = world();
    const clone = fork(made, ({ kernel }) =>
      kernel.fail({ call: 'netlink newAddress', errno: EACCES, after: 0, times: 99 }),
    );
    clone.run(each => each.loop.check());
    clone.turn();
    clone.run(each => each.loop.device.completeEnrolment(keyOf(each)));
    clone.turn();
    expect(made.network.inFlight.length).toBeGreaterThan(0);
    closeAll(made.network);
    clone.close();
  });

  it('says nothing while its interface lies in another namespace', () => {
    const made = world();
    const clone = fork(made, ({ kernel }) => kernel.changeLink(tun => (tun.namespace = 2)));
    clone.run(each => each.runFor(3 * LOOK_EVERY_MS));
    expect([made.network.inFlight.length, made.enrolled.length]).toEqual([0, 0]);
    expect(made.troubles).toEqual([expect.stringContaining('another network namespace')]);
    closeAll(made.network);
    clone.close();
  });

  it('gets its address again when the interface was down', () => {
    const made = world();
    const { machine } = made;
    machine.run(({ kernel }) => kernel.changeLink(tun => (tun.up = false)));
    machine.run(each => each.turn());
    machine.run(({ kernel }) => {
      kernel.tun?.addresses.splice(0);
      kernel.changeLink(tun => (tun.up = true));
    });
    machine.run(each => each.turn());
    expect(addressesOf(machine)).toEqual([derived(keyOf(machine))]);
    closeAll(made.network);
  });

  it('tries again where that fails, and goes on meanwhile', () => {
    const made = world();
    const { machine } = made;
    machine.run(({ kernel }) => kernel.changeLink(tun => (tun.up = false)));
    machine.run(each => each.turn());
    machine.run(({ kernel }) => {
      kernel.tun?.addresses.splice(0);
      kernel.fail({ call: 'netlink newAddress', errno: EACCES, after: 0, times: 2 });
      kernel.changeLink(tun => (tun.up = true));
    });
    machine.run(each => each.turn());
    expect([addressesOf(machine), machine.loop.device.held]).toEqual([[], false]);
    expect(made.troubles).toEqual([
      expect.stringMatching(/^the clone lacks an address, which cannot be set: .*EACCES/),
    ]);
    machine.run(each => each.runFor(3 * LOOK_EVERY_MS));
    expect(addressesOf(machine)).toEqual([derived(keyOf(machine))]);
    expect(machine.loop.report().enrolment).toMatchObject({ stage: 'enrolled', trouble: undefined });
    closeAll(made.network);
  });

  it('takes an identity that was kept, in the epoch that it is of', () => {
    const privateKey = new Uint8Array(32).fill(0x48);
    const parent = new Uint8Array(32).fill(5);
    const kept = (epoch: number) => () =>
      order({ epoch, identity: { privateKey: privateKey.slice(), parent, since: 1_234, told: undefined } });
    const made = world(kept(1));
    const key = publicKeyOf(nobleSuite, privateKey);
    expect(keyOf(made.machine)).toEqual(key);
    expect(addressesOf(made.machine)).toEqual([derived(key)]);
    // It is kept already.
    expect(made.enrolled).toEqual([
      { publicKey: key, parent, since: 1_234, addresses: expect.anything(), epoch: 1 },
    ]);
    closeAll(made.network);
    const other = world(kept(7));
    expect(keyOf(other.machine)).not.toEqual(key);
    expect(other.enrolled).toEqual([expect.objectContaining({ privateKey: expect.any(Uint8Array) })]);
    closeAll(other.network);
  });

  it('gives no preshared key to a peer that is none of the gateways', () => {
    const made = world(() =>
      order({ derive: { secret: SECRET.slice(), prefix: PREFIX, gateways: [KEYS[2]] } }),
    );
    expect(presharedKeys(made.machine).get(KEYS[1].join())).toEqual([...ZEROS]);
    closeAll(made.network);
  });
});

describe('what wg sets', () => {
  it('as a file without a key and with new peers leaves the identity, and the peers have their preshared keys', () => {
    const made = world();
    const { machine } = made;
    const key = keyOf(machine);
    machine.run(({ loop }) =>
      loop.set({
        privateKey: ZEROS,
        replacePeers: true,
        peers: [change(KEYS[1], { presharedKey: ZEROS }), change(KEYS[2])],
      }),
    );
    expect(keyOf(machine)).toEqual(key);
    for (const peer of [KEYS[1], KEYS[2]])
      expect(presharedKeys(machine).get(peer.join())).toEqual(expectedPsk(machine, peer));
    closeAll(made.network);
  });

  it('as a preshared key is that peer’s, after a fork too, until it is taken away', () => {
    const made = world();
    const own = new Uint8Array(32).fill(0x99);
    made.machine.run(({ loop }) =>
      loop.set({ replacePeers: false, peers: [change(KEYS[1], { presharedKey: own.slice() })] }),
    );
    const clone = fork(made);
    clone.run(each => each.loop.check());
    clone.turn();
    expect(presharedKeys(clone).get(KEYS[1].join())).toEqual([...own]);
    clone.run(({ loop }) =>
      loop.set({ replacePeers: false, peers: [change(KEYS[1], { presharedKey: ZEROS })] }),
    );
    expect(presharedKeys(clone).get(KEYS[1].join())).toEqual(expectedPsk(clone, KEYS[1]));
    closeAll(made.network);
    clone.close();
  });

  it('as a private key takes the place of ours, with nothing of it left; without one another is drawn', () => {
    const made = world();
    const { machine } = made;
    const first = keyOf(machine);
    const privateKey = new Uint8Array(32).fill(0x50);
    machine.run(({ loop }) => loop.set({ privateKey: privateKey.slice(), replacePeers: false, peers: [] }));
    expect(keyOf(machine)).toEqual(publicKeyOf(nobleSuite, privateKey));
    expect(presharedKeys(machine).get(KEYS[1].join())).toEqual([...ZEROS]);
    expect(addressesOf(machine)).toEqual([]);
    expect(machine.loop.report().enrolment?.stage).toBe('operator');
    // Its parent is that key, when it is cloned.
    const clone = fork(made);
    clone.run(each => each.loop.check());
    clone.turn();
    expect(made.enrolled).toEqual([expect.objectContaining({ parent: publicKeyOf(nobleSuite, privateKey) })]);
    clone.close();
    machine.run(({ loop }) => loop.set({ privateKey: ZEROS, replacePeers: false, peers: [] }));
    machine.run(each => each.turn());
    expect(machine.loop.report().enrolment?.stage).toBe('enrolled');
    expect(keyOf(machine)).not.toEqual(first);
    closeAll(made.network);
  });

  it('as the key that is ours already changes nothing', () => {
    const made = world();
    const { machine } = made;
    const privateKey = machine.loop.get().privateKey as Uint8Array;
    machine.run(({ loop }) => loop.set({ privateKey: privateKey.slice(), replacePeers: false, peers: [] }));
    expect(machine.loop.report().enrolment?.stage).toBe('enrolled');
    expect(addressesOf(machine)).toEqual([derived(keyOf(machine))]);
    closeAll(made.network);
  });
});

it('a key that waits for the rest is not spoken under because wg sets what it has shown', () => {
  const made = world(() => order({ derive: undefined }));
  const { machine, network } = made;
  const privateKey = machine.loop.get().privateKey as Uint8Array;
  network.inFlight.length = 0;
  machine.run(({ loop }) => loop.set({ privateKey: privateKey.slice(), replacePeers: false, peers: [] }));
  machine.run(each => each.turn());
  expect([machine.loop.report().enrolment?.stage, machine.loop.device.held]).toEqual(['asking', true]);
  expect(network.inFlight).toEqual([]);
  closeAll(network);
});

describe('a clone that is told the rest', () => {
  const PSK = new Uint8Array(32).fill(0x66);
  const told = (byte: number) => ({
    addresses: [{ ip: Uint8Array.of(10, 1, 0, byte), prefix: 24 }],
    peers: [change(KEYS[2], { presharedKey: PSK.slice() })],
  });
  const asking = () => world(() => order({ derive: undefined }));

  it('is silent until then, and takes it for the key that it has drawn and for no other', () => {
    const made = asking();
    const { machine, network } = made;
    expect(machine.loop.report().enrolment?.stage).toBe('asking');
    network.inFlight.length = 0;
    let isTaken = true;
    machine.run(({ loop }) => (isTaken = loop.tellIdentity(KEYS[0], told(1), new Map())));
    expect([isTaken, network.inFlight.length, machine.loop.device.held]).toEqual([false, 0, true]);
    machine.run(each => (isTaken = each.loop.tellIdentity(keyOf(each), told(2), new Map())));
    machine.run(each => each.turn());
    expect(isTaken).toBe(true);
    expect(addressesOf(machine)).toEqual([[10, 1, 0, 2]]);
    expect(presharedKeys(machine).get(KEYS[2].join())).toEqual([...PSK]);
    expect(network.inFlight.length).toBeGreaterThan(0);
    expect(made.enrolled).toEqual([
      expect.objectContaining({ told: expect.objectContaining({ peers: told(2).peers }) }),
    ]);
    closeAll(network);
  });

  it('keeps it when wg sets other peers, and loses it with a fork, peers and all', () => {
    const made = asking();
    made.machine.run(each => each.loop.tellIdentity(keyOf(each), told(2), new Map()));
    made.machine.run(({ loop }) =>
      loop.set({ replacePeers: true, peers: [change(KEYS[1], { presharedKey: ZEROS })] }),
    );
    expect(presharedKeys(made.machine).get(KEYS[2].join())).toEqual([...PSK]);
    const clone = fork(made);
    clone.run(each => each.loop.check());
    clone.turn();
    // It came with the identity that is gone; the other one is the operator's.
    expect([...presharedKeys(clone).keys()]).toEqual([KEYS[1].join()]);
    expect(clone.loop.report().enrolment).toMatchObject({ stage: 'asking', addresses: [] });
    expect(made.network.inFlight).toHaveLength(0);
    clone.run(each => each.loop.tellIdentity(keyOf(each), told(3), new Map()));
    clone.turn();
    expect(addressesOf(clone)).toEqual([[10, 1, 0, 3]]);
    closeAll(made.network);
    clone.close();
  });

  it('leaves a peer that wg has set since to the operator', () => {
    const made = asking();
    made.machine.run(each => each.loop.tellIdentity(keyOf(each), told(2), new Map()));
    made.machine.run(({ loop }) => loop.set({ replacePeers: false, peers: [change(KEYS[2])] }));
    const clone = fork(made);
    clone.run(each => each.loop.check());
    clone.turn();
    expect([...presharedKeys(clone).keys()]).toContain(KEYS[2].join());
    closeAll(made.network);
    clone.close();
  });

  it('takes a whole identity from outside, for this epoch and no other', () => {
    const made = asking();
    const identity = () => ({
      privateKey: new Uint8Array(32).fill(0x48),
      parent: undefined,
      since: undefined,
      told: told(4),
    });
    let isTaken = true;
    made.machine.run(({ loop }) => (isTaken = loop.setIdentity(identity(), 9, new Map())));
    expect([isTaken, made.enrolled.length]).toEqual([false, 0]);
    made.machine.run(({ loop }) => (isTaken = loop.setIdentity(identity(), 1, new Map())));
    expect(isTaken).toBe(true);
    expect(keyOf(made.machine)).toEqual(publicKeyOf(nobleSuite, identity().privateKey));
    expect(made.enrolled).toEqual([
      expect.objectContaining({ privateKey: made.machine.loop.get().privateKey }),
    ]);
    closeAll(made.network);
  });
});
