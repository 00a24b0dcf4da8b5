// Enrolment forked at every read of the generation: of a machine that comes by its key, and of a gateway that lets one in.

import { describe, expect, it } from 'vitest';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import { type EnrolOverrides, EnrolNetwork, GATEWAY, TEMPLATE } from '../support/enrolment.js';
import type { Machine } from '../support/machine.js';
import type { Overrides } from '../support/network.js';

const suite = await fastestSuite();

interface Outcome {
  readonly network: EnrolNetwork;
  /** Reads of the generation, by the machine that is forked: when its life begins, and in all. */
  readonly born: number;
  readonly reads: number;
}

interface Forks {
  /** Read of the generation at which they part. */
  readonly at: number;
  readonly clones: number;
}

const NEVER: Forks = { at: Number.POSITIVE_INFINITY, clones: 0 };

/** Replaces a machine by clones of it. Whoever is not replaced goes on. */
function fork(network: EnrolNetwork, subject: Machine, { at, clones }: Forks): void {
  const place = network.machines.findIndex(({ machine }) => machine === subject);
  const [{ identity }] = network.machines.splice(place, 1);
  for (let i = 0; i < clones; i++) network.addClone(identity, subject.forkAtRead(at, `clone ${at} ${i}`));
  network.inFlight.length = 0;
}

function everybodySpeaks(network: EnrolNetwork): void {
  for (const { identity, machine } of network.machines) network.send(machine, identity, 0);
  network.settle();
}

/** All enrol who have been told to, speak, and are spoken to. */
function goOn(network: EnrolNetwork): void {
  for (const ms of [11, 5_500, 11]) {
    network.advance(ms);
    for (const { machine } of network.machines)
      network.enrol(machine, own => own.complete(own.drawn.length - 1));
    network.settle();
    everybodySpeaks(network);
  }
}

/** A clone of a template comes by its key, and has a conversation. */
function enrolling(forks: Forks, overrides: EnrolOverrides): Outcome {
  const network = new EnrolNetwork(suite);
  network.addGateway();
  const template = network.addEnrollee(TEMPLATE, overrides);
  goOn(network);
  const subject = template.restore(template.snapshot(), 'clone');
  const born = subject.reads;
  network.addClone(TEMPLATE, subject);
  network.send(subject, TEMPLATE, GATEWAY);
  network.advance(11);
  network.enrol(subject, own => own.complete(0));
  network.enrol(subject, own => own.complete(own.drawn.length - 1));
  network.settle();
  everybodySpeaks(network);
  network.advance(121_000);
  everybodySpeaks(network);
  const { reads } = subject;
  if (forks.at <= reads) {
    fork(network, subject, forks);
    goOn(network);
  }
  return { network, born, reads };
}

const scenarios: [string, EnrolOverrides][] = [
  ['a unique generation ID', {}],
  ['entropy that repeats in the clones for a while', { repeatedDraws: 40 }],
  ['an enrolment that takes time', { takesTime: true, repeatedDraws: 40 }],
];

describe.each(scenarios)('a clone forked at every read while it enrols, with %s', (_name, overrides) => {
  it.each([2, 3])('%i clones of it have keys of their own, and speak under no other', clones => {
    const { born, reads } = enrolling(NEVER, overrides);
    expect(reads - born).toBeGreaterThan(40);
    let heard = 0;
    for (let at = born; at <= reads; at++) {
      const { network } = enrolling({ at, clones }, overrides);
      const where = `fork at read ${at}`;
      expect(network.census.harms, where).toEqual([]);
      expect(network.harms, where).toEqual([]);
      expect(network.ledger.reuses, where).toEqual([]);
      // The template, and all its clones.
      expect(new Set(network.keys()).size, where).toBe(1 + clones);
      heard += [...network.heard.keys()].filter(life => life.includes(`clone ${at} `)).length;
    }
    // Nearly all of them come through, too.
    expect(heard).toBeGreaterThan(clones * (reads - born) * 0.9);
  });
});

/** A gateway lets somebody in: at once, after an answer that takes its time, and once more later. */
function admitting(forks: Forks, overrides: Overrides): Outcome {
  const network = new EnrolNetwork(suite);
  const subject = network.addGateway(overrides);
  const template = network.addEnrollee(TEMPLATE);
  goOn(network);
  network.decide(subject, own => (own.habit = 'later'));
  const clone = template.restore(template.snapshot(), 'clone');
  network.addClone(TEMPLATE, clone);
  network.advance(11);
  network.settle();
  network.decide(subject, own => own.answer(0, 'yes'));
  network.settle();
  everybodySpeaks(network);
  network.addClone(TEMPLATE, template.restore(template.snapshot(), 'another'));
  network.advance(11);
  network.settle();
  const { reads } = subject;
  if (forks.at > reads) return { network, born: 0, reads };
  fork(network, subject, forks);
  // What was asked before the fork is answered after it, in every clone.
  for (let i = 0; i < 3; i++) {
    for (const { machine } of network.machines)
      network.decide(machine, own => {
        own.habit = 'yes';
        own.answer(0, 'yes');
      });
    network.settle();
  }
  goOn(network);
  return { network, born: 0, reads };
}

const gateways: [string, Overrides][] = [
  ['policy wipe', {}],
  ['policy expire-sending', { device: { forkPolicy: 'expire-sending' } }],
  ['entropy that repeats in the clones for a while', { repeatedDraws: 40 }],
];

describe.each(gateways)(
  'a gateway forked at every read while it lets somebody in, with %s',
  (_name, overrides) => {
    it('uses nothing twice in its clones, and believes nobody unproven', () => {
      const clones = 2;
      const { reads } = admitting(NEVER, overrides);
      expect(reads).toBeGreaterThan(30);
      let heard = 0;
      for (let at = 0; at <= reads; at++) {
        const { network } = admitting({ at, clones }, overrides);
        const where = `fork at read ${at}`;
        expect(network.harms, where).toEqual([]);
        expect(network.census.harms, where).toEqual([]);
        expect(network.ledger.reuses, where).toEqual([]);
        heard += network.heard.size;
      }
      expect(heard).toBeGreaterThan(2 * reads);
    });
  },
);

it('control: of policy wipe, the clones speak under the key of the machine that they were copied from', () => {
  const overrides: EnrolOverrides = { device: { forkPolicy: 'wipe' } };
  const { reads } = enrolling(NEVER, overrides);
  const { network } = enrolling({ at: reads, clones: 2 }, overrides);
  expect(network.census.harms.length).toBeGreaterThan(0);
  expect(network.ledger.reuses).toEqual([]);
});
