// How far a device has come back from a fork: who was called for it, who is back, and after how long.

import { describe, expect, it } from 'vitest';
import type { ForkPolicy } from '../../sessions/events.js';
import { type EndOptions, Pair } from '../support/pair.js';

const withPolicy = (forkPolicy: ForkPolicy, more: EndOptions = {}) =>
  new Pair({ a: { ...more, device: { forkPolicy, ...more.device } } });
const id = (n: number) => new Uint8Array(16).fill(n);
const recovery = (pair: Pair) => pair.a.device.stats().recovery;
const ofPeer = (pair: Pair) => pair.a.device.peers()[0].recovery;

function fork(pair: Pair, n = 0xf0): void {
  pair.a.source.fork(id(n));
  pair.a.vmgenid.check();
}

describe('before the first fork', () => {
  it('there is nothing to come back from', () => {
    const pair = withPolicy('wipe').connect();
    expect([recovery(pair), ofPeer(pair)]).toEqual([undefined, undefined]);
  });
});

describe('after a fork', () => {
  it('a peer in conversation counts as called at the first look, before anything was sent', () => {
    const pair = withPolicy('wipe').connect();
    fork(pair);
    expect(pair.a.types).toEqual([]);
    expect(recovery(pair)).toEqual({ epoch: 2, ageMs: 0, called: 1, back: 0, lastBackMs: undefined });
    expect(ofPeer(pair)).toEqual({ backAfterMs: undefined });
  });

  it('the caller has a peer back when it has consumed its response, and not with the initiation', () => {
    const pair = withPolicy('wipe').connect();
    pair.advance(100, true);
    fork(pair);
    pair.advance(3);
    expect(pair.a.types).toEqual([1]);
    expect(recovery(pair)).toMatchObject({ called: 1, back: 0 });
    pair.settle();
    expect(recovery(pair)).toEqual({ epoch: 2, ageMs: 3, called: 1, back: 1, lastBackMs: 3 });
    pair.advance(2_000, true);
    expect(recovery(pair)).toMatchObject({ ageMs: 2_003, back: 1, lastBackMs: 3 });
    expect(ofPeer(pair)).toEqual({ backAfterMs: 3 });
    // Keys that follow these are an ordinary matter.
    pair.advance(6_000, true);
    pair.a.device.initiateHandshake(pair.b.publicKey);
    pair.settle();
    const completed = pair.a.events.filter(event => event.type === 'handshakeComplete');
    expect(completed.map(({ afterForkMs }) => afterForkMs)).toEqual([undefined, 3, undefined]);
  });

  it('who is called back has the peer back with the first data, and not with its own response', () => {
    const pair = withPolicy('wipe').connect();
    pair.advance(6_000, true);
    fork(pair);
    pair.a.device.runTimers();
    // What it sends itself is lost.
    pair.a.take();
    pair.b.device.initiateHandshake(pair.a.publicKey);
    pair.a.receive(pair.b.take()[0]);
    expect(recovery(pair)).toMatchObject({ called: 1, back: 0 });
    pair.b.receive(pair.a.take()[0]);
    pair.clock.ms += 40;
    pair.a.receive(pair.b.take()[0]);
    expect(recovery(pair)).toMatchObject({ called: 1, back: 1, lastBackMs: 40 });
  });

  it('a peer that was silent is not waited for, and not counted when it comes', () => {
    const pair = withPolicy('wipe').connect();
    pair.advance(60_000, true);
    fork(pair);
    expect(recovery(pair)).toMatchObject({ called: 0, back: 0 });
    pair.connect();
    expect(recovery(pair)).toMatchObject({ called: 0, back: 0 });
    expect(ofPeer(pair)).toBeUndefined();
  });

  it('a peer whose packet the gate discarded is waited for, though it was silent before', () => {
    const pair = withPolicy('wipe').connect();
    pair.advance(60_000, true);
    // The fork falls between sealing and the check after it.
    pair.a.device.cork();
    pair.send(pair.a, 'sealed under the old key');
    pair.a.source.fork(id(1));
    pair.a.device.uncork();
    expect(pair.a.types).toEqual([]);
    expect(recovery(pair)).toMatchObject({ epoch: 2, called: 1, back: 0 });
    pair.advance(1);
    pair.settle();
    expect(recovery(pair)).toMatchObject({ called: 1, back: 1 });
  });

  it('a fork on the way ends what is owed to the one before', () => {
    const pair = withPolicy('wipe').connect();
    pair.advance(100, true);
    fork(pair, 1);
    pair.advance(1);
    pair.settle();
    pair.advance(100, true);
    fork(pair, 2);
    expect(recovery(pair)).toEqual({ epoch: 3, ageMs: 0, called: 1, back: 0, lastBackMs: undefined });
    expect(ofPeer(pair)).toEqual({ backAfterMs: undefined });
    pair.advance(1);
    pair.settle();
    expect(recovery(pair)).toMatchObject({ called: 1, back: 1 });
  });

  it('nobody waits for a peer that was removed', () => {
    const pair = withPolicy('wipe').connect();
    fork(pair);
    pair.a.device.removePeer(pair.b.publicKey);
    expect(recovery(pair)).toMatchObject({ called: 0, back: 0 });
  });

  it('sessions that end by themselves later, or by sleep, are no fork', () => {
    const pair = withPolicy('wipe').connect();
    pair.advance(100, true);
    fork(pair);
    pair.advance(1);
    pair.settle();
    const before = recovery(pair);
    pair.a.device.wipe();
    expect(recovery(pair)).toEqual(before);
  });
});

describe('by policy', () => {
  it('expire-sending calls those for whom packets wait', () => {
    const pair = withPolicy('expire-sending').connect();
    fork(pair);
    expect(recovery(pair)).toMatchObject({ called: 0, back: 0 });
    const waiting = withPolicy('expire-sending');
    waiting.send(waiting.a, 'waits');
    waiting.a.take();
    fork(waiting);
    expect(recovery(waiting)).toMatchObject({ called: 1, back: 0 });
    waiting.advance(1);
    waiting.settle();
    expect(recovery(waiting)).toMatchObject({ called: 1, back: 1 });
  });

  it('expire-sending: old keys that are confirmed late bring nobody back', () => {
    const pair = withPolicy('expire-sending');
    // B has called; A has answered, and not heard from it under the new keys yet.
    pair.b.device.initiateHandshake(pair.a.publicKey);
    pair.a.receive(pair.b.take()[0]);
    pair.b.receive(pair.a.take()[0]);
    const [confirmation] = pair.b.take();
    pair.clock.ms += 6_000;
    pair.a.device.initiateHandshake(pair.b.publicKey);
    pair.send(pair.a, 'waits');
    pair.a.take();
    fork(pair);
    expect(recovery(pair)).toMatchObject({ called: 1, back: 0 });
    pair.a.receive(confirmation);
    expect(pair.a.count('handshakeComplete')).toBe(1);
    expect(recovery(pair)).toMatchObject({ called: 1, back: 0 });
  });

  it('hold calls nobody', () => {
    const pair = withPolicy('hold').connect();
    fork(pair);
    expect(recovery(pair)).toMatchObject({ epoch: 2, called: 0 });
  });

  it('enrol calls everybody, once the new key may speak', () => {
    const pair = withPolicy('enrol').connect();
    fork(pair);
    pair.advance(20);
    expect(recovery(pair)).toMatchObject({ epoch: 2, called: 0 });
    const drawn = pair.a.device.publicKey as Uint8Array;
    expect(pair.a.device.completeEnrolment(drawn)).toBe(true);
    expect(recovery(pair)).toMatchObject({ epoch: 2, called: 1, back: 0 });
  });
});
