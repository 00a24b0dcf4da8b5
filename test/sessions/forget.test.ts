// Native suites keep the key they were last given. Whenever a device erases a key, it has its suite forget as well.

import { describe, expect, it } from 'vitest';
import type { Suite } from '../../protocol/suite.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import type { ForkPolicy } from '../../sessions/events.js';
import type { KeyMemory } from '../../sessions/ports.js';
import { End, Pair, introduce, packetBetween } from '../support/pair.js';

const ID = new Uint8Array(16).fill(0xf0);

/** A connected pair, and how often the suite of its first end has been asked to forget. */
function watched(forkPolicy: ForkPolicy = 'wipe') {
  const asked = { times: 0 };
  const suite: Suite = { ...nobleSuite, forget: () => void asked.times++ };
  const pair = new Pair({ a: { device: { suite, forkPolicy } } }).connect();
  pair.advance(1_000, true);
  return { pair, asked };
}

const erasures: [string, (pair: Pair) => void, ForkPolicy?][] = [
  ['a handshake is made', pair => pair.a.device.initiateHandshake(pair.b.publicKey)],
  ['a peer is removed', pair => pair.a.device.removePeer(pair.b.publicKey)],
  ['the device is wiped', pair => pair.a.device.wipe()],
  ['the identity is changed', pair => pair.a.device.setPrivateKey(new Uint8Array(32).fill(7))],
  ['keys come to the end of their life', pair => pair.advance(600_000)],
  ['the machine was forked', fork],
  ['the machine was forked, policy expire-sending', fork, 'expire-sending'],
  ['the machine was forked, policy hold', fork, 'hold'],
];

function fork(pair: Pair): void {
  pair.a.source.fork(ID);
  pair.a.vmgenid.check();
}

it.each(erasures)('the suite forgets when %s', (_, erase, forkPolicy) => {
  const { pair, asked } = watched(forkPolicy);
  // Past the time in which no further handshake is made.
  pair.advance(6_000, true);
  const before = asked.times;
  erase(pair);
  expect(asked.times).toBeGreaterThan(before);
});

it('it is not asked to for a packet: no key is erased then, and it would cost as much as a third of the cipher', () => {
  const { pair, asked } = watched();
  const before = asked.times;
  for (let i = 0; i < 20; i++) {
    pair.send(pair.a, `${i}`);
    pair.send(pair.b, `${i}`);
    pair.settle();
  }
  expect(asked.times).toBe(before);
});

/** A connected pair, the suite of whose first end fails to forget while `trouble.isDue`; and the memory of its keys. */
function forgetful(forkPolicy: ForkPolicy = 'wipe') {
  const trouble = { isDue: false };
  const pieces: Uint8Array[] = [];
  const suite: Suite = {
    ...nobleSuite,
    forget() {
      if (trouble.isDue) throw new Error('it cannot forget');
    },
  };
  const keyMemory: KeyMemory = {
    allocate(length) {
      const piece = new Uint8Array(new SharedArrayBuffer(length));
      pieces.push(piece);
      return piece;
    },
    release: () => {},
  };
  const pair = new Pair({ a: { device: { suite, keyMemory, forkPolicy } } }).connect();
  return { pair, trouble, pieces };
}

it('a device that is closed while its suite fails to forget leaves no key in memory', () => {
  const { pair, trouble, pieces } = forgetful();
  const isErased = () => pieces.every(piece => piece.every(byte => byte === 0));
  expect(isErased()).toBe(false);
  trouble.isDue = true;
  expect(() => pair.a.device.close()).toThrow('it cannot forget');
  expect(isErased()).toBe(true);
});

it('a device that could not be closed in order has no session left to seal or open under zeros', () => {
  const { pair, trouble } = forgetful();
  const third = new End(3, pair.clock, nobleSuite, {});
  introduce(pair.a, third);
  introduce(third, pair.a);
  const toThird = packetBetween(pair.a, third);
  const toUs = packetBetween(third, pair.a);
  pair.a.device.sendPacket(toThird);
  for (const initiation of pair.a.take()) third.receive(initiation);
  for (const response of third.take()) pair.a.receive(response);
  for (const data of pair.a.take()) third.receive(data);
  expect([pair.a.device.sendPacket(toThird), third.device.sendPacket(toUs)]).toEqual(['sent', 'sent']);
  pair.a.take();
  trouble.isDue = true;
  expect(() => pair.a.device.close()).toThrow('it cannot forget');
  trouble.isDue = false;
  expect(pair.a.device.sendPacket(toThird)).toEqual({ drop: 'noRoute' });
  expect(third.take().map(data => pair.a.receive(data))).toEqual([{ drop: 'unknownIndex' }]);
  pair.advance(600_000);
  expect(pair.a.sent).toEqual([]);
  expect(pair.a.device.peers()).toEqual([]);
});

it.each(['the device is wiped', 'the identity is changed'])(
  'a suite that fails to forget when %s leaves no keypair of zeros to seal under',
  what => {
    const { pair, trouble } = forgetful();
    pair.advance(6_000, true);
    expect(pair.send(pair.a, 'before')).toBe('sent');
    trouble.isDue = true;
    const erase = erasures.find(([name]) => name === what)?.[1] as (of: Pair) => void;
    expect(() => erase(pair)).toThrow('it cannot forget');
    trouble.isDue = false;
    expect(pair.send(pair.a, 'after')).not.toBe('sent');
  },
);

describe.each(['hold', 'enrol'] as const)('policy %s', policy => {
  it('silences a device whose suite fails to forget in the midst of a fork', () => {
    const { pair, trouble } = forgetful(policy);
    pair.advance(6_000, true);
    trouble.isDue = true;
    pair.a.source.fork(ID);
    try {
      pair.a.device.runTimers();
    } catch (error) {
      expect(error).toMatchObject({ message: 'it cannot forget' });
    }
    trouble.isDue = false;
    expect(pair.a.device.held).toBe(true);
    expect(pair.a.device.isEnrolling).toBe(policy === 'enrol');
    if (policy === 'enrol') expect(pair.a.device.publicKey).not.toEqual(pair.a.publicKey);
    expect(pair.a.count('vmFork')).toBe(1);
    pair.a.device.initiateHandshake(pair.b.publicKey);
    pair.advance(60_000, true);
    expect(pair.a.sent).toEqual([]);
  });

  it('(control: policy wipe lets it speak)', () => {
    const { pair } = forgetful();
    pair.advance(6_000, true);
    pair.a.source.fork(ID);
    pair.a.device.initiateHandshake(pair.b.publicKey);
    expect(pair.a.types).toEqual([1]);
  });
});
