// A script with N reads of the generation, forked at every one of them: there is no other instant at which a clone
// could learn of its fork.

import { describe, expect, it } from 'vitest';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import type { Machine } from '../support/machine.js';
import { Network, type Overrides } from '../support/network.js';

const suite = await fastestSuite();

type Role = 'initiator' | 'responder';

/** Everything a session goes through, seen by machine 0. Both roles occur; `first` says who begins. */
function script(network: Network, subject: Machine, peer: Machine, first: Role): void {
  const [caller, callee] = first === 'initiator' ? [subject, peer] : [peer, subject];
  const id = (machine: Machine) => (machine === subject ? 0 : 1);
  const say = (machine: Machine, what: string) => network.send(machine, id(machine), 1 - id(machine), what);
  say(caller, 'staged until the handshake is done');
  say(caller, 'and one more');
  network.settle();
  for (let i = 0; i < 3; i++) {
    say(callee, `answer ${i}`);
    say(caller, `question ${i}`);
  }
  network.settle();
  subject.run(device => device.cork());
  for (let i = 0; i < 3; i++) say(subject, `batch ${i}`);
  subject.run(device => device.uncork());
  network.settle();
  // Rekey by the other side, then by age, then keepalives.
  network.advance(6_000);
  callee.run(device => device.initiateHandshake(device.peers()[0].publicKey));
  network.settle();
  say(subject, 'under the new keys');
  network.settle();
  network.advance(121_000);
  say(subject, 'old keys, asks for new ones');
  network.settle();
  say(subject, 'newest keys');
  network.advance(11_000);
  network.settle();
}

interface Outcome {
  readonly network: Network;
  readonly reads: number;
}

/** Runs the script once, then once more in each of `clones` clones that part at read `at`. */
function forkedRun(first: Role, at: number, clones: number, overrides: Overrides): Outcome {
  const network = new Network(suite);
  const [subject, peer] = network.addMachines(2, identity => (identity === 0 ? overrides : {}));
  script(network, subject, peer, first);
  const reads = subject.reads;
  if (at > reads) return { network, reads };
  // The machine that ran the script is the past; its clones live. One of them may be handed the past's own name.
  network.machines.splice(0, 1);
  for (let i = 0; i < clones; i++) network.addClone(0, subject.forkAtRead(at, `clone ${i}`));
  network.inFlight.length = 0;
  // They go on: with traffic, a peer that calls both, and an initiation that reaches both.
  for (const { identity, machine } of network.machines)
    network.send(machine, identity, 1 - identity, 'after');
  network.settle();
  network.advance(6_000);
  network.settle();
  for (const { identity, machine } of network.machines)
    network.send(machine, identity, 1 - identity, 'later');
  network.settle();
  return { network, reads };
}

const scenarios: [string, Overrides][] = [
  ['a unique generation ID', {}],
  ['entropy that repeats in the clones for a while', { repeatedDraws: 40 }],
  ['policy expire-sending', { device: { forkPolicy: 'expire-sending' } }],
  ['cookies asked of everybody', { device: { underLoadThreshold: 0 } }],
];

describe.each(scenarios)('a machine forked at every read of its generation, with %s', (_name, overrides) => {
  it.each<[Role, number]>([
    ['initiator', 2],
    ['responder', 2],
    ['initiator', 3],
  ])('never seals twice under one key and nonce: %s, %i clones', (first, clones) => {
    const { reads } = forkedRun(first, Number.POSITIVE_INFINITY, 0, overrides);
    expect(reads).toBeGreaterThan(40);
    let handshakes = 0;
    for (let at = 0; at <= reads; at++) {
      const { network } = forkedRun(first, at, clones, overrides);
      expect(network.ledger.reuses, `fork at read ${at}`).toEqual([]);
      handshakes += network.ledger.left[1] + network.ledger.left[2];
    }
    expect(handshakes).toBeGreaterThan(4 * reads);
  });
});

it('control: the same forks of an unprotected machine do reuse keys and nonces', () => {
  // Without a source there are no reads: the machine forks at its start, that is at read 0, alone.
  const { network } = forkedRun('initiator', 0, 2, { unprotected: true, repeatedDraws: 1_000 });
  expect(network.ledger.reuses.length).toBeGreaterThan(0);
});
