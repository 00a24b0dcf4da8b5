// Random histories of several machines: they talk, datagrams are lost, doubled and reordered, time passes, machines are
// snapshotted at any instant and restored, clones are cloned again. The ledger sees all that leaves.

import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import { History, type Step, steps as anyStep } from '../support/history.js';
import type { Machine, Snapshot } from '../support/machine.js';
import { type InFlight, Network, type Overrides } from '../support/network.js';

const suite = await fastestSuite();

interface Played {
  readonly network: Network;
  readonly history: History<Machine, Snapshot, InFlight>;
}

function play(steps: readonly Step[], overrides: Overrides, speakWithin?: number): Played {
  const network = new Network(suite);
  const identities = 2 + (steps.length % 2);
  network.addMachines(identities, () => overrides);
  const history = new History<Machine, Snapshot, InFlight>(network, identities, speakWithin !== undefined);
  // With a delayed source: no more than its delay passes between a restore and its word.
  const pass = (ms: number) => {
    const silence = Math.min(ms, speakWithin ?? 0);
    if (silence > 0) network.advance(silence);
    history.speak();
    network.advance(ms - silence);
  };
  for (const step of steps) {
    if (step.do === 'advance') {
      pass(step.ms);
    } else if (step.do === 'settle' && speakWithin !== undefined) {
      // What is held back needs time to leave, and so does each answer to it.
      for (let round = 0; round < 4; round++) {
        pass(speakWithin + 11);
        network.settle(1);
      }
    } else {
      history.apply(step);
    }
  }
  network.settle();
  return { network, history };
}

const steps = fc.array(fc.oneof(...anyStep), { minLength: 30, maxLength: 90, size: 'max' });
const runs = { numRuns: 50 };

const promises: [string, Overrides, number?][] = [
  ['immediate and unique', {}],
  ['immediate and unique, while the kernel repeats itself', { repeatedDraws: 20 }],
  ['immediate, a counter, while the kernel repeats itself', { uniqueness: 'counter', repeatedDraws: 20 }],
  ['immediate and unique, policy expire-sending', { device: { forkPolicy: 'expire-sending' } }],
  ['immediate and unique, policy hold', { device: { forkPolicy: 'hold' } }],
  ['immediate and unique, always under load', { device: { underLoadThreshold: 0 } }],
  ['delayed by up to 50 ms and held back for 60', { timing: 'delayed', device: { holdBackMs: 60 } }, 50],
];

let allUnfinishedTurns = 0;
// With cookies asked of everybody, or while little is in flight, one turn does for nearly all that waits.
afterAll(() => expect(allUnfinishedTurns).toBeGreaterThan(10));

describe.each(promises)('a source that is %s', (_name, overrides, speakWithin) => {
  const seen = { forks: 0, data: 0, handshakes: 0 };

  it('never lets two plaintexts leave under one key and nonce, nor two transcripts with one ephemeral', () => {
    fc.assert(
      fc.property(steps, script => {
        const { network, history } = play(script, overrides, speakWithin);
        const { left, reuses } = network.ledger;
        seen.forks += history.clones;
        allUnfinishedTurns += history.unfinishedTurns;
        seen.data += left[4];
        seen.handshakes += left[1];
        expect(reuses).toEqual([]);
        // Clones that reuse nothing set off no tripwire, whatever became of their datagrams on the way.
        expect(network.accusations).toBe(0);
      }),
      runs,
    );
  });

  afterAll(() => {
    // What was never in danger proves nothing.
    expect(seen.forks).toBeGreaterThan(runs.numRuns);
    // With a cookie asked of everybody a session takes two more messages that arrive.
    expect(seen.data).toBeGreaterThan(runs.numRuns / 2);
    expect(seen.handshakes).toBeGreaterThan(runs.numRuns);
  });
});

describe('controls: the same histories', () => {
  const dangerous: [string, Overrides, number?][] = [
    ['without any source', { unprotected: true, repeatedDraws: 20 }],
    ['with a delayed source and nothing held back', { timing: 'delayed' }, 50],
  ];
  it.each(dangerous)('%s: the ledger finds reuse, and so do their peers', (_name, overrides, speakWithin) => {
    let reuses = 0;
    let accusations = 0;
    fc.assert(
      fc.property(steps, script => {
        const { network } = play(script, overrides, speakWithin);
        const nonces = network.ledger.reuses.filter(({ kind }) => kind === 'nonce').length;
        reuses += nonces;
        accusations += network.accusations;
        expect(nonces > 0 || network.accusations === 0).toBe(true);
      }),
      // The same histories each time: a control is not left to chance.
      { ...runs, seed: 8 },
    );
    expect(reuses).toBeGreaterThan(0);
    // Behind a delayed source they are so few that a run without any may be chance.
    expect(accusations > 0 || !overrides.unprotected).toBe(true);
  });
});

describe('a clone that is saved again, under a delayed source', () => {
  /** `isHeard`: whether the word of its fork has come before it is saved. */
  function reuses(isHeard: boolean): number {
    const network = new Network(suite);
    const delayed: Overrides = { timing: 'delayed', device: { holdBackMs: 60 } };
    const [original] = network.addMachines(2, identity => (identity === 0 ? delayed : {}));
    network.send(original, 0, 1, 'hello');
    for (let round = 0; round < 4; round++) {
      network.advance(61);
      network.settle(1);
    }
    const clone = original.restore(original.snapshot(), 'clone');
    network.addClone(0, clone);
    network.send(clone, 0, 1, 'from the clone');
    if (isHeard) clone.signal();
    const saved = clone.snapshot();
    clone.signal();
    network.send(original, 0, 1, 'from the original');
    network.advance(61);
    // What it held back when it was saved is due before the word of its second fork can come.
    network.addClone(0, clone.restore(saved, 'clone of the clone'));
    network.advance(1);
    return network.ledger.reuses.length;
  }

  it('holds nothing back that a sibling contradicts, if it had heard of its first fork', () => {
    expect(reuses(true)).toBe(0);
  });

  it('control: if it had not, what it held back leaves, which is a limit of delayed sources', () => {
    expect(reuses(false)).toBeGreaterThan(0);
  });
});
