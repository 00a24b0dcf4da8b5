// A device on a thread without an event loop asks another thread, and is answered between two turns.
// No test here waits for anything: what would need a promise to settle would never come.

import { expect, it } from 'vitest';
import {
  type AdmissionQuestion,
  RemoteAdmission,
  wipeVerdict,
} from '../../../../tunnel/daemon/device-thread/remote-admission.js';
import { Pair } from '../../../support/pair.js';

const PSK = new Uint8Array(32).fill(0x5a);
const yes = () => ({
  presharedKey: PSK.slice(),
  allowedIps: [{ ip: Uint8Array.of(10, 0, 0, 1), prefix: 32 }],
});

/** A clone `a` that calls a gateway `b`, which knows nobody. */
function called() {
  const questions: AdmissionQuestion[] = [];
  const remote: RemoteAdmission = new RemoteAdmission(
    question => questions.push(question),
    () => pair.b.device.publicKey,
  );
  const pair: Pair = new Pair({ a: { peer: { presharedKey: PSK } }, b: { device: { admission: remote } } });
  pair.b.device.removePeer(pair.a.publicKey);
  pair.send(pair.a, 'hello');
  pair.settle();
  return { pair, remote, questions };
}

const origin = (pair: Pair) => pair.b.device.peer(pair.a.publicKey)?.origin;

it('asks by number, with the key of whoever calls and its own', () => {
  const { pair, questions } = called();
  expect(questions).toEqual([{ number: 1, publicKey: pair.a.publicKey, gateway: pair.b.publicKey }]);
  expect(pair.b.types).toEqual([]);
});

it('has sent its response when the answer has been given', () => {
  const { pair, remote } = called();
  remote.answer(1, yes());
  expect(pair.b.types).toEqual([2]);
  pair.settle();
  expect(origin(pair)).toBe('admitted');
  expect(pair.b.received).toHaveLength(1);
});

it('counts a no, and an answer that there is none', () => {
  const { pair, remote } = called();
  remote.answer(1, 'no');
  expect(pair.b.drops.notAdmitted).toBe(1);
  const other = called();
  other.remote.answer(1, 'failed');
  expect(other.pair.b.drops.admissionFailed).toBe(1);
  for (const each of [pair, other.pair]) {
    expect(each.b.types).toEqual([]);
    expect(origin(each)).toBeUndefined();
  }
});

it('does nothing with an answer that comes twice, or to nothing', () => {
  const { pair, remote } = called();
  remote.answer(7, yes());
  expect(pair.b.types).toEqual([]);
  remote.answer(1, yes());
  remote.answer(1, yes());
  expect(pair.b.types).toEqual([2]);
});

it('does nothing with an answer to a machine that was forked meanwhile: a sibling has that initiation too', () => {
  const { pair, remote } = called();
  pair.b.source.fork(new Uint8Array(16).fill(0xf0));
  remote.answer(1, yes());
  expect(pair.b.types).toEqual([]);
  expect(origin(pair)).toBeUndefined();
  // It is asked anew.
  pair.advance(5_500);
  pair.settle();
  remote.answer(2, yes());
  pair.settle();
  expect(origin(pair)).toBe('admitted');
});

it('asks nobody while it has no key of its own', () => {
  const questions: AdmissionQuestion[] = [];
  const remote = new RemoteAdmission(
    question => questions.push(question),
    () => undefined,
  );
  expect(remote.admit(new Uint8Array(32))).toBeUndefined();
  expect(questions).toEqual([]);
});

it('erases the preshared key that came with an answer', () => {
  const verdict = yes();
  wipeVerdict(verdict);
  expect(verdict.presharedKey).toEqual(new Uint8Array(32));
  wipeVerdict('no');
});
