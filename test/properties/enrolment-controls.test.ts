// Negative controls of enrolment: one safety at a time is taken out of the device, by replacing the module that holds it, and
// whoever watches from outside must find the harm. The product has no such switch.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import type * as Admission from '../../sessions/admission.js';
import type { Context } from '../../sessions/context.js';
import type * as Identity from '../../sessions/identity.js';
import type * as Peers from '../../sessions/peers.js';
import type { EnrolOverrides } from '../support/enrolment.js';
import type { Machine } from '../support/machine.js';
import type { InFlight } from '../support/network.js';

const suite = await fastestSuite();

/** What is taken out. Read by the replaced modules at every call. */
const nothing = { forget: false, proof: false, presharedKey: false, stamp: false };
const off = { ...nothing };

vi.mock('../../sessions/identity.js', async original => {
  const real = await original<typeof Identity>();
  const beginEnrolment = (context: Context): void => {
    if (!off.forget || !context.local) return real.beginEnrolment(context);
    // As if the key that it has were as good as one of its own.
    context.enrolment = 'drawn';
    const publicKey = new Uint8Array(context.local.publicKey);
    context.emit({ type: 'identityDrawn', publicKey, epoch: context.epoch });
  };
  return { ...real, beginEnrolment };
});

vi.mock('../../sessions/admission.js', async original => {
  const real = await original<typeof Admission>();
  const settleAdmission: typeof real.settleAdmission = (context, awaited, answer, accept) => {
    const isYes = typeof answer === 'object';
    const given = isYes && off.presharedKey ? { ...answer, presharedKey: undefined } : answer;
    real.settleAdmission(context, awaited, given, accept);
    if (!off.proof) return;
    for (const peer of context.peers.values()) {
      if (!peer.isProvisional) continue;
      const { endpoint } = peer;
      real.proveAdmission(context, peer);
      peer.endpoint = endpoint;
    }
  };
  return { ...real, settleAdmission };
});

vi.mock('../../sessions/peers.js', async original => {
  const real = await original<typeof Peers>();
  // As if an initiation that waits for an answer bore no epoch: it is taken for one of the epoch in which the answer comes.
  const endAdmissions = (context: Context): void => {
    if (!off.stamp) real.endAdmissions(context);
  };
  return { ...real, endAdmissions };
});

const { EnrolNetwork, GATEWAY, TEMPLATE, THIEF } = await import('../support/enrolment.js');

beforeEach(() => Object.assign(off, nothing));
afterEach(() => Object.assign(off, nothing));

/** Neither its ID nor its kernel parts a clone from its siblings, and the generator does not wait for what does. */
const NO_BARRIER: EnrolOverrides = {
  uniqueness: 'counter',
  repeatedDraws: 100,
  crng: { freshnessTimeoutMs: 0, onNotFresh: 'proceed' },
};

/** A template that has enrolled is copied twice, and goes on with its copies. */
function copied(overrides: EnrolOverrides = {}) {
  const network = new EnrolNetwork(suite);
  network.addGateway();
  const template = network.addEnrollee(TEMPLATE, overrides);
  network.advance(11);
  network.settle();
  const snapshot = template.snapshot();
  for (const label of ['left', 'right']) network.addClone(TEMPLATE, template.restore(snapshot, label));
  for (let i = 0; i < 2; i++) {
    network.advance(5_500);
    network.settle();
    for (const { machine } of network.machines.slice(1)) network.send(machine, TEMPLATE, GATEWAY);
    network.settle();
  }
  return { keys: new Set(network.keys()).size, harms: network.census.harms, heard: network.heard.size };
}

describe('two clones of a machine that has enrolled', () => {
  it('and the machine itself have three keys, and are heard', () =>
    expect(copied()).toEqual({ keys: 3, harms: [], heard: 3 }));

  it('control: had they kept the key that they were copied with, they would speak under it', () => {
    off.forget = true;
    const { keys, harms } = copied();
    expect(keys).toBe(1);
    expect(harms.length).toBeGreaterThan(0);
  });

  it('draw none, and are silent, as long as nothing parts them', () =>
    expect(copied({ ...NO_BARRIER, crng: {} })).toEqual({ keys: 1, harms: [], heard: 1 }));

  it('control: without the barrier both draw the same, and speak under it', () => {
    const { keys, harms } = copied(NO_BARRIER);
    expect(keys).toBe(2);
    expect(harms.length).toBeGreaterThan(0);
  });
});

/** Somebody with all that a clone has but the secret calls, again and again. */
function thief(hasPresharedKey = true) {
  const network = new EnrolNetwork(suite);
  const gateway = network.addGateway();
  network.addEnrollee(THIEF, { hasPresharedKey });
  for (let i = 0; i < 4; i++) {
    network.advance(5_500);
    network.settle();
    for (const { machine } of network.machines.slice(1)) network.send(machine, THIEF, GATEWAY);
    network.settle();
  }
  const { awaited, expired, admitted } = gateway.device.stats().admission ?? {};
  expect(awaited).toBe(0);
  return { isAnswered: (expired ?? 0) + (admitted ?? 0) > 0, admitted, harms: network.harms.length };
}

describe('who has not the secret', () => {
  it.each([true, false])('is answered, and never a peer, preshared key: %s', hasPresharedKey =>
    expect(thief(hasPresharedKey)).toEqual({ isAnswered: true, admitted: 0, harms: 0 }),
  );

  it('control: were he a peer when he is answered, he would be one without the secret', () => {
    off.proof = true;
    expect(thief().harms).toBeGreaterThan(0);
  });

  it('control: were he answered without the preshared key, his data would prove him', () => {
    off.presharedKey = true;
    expect(thief(false).harms).toBeGreaterThan(0);
  });
});

/** A gateway is copied while it waits for an answer, which then comes in both copies. Nothing but the stamp parts them. */
function copiedWhileAsked() {
  const network = new EnrolNetwork(suite);
  const gateway = network.addGateway(NO_BARRIER);
  network.decide(gateway, own => (own.habit = 'later'));
  const caller = network.addEnrollee(TEMPLATE);
  network.advance(11);
  network.settle();
  const snapshot = gateway.snapshot();
  const confirmations: InFlight[] = [];
  let responses = 0;
  const answered: Machine[] = [];
  for (const label of ['left', 'right']) {
    const copy = gateway.restore(snapshot, label);
    network.decide(copy, own => own.answer(0, 'yes'));
    const [response] = network.inFlight.splice(0).filter(({ bytes }) => bytes[0] === 2);
    if (!response) continue;
    responses++;
    answered.push(copy);
    // The caller takes the first; what it sends then confirms the session of whoever holds its keys.
    if (responses === 1) {
      network.deliver(response, caller);
      confirmations.push(...network.inFlight.splice(0));
    }
  }
  for (const copy of answered) {
    for (const datagram of confirmations) network.deliver(datagram, copy);
    network.send(copy, GATEWAY, 0);
  }
  return { reuses: network.ledger.reuses.length, responses };
}

describe('an initiation that waits for an answer while its gateway is copied', () => {
  it('is answered by neither copy', () => expect(copiedWhileAsked()).toEqual({ reuses: 0, responses: 0 }));

  it('control: without its epoch both answer it, and keys are used twice', () => {
    off.stamp = true;
    const { reuses, responses } = copiedWhileAsked();
    expect(responses).toBe(2);
    expect(reuses).toBeGreaterThan(0);
  });
});
