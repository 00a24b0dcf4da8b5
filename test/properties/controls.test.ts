// Negative controls: one safety at a time is taken out of the device, by replacing the module that holds it, and the
// ledger must find the harm. The product has no such switch.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import type { Context } from '../../sessions/context.js';
import type * as ForkResponse from '../../sessions/fork-response.js';
import type * as ReceiveHandshakes from '../../sessions/receive-handshakes.js';
import type * as Release from '../../sessions/release.js';
import { type ForkGuard, NO_EPOCH } from '../../vmgenid/index.js';
import type { Machine } from '../support/machine.js';
import type { Overrides } from '../support/network.js';

const suite = await fastestSuite();

/** What is taken out. Read by the replaced modules at every call. */
const nothing = { gate: false, wipe: false, stamps: false, queueStamp: false };
const off = { ...nothing };

vi.mock('../../sessions/release.js', async original => {
  const { ReleaseGate } = await original<typeof Release>();
  // Checks before sealing instead of after: the gate believes what was read when the packet came in.
  const before = (guard: ForkGuard): ForkGuard =>
    Object.create(guard, {
      epoch: { get: () => guard.epoch },
      check: { value: () => (off.gate ? guard.epoch : guard.check()) },
      poll: { value: () => (off.gate ? guard.epoch : guard.poll()) },
    }) as ForkGuard;
  class Gate extends ReleaseGate {
    constructor(options: Release.ReleaseOptions) {
      super({ ...options, vmgenid: before(options.vmgenid) });
    }
  }
  return { ReleaseGate: Gate };
});

vi.mock('../../sessions/fork-response.js', async original => {
  const real = await original<typeof ForkResponse>();
  const respondToFork = (context: Context, epoch: number): void => {
    if (!off.wipe) return real.respondToFork(context, epoch);
    context.epoch = epoch;
    if (!off.stamps) return;
    // As if handshakes and keypairs bore no epoch: they are taken for those of the new one.
    for (const peer of context.peers.values()) {
      if (peer.inFlight) peer.inFlight.epoch = epoch;
      for (const keypair of [peer.keypairs.previous, peer.keypairs.current, peer.keypairs.next]) {
        if (!keypair) continue;
        keypair.sendEpoch = epoch;
        keypair.receiveEpoch = epoch;
      }
    }
  };
  const enter = (context: Context): number => {
    const { turn } = context;
    if (turn.hasEntered) return context.epoch;
    turn.now = context.clock.now();
    const epoch = context.vmgenid.check();
    turn.hasEntered = epoch !== NO_EPOCH;
    if (epoch !== context.epoch && epoch !== NO_EPOCH) respondToFork(context, epoch);
    return epoch;
  };
  return { ...real, respondToFork, enter };
});

vi.mock('../../sessions/receive-handshakes.js', async original => {
  const real = await original<typeof ReceiveHandshakes>();
  const consumeQueued = (context: Context): void => {
    // As if what is queued bore no epoch: it is taken for what came in the one that is read now.
    const { handshakeQueue } = context;
    const take = handshakeQueue.take.bind(handshakeQueue);
    handshakeQueue.take = () => {
      const taken = take();
      if (taken && off.queueStamp) taken.epoch = context.epoch;
      return taken;
    };
    try {
      real.consumeQueued(context);
    } finally {
      handshakeQueue.take = take;
    }
  };
  return { ...real, consumeQueued };
});

const { Network } = await import('../support/network.js');

beforeEach(() => Object.assign(off, nothing));
afterEach(() => Object.assign(off, nothing));

/** A session with traffic; then two clones that part at read `at`, run the same, and go on. */
function forkedInTraffic(at: number, overrides: Overrides = {}) {
  const network = new Network(suite);
  const [subject, peer] = network.addMachines(2, identity => (identity === 0 ? overrides : {}));
  network.send(subject, 0, 1, 'hello');
  network.settle();
  for (let i = 0; i < 3; i++) {
    network.send(subject, 0, 1, `data ${i}`);
    network.send(peer, 1, 0, `answer ${i}`);
    network.settle();
  }
  const { reads } = subject;
  if (at <= reads) {
    network.machines.splice(0, 1);
    for (const label of ['left', 'right']) network.addClone(0, subject.forkAtRead(at, label));
    for (const { machine } of network.machines.slice(1)) network.send(machine, 0, 1, 'after');
  }
  return { reads, reuses: network.ledger.reuses.length };
}

function reuseOverAllForks(overrides: Overrides = {}): number {
  const { reads } = forkedInTraffic(Number.POSITIVE_INFINITY, overrides);
  let reuses = 0;
  for (let at = 0; at <= reads; at++) reuses += forkedInTraffic(at, overrides).reuses;
  return reuses;
}

describe('data in flight, forked at every read', () => {
  it('is safe as built', () => expect(reuseOverAllForks()).toBe(0));

  it('control: checked before sealing instead of after, a key and nonce are used twice', () => {
    off.gate = true;
    expect(reuseOverAllForks()).toBeGreaterThan(0);
  });

  it('is safe by the stamps alone, if nothing is wiped', () => {
    off.wipe = true;
    expect(reuseOverAllForks()).toBe(0);
  });

  it('control: neither wiped nor stamped, a key and nonce are used twice', () => {
    off.wipe = true;
    off.stamps = true;
    expect(reuseOverAllForks()).toBeGreaterThan(0);
  });
});

/** Two clones of a machine whose initiation is under way: the response reaches both. */
function forkedMidHandshake(): number {
  const network = new Network(suite);
  const [subject, peer] = network.addMachines(2);
  network.send(subject, 0, 1, 'waits for the handshake');
  const [initiation] = network.inFlight.splice(0);
  network.deliver(initiation, peer);
  const [response] = network.inFlight.splice(0);
  const snapshot = subject.snapshot();
  const clones = ['left', 'right'].map(label => subject.restore(snapshot, label));
  for (const clone of clones) {
    network.deliver(response, clone);
    network.send(clone, 0, 1, 'under keys that the sibling has too');
  }
  return network.ledger.reuses.length;
}

describe('a response that reaches two clones of its initiator', () => {
  it('is consumed by neither', () => expect(forkedMidHandshake()).toBe(0));

  it('is consumed by neither, by the stamp alone', () => {
    off.wipe = true;
    expect(forkedMidHandshake()).toBe(0);
  });

  it('control: without the stamp on handshakes both derive the same keys, and use them twice', () => {
    off.wipe = true;
    off.stamps = true;
    expect(forkedMidHandshake()).toBeGreaterThan(0);
  });
});

/** One initiation that an attacker shows to two clones, in the time when the kernel still repeats itself. */
function initiationShownToBoth(overrides: Overrides): { reuses: number; responses: number } {
  const network = new Network(suite);
  const [subject, peer] = network.addMachines(2, identity =>
    identity === 0 ? { repeatedDraws: 100, uniqueness: 'counter', ...overrides } : {},
  );
  const snapshot = subject.snapshot();
  const clones = ['left', 'right'].map(label => subject.restore(snapshot, label));
  network.send(peer, 1, 0, 'hello');
  const [initiation] = network.inFlight.splice(0);
  const confirm = (clone: Machine) => {
    network.deliver(initiation, clone);
    const responses = network.inFlight.splice(0).filter(({ bytes }) => bytes[0] === 2);
    if (responses.length === 0) return 0;
    network.deliver(responses[0], peer);
    for (const datagram of network.inFlight.splice(0)) network.deliver(datagram, clone);
    network.send(clone, 0, 1, 'answer');
    return 1;
  };
  const left = confirm(clones[0]);
  // The peer's side of the handshake is done; the second clone gets the same packets from the attacker.
  const data = network.inFlight.splice(0);
  network.deliver(initiation, clones[1]);
  const right = network.inFlight.splice(0).filter(({ bytes }) => bytes[0] === 2).length;
  for (const datagram of [...data, ...recorded(network, peer)]) network.deliver(datagram, clones[1]);
  network.send(clones[1], 0, 1, 'another answer');
  return { reuses: network.ledger.reuses.length, responses: left + right };
}

/** A keepalive of the peer confirms the session of whoever holds its keys. */
function recorded(network: InstanceType<typeof Network>, peer: Machine) {
  peer.run(device => device.sendKeepalive(device.peers()[0].publicKey));
  return network.inFlight.splice(0);
}

describe('one initiation shown to two clones whose randomness is still the same', () => {
  it('is answered by neither before there is fresh entropy', () => {
    expect(initiationShownToBoth({})).toEqual({ reuses: 0, responses: 0 });
  });

  it('is answered by both, differently, where the generation ID is unique', () => {
    expect(initiationShownToBoth({ uniqueness: 'unique' })).toEqual({ reuses: 0, responses: 2 });
  });

  it('control: without the barrier both make the same ephemeral key, and the keys from it are used twice', () => {
    const { reuses, responses } = initiationShownToBoth({
      crng: { freshnessTimeoutMs: 0, onNotFresh: 'proceed' },
    });
    expect(responses).toBe(2);
    expect(reuses).toBeGreaterThan(0);
  });
});

/**
 * One initiation that a machine has queued when it is snapshotted: both clones have it. The barrier is bypassed, so that
 * nothing but its stamp keeps them from answering with one ephemeral key.
 */
function queuedWhenForked(): { reuses: number; responses: number } {
  const network = new Network(suite);
  const [subject, peer] = network.addMachines(2, identity =>
    identity === 0
      ? { repeatedDraws: 100, uniqueness: 'counter', crng: { freshnessTimeoutMs: 0, onNotFresh: 'proceed' } }
      : {},
  );
  network.send(peer, 1, 0, 'hello');
  const [initiation] = network.inFlight.splice(0);
  network.gather([initiation], subject);
  const snapshot = subject.snapshot();
  const clones = ['left', 'right'].map(label => subject.restore(snapshot, label));
  let responses = 0;
  const confirmations: typeof network.inFlight = [];
  for (const clone of clones) {
    clone.run(device => device.runTimers());
    const [response] = network.inFlight.splice(0).filter(({ bytes }) => bytes[0] === 2);
    if (!response) continue;
    responses++;
    // The peer takes the first; what it sends then confirms the session of whoever holds its keys.
    if (responses === 1) {
      network.deliver(response, peer);
      confirmations.push(...network.inFlight.splice(0));
    }
    for (const datagram of confirmations) network.deliver(datagram, clone);
    network.send(clone, 0, 1, 'an answer');
    network.inFlight.length = 0;
  }
  return { reuses: network.ledger.reuses.length, responses };
}

describe('an initiation that waits in the queue while its machine is cloned', () => {
  it('is answered by neither clone, by its stamp alone', () => {
    expect(queuedWhenForked()).toEqual({ reuses: 0, responses: 0 });
  });

  it('control: without the stamp on what is queued both answer, and keys are used twice', () => {
    off.queueStamp = true;
    const { reuses, responses } = queuedWhenForked();
    expect(responses).toBe(2);
    expect(reuses).toBeGreaterThan(0);
  });
});
