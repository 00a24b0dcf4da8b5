// Random histories of machines that enrol at a gateway: templates, clones and clones of clones that take time to be enrolled
// or none, a gateway that is asked, answers late or never and is cloned too, and somebody who has all but the secret.

import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import {
  type EnrolOverrides,
  EnrolNetwork,
  GATEWAY,
  type Habit,
  TEMPLATE,
  THIEF,
} from '../support/enrolment.js';
import { History, type Step, steps as anyStep } from '../support/history.js';
import type { Machine, Snapshot } from '../support/machine.js';
import type { InFlight, Overrides } from '../support/network.js';

const suite = await fastestSuite();

type EnrolStep =
  | Step
  | { readonly do: 'habit'; readonly who: number; readonly habit: Habit }
  | {
      readonly do: 'answer';
      readonly who: number;
      readonly which: number;
      readonly how: Exclude<Habit, 'later'>;
    }
  | { readonly do: 'complete'; readonly who: number; readonly which: number };

const n = fc.nat(1_000);
const steps = fc.array(
  fc.oneof(
    ...anyStep,
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('habit' as const),
        who: n,
        habit: fc.constantFrom<Habit>('yes', 'later', 'later', 'later', 'fails', 'no'),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('answer' as const),
        who: n,
        which: n,
        how: fc.constantFrom('yes' as const, 'yes' as const, 'no' as const, 'fails' as const),
      }),
    },
    { weight: 6, arbitrary: fc.record({ do: fc.constant('complete' as const), who: n, which: n }) },
  ),
  { minLength: 40, maxLength: 110, size: 'max' },
);

interface Scenario {
  readonly enrollee?: EnrolOverrides;
  readonly gateway?: Overrides;
  /** How late word of a fork is, in milliseconds. */
  readonly speakWithin?: number;
}

interface Played {
  readonly network: EnrolNetwork;
  readonly history: History<Machine, Snapshot, InFlight>;
}

function play(script: readonly EnrolStep[], { enrollee, gateway, speakWithin }: Scenario): Played {
  const network = new EnrolNetwork(suite);
  network.addGateway(gateway);
  network.addEnrollee(TEMPLATE, enrollee);
  network.addEnrollee(THIEF, enrollee);
  const history = new History<Machine, Snapshot, InFlight>(network, 3, speakWithin !== undefined);
  const pass = (ms: number) => {
    const silence = Math.min(ms, speakWithin ?? 0);
    if (silence > 0) network.advance(silence);
    history.speak();
    network.advance(ms - silence);
  };
  const settle = () => {
    for (let round = 0; round < 4; round++) {
      pass((speakWithin ?? 0) + 11);
      network.settle(1);
    }
  };
  // So that most histories have somebody to clone who is somebody.
  settle();
  const one = (isGateway: boolean, who: number) => {
    const all = network.machines.filter(({ identity }) => (identity === GATEWAY) === isGateway);
    return all[who % all.length].machine;
  };
  for (const step of script) {
    if (step.do === 'advance') pass(step.ms);
    else if (step.do === 'settle') settle();
    else if (step.do === 'habit')
      network.decide(one(true, step.who), doorkeeper => (doorkeeper.habit = step.habit));
    else if (step.do === 'answer')
      network.decide(one(true, step.who), doorkeeper => doorkeeper.answer(step.which, step.how));
    // The latest key, or one of before.
    else if (step.do === 'complete')
      network.enrol(one(false, step.who), own =>
        own.complete(step.which % 3 ? own.drawn.length - 1 : step.which),
      );
    else history.apply(step);
  }
  settle();
  return { network, history };
}

/** Everybody has looked by now: whoever still has a key has it for himself. */
function sharedKeys(network: EnrolNetwork): number {
  const keys = network.keys();
  return keys.length - new Set(keys).size;
}

const runs = { numRuns: 50 };
const delayed = { timing: 'delayed', device: { holdBackMs: 60 } } as const;

const promises: [string, Scenario][] = [
  ['with an immediate source', {}],
  ['while the kernel repeats itself', { enrollee: { repeatedDraws: 40 }, gateway: { repeatedDraws: 40 } }],
  ['who take time to be enrolled', { enrollee: { takesTime: true, repeatedDraws: 40 } }],
  ['at a gateway of policy expire-sending', { gateway: { device: { forkPolicy: 'expire-sending' } } }],
  ['at a gateway that is always under load', { gateway: { device: { underLoadThreshold: 0 } } }],
  ['with word of a fork that is late by 50 ms', { enrollee: delayed, gateway: delayed, speakWithin: 50 }],
];

const inAll = { clonesHeard: 0, ended: 0 };

describe.each(promises)('clones that enrol, %s', (_name, scenario) => {
  const seen = { clones: 0, speakers: 0, clonesHeard: 0, unproven: 0, late: 0, ended: 0 };

  it('have keys of their own, never speak under another, and nobody is let in without the secret', () => {
    fc.assert(
      fc.property(steps, script => {
        const { network, history } = play(script, scenario);
        expect(network.census.harms).toEqual([]);
        expect(network.harms).toEqual([]);
        expect(network.ledger.reuses).toEqual([]);
        expect(sharedKeys(network)).toBe(0);
        expect(network.accusations).toBe(0);
        seen.clones += history.clones;
        seen.speakers += network.census.speakers;
        seen.clonesHeard += [...network.heard.keys()].filter(life => life.includes('clone')).length;
        for (const { machine } of network.machines) {
          const { admission } = machine.device.stats();
          seen.unproven += (admission?.provisional ?? 0) + (admission?.expired ?? 0);
          seen.late += network.enrollees.get(machine)?.tooLate ?? 0;
          seen.ended += network.doorkeepers.get(machine)?.tooLate ?? 0;
        }
      }),
      runs,
    );
  });

  afterAll(() => {
    // What was never in danger proves nothing.
    expect(seen.clones).toBeGreaterThan(runs.numRuns);
    expect(seen.speakers).toBeGreaterThan(runs.numRuns);
    expect(seen.late).toBeGreaterThan(runs.numRuns);
    expect(seen.unproven).toBeGreaterThan(runs.numRuns / 5);
    inAll.clonesHeard += seen.clonesHeard;
    inAll.ended += seen.ended;
  });
});

// In some scenarios hardly anybody comes so far.
afterAll(() => {
  expect(inAll.clonesHeard).toBeGreaterThan(runs.numRuns / 2);
  expect(inAll.ended).toBeGreaterThan(runs.numRuns / 5);
});

it('the machine that was cloned goes on, under the key that it had', () => {
  const network = new EnrolNetwork(suite);
  network.addGateway();
  const template = network.addEnrollee(TEMPLATE);
  network.advance(10);
  network.settle();
  const key = template.device.publicKey;
  const snapshot = template.snapshot();
  const clones = Array.from({ length: 8 }, (_, i) => template.restore(snapshot, `clone ${i}`));
  for (const clone of clones) network.addClone(TEMPLATE, clone);
  network.advance(10);
  network.settle();
  for (const { machine } of network.machines.slice(1)) network.send(machine, TEMPLATE, GATEWAY);
  network.settle();
  expect(template.device.publicKey).toEqual(key);
  expect([...network.heard.values()]).toEqual(Array.from({ length: 9 }, () => 1));
  expect(new Set(network.keys()).size).toBe(9);
});

describe('controls: the same histories', () => {
  /** The same each time: a control is not left to chance. */
  function harm(scenario: Scenario): { parents: number; shared: number; reuses: number } {
    const harm = { parents: 0, shared: 0, reuses: 0 };
    fc.assert(
      fc.property(steps, script => {
        const { network } = play(script, scenario);
        harm.parents += network.census.harms.length;
        harm.shared += sharedKeys(network);
        harm.reuses += network.ledger.reuses.length;
      }),
      { numRuns: 20, seed: 16 },
    );
    return harm;
  }

  it('of policy wipe: clones speak under the key of the machine that they were copied from', () => {
    const { parents, shared, reuses } = harm({ enrollee: { device: { forkPolicy: 'wipe' } } });
    expect(parents).toBeGreaterThan(0);
    expect(shared).toBeGreaterThan(0);
    expect(reuses).toBe(0);
  });

  it('without the barrier, while the kernel repeats itself: clones draw one key', () => {
    const { parents, shared } = harm({
      enrollee: {
        uniqueness: 'counter',
        repeatedDraws: 100,
        crng: { freshnessTimeoutMs: 0, onNotFresh: 'proceed' },
      },
    });
    expect(shared).toBeGreaterThan(0);
    expect(parents).toBeGreaterThan(0);
  });

  it('without any source: clones go on as the machine that they were copied from', () => {
    const { parents, reuses } = harm({ enrollee: { unprotected: true, repeatedDraws: 100 } });
    expect(parents).toBeGreaterThan(0);
    expect(reuses).toBeGreaterThan(0);
  });
});
