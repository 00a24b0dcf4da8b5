// The production driver over a fake kernel: random histories in which calls fail, are cut short and interrupted, links,
// ways and clocks change, and machines are cloned between any two system calls. The ledger and a witness of each machine
// see all of it.

import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import { forkSteps, loopSteps } from '../support/loop-history.js';
import { LoopNetwork, type LoopOverrides, innerPacket } from '../support/loop-network.js';
import { ALL_OFFLOADS, NOTHING, TSO_ONLY, calm, closeAll, play } from '../support/loop-story.js';

const suite = await fastestSuite();

// To make a history shorter takes minutes: a failure is told as it was, with its seed.
const runs = { numRuns: 8, endOnFailure: true };
const length = { minLength: 25, maxLength: 60, size: 'max' } as const;

const kinds: [string, LoopOverrides][] = [
  ['without offloads', {}],
  ['with all offloads', { offloads: ALL_OFFLOADS }],
  [
    'on a kernel with fewer of them, policy expire-sending',
    { offloads: TSO_ONLY, loop: { settings: { forkPolicy: 'expire-sending' }, looksAtGuard: true } },
  ],
  ['policy hold', { offloads: ALL_OFFLOADS, loop: { settings: { forkPolicy: 'hold' } } }],
  ['with a counter, while the kernel repeats itself', { uniqueness: 'counter', repeatedDraws: 20 }],
];

describe.each(kinds)('a device loop %s, forked between any two system calls', (_name, overrides) => {
  const seen = { forks: 0, data: 0, delivered: 0 };

  it('uses no key and nonce twice, and does nothing that its witness complains of', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(...loopSteps, ...forkSteps), length), script => {
        const { network, history } = play(suite, script, overrides);
        calm(network);
        seen.forks += history.clones;
        seen.data += network.ledger.left[4];
        for (const { machine } of network.machines) seen.delivered += machine.witness.deliveries;
        expect(network.ledger.reuses).toEqual([]);
        expect(new Set(network.complaints)).toEqual(new Set());
        expect(closeAll(network)).toEqual(NOTHING);
      }),
      runs,
    );
  });

  afterAll(() => {
    // What was never in danger proves nothing.
    expect(seen.forks).toBeGreaterThan(runs.numRuns);
    expect(seen.data).toBeGreaterThan(runs.numRuns * 3);
    expect(seen.delivered).toBeGreaterThan(runs.numRuns * 3);
  });
});

/** Everybody sends a packet to everybody, and everything has time to arrive. Returns how often each of them did. */
function greetAll(network: LoopNetwork, payload: string): number[] {
  const pairs = network.machines.flatMap(from => network.machines.map(to => ({ from, to }))).filter(areTwo);
  for (const { from, to } of pairs) network.send(from.machine, from.identity, to.identity, payload);
  // Whose session is dead has not been answered for so long.
  for (let round = 0; round < 4; round++) {
    network.settle();
    network.advance(6_000);
  }
  network.settle();
  return pairs.map(({ from, to }) =>
    to.machine.witness.delivered(innerPacket(from.identity, to.identity, payload)),
  );
}

function areTwo({ from, to }: { readonly from: object; readonly to: object }): boolean {
  return from !== to;
}

describe.each(kinds.slice(0, 2))('a device loop %s', (_name, overrides) => {
  it('carries every packet again, whatever went wrong before', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(...loopSteps.filter(isTransient)), length), script => {
        const { network } = play(suite, script, overrides);
        calm(network);
        // One of them is reached only when he has called, another when he is called anew.
        greetAll(network, 'here I am');
        expect(greetAll(network, 'after all that')).toEqual([1, 1, 1, 1, 1, 1]);
        expect(network.complaints).toEqual([]);
        expect(closeAll(network)).toEqual(NOTHING);
      }),
      runs,
    );
  });
});

/** Where two move at once nobody finds the other, and clones of one machine take each other's packets. */
function isTransient({ arbitrary }: (typeof loopSteps)[number]): boolean {
  const [{ do: name }] = fc.sample(arbitrary, 1);
  return !['roam', 'snapshot', 'restore', 'restoreNow'].includes(name);
}

/** Two machines with a session, and a turn in which one of them sends and receives; or clones of it that parted inside. */
function turnForkedAt(instants: number, overrides: LoopOverrides) {
  const network = new LoopNetwork(suite);
  const [subject, peer] = network.addMachines(2, overrides);
  network.send(subject, 0, 1, 'hello');
  network.settle();
  const first = subject.instants;
  network.send(peer, 1, 0, 'for the turn');
  network.batch(subject, () => {
    for (let i = 0; i < 3; i++) network.send(subject, 0, 1, `in the turn ${i}`);
    network.deliver(network.inFlight.splice(0)[0], subject);
  });
  network.stream(subject, 0, 1, 5, 500);
  const last = subject.instants;
  if (instants > 0) {
    network.machines.splice(0, 1);
    for (const label of ['left', 'right']) network.addClone(0, subject.forkAt(instants, label));
    for (const { machine } of network.machines.slice(1)) {
      network.send(machine, 0, 1, 'after the turn');
      network.stream(machine, 0, 1, 3, 300);
    }
    network.settle();
  }
  return { network, first, last };
}

it.each<[string, LoopOverrides]>([
  ['without offloads', {}],
  ['with all offloads', { offloads: ALL_OFFLOADS }],
])('a turn forked at every system call, %s, leaks nothing', (_name, overrides) => {
  const { first, last } = turnForkedAt(0, overrides);
  expect(last - first).toBeGreaterThan(15);
  for (let at = first; at <= last; at++) {
    const { network } = turnForkedAt(at, overrides);
    expect(network.ledger.reuses, `forked at ${at}`).toEqual([]);
    expect(network.complaints, `forked at ${at}`).toEqual([]);
  }
});
