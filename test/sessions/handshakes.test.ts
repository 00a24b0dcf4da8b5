// Handshakes in flight: when they may be made, and what is left of one that fails in the making.

import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Suite } from '../../protocol/suite.js';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import { IndexTable } from '../../sessions/index-table.js';
import { KeySlab } from '../../sessions/key-slab.js';
import { PEER_SESSION_BYTES } from '../../sessions/peer.js';
import { End, Pair, introduce, payloadOf } from '../support/pair.js';

const INITIATION = 1;
const RESPONSE = 2;
const fastest = await fastestSuite();

afterEach(() => {
  vi.restoreAllMocks();
});

/** The session blocks of devices, as they are made, that of B's peer last: a slab that has none left asks itself again. */
function sessionBlocks(): Set<Uint8Array> {
  const blocks = new Set<Uint8Array>();
  const { allocate } = KeySlab.prototype;
  vi.spyOn(KeySlab.prototype, 'allocate').mockImplementation(function (this: KeySlab) {
    const block = allocate.call(this);
    if (block.length === PEER_SESSION_BYTES) blocks.add(block);
    return block;
  });
  return blocks;
}

const isZero = (block: Uint8Array) => block.every(byte => byte === 0);

/** A suite that fails at an operation while it is told to. */
function failing() {
  const trouble: { at: 'publicKey' | 'mac' | 'forget' | undefined } = { at: undefined };
  const fail = (operation: typeof trouble.at) => {
    if (trouble.at === operation) throw new Error(`no ${operation} today`);
  };
  const suite: Suite = {
    ...fastest,
    publicKey: (...args) => {
      fail('publicKey');
      fastest.publicKey(...args);
    },
    mac: (...args) => {
      fail('mac');
      fastest.mac(...args);
    },
    forget: () => {
      fail('forget');
      fastest.forget();
    },
  };
  return { trouble, suite };
}

describe.each(['publicKey', 'mac', 'forget'] as const)('a suite that fails at %s', operation => {
  it('leaves nothing of an initiation: no key, no index, no message; and it is tried again', () => {
    const blocks = sessionBlocks();
    const { trouble, suite } = failing();
    const pair = new Pair({ a: { device: { suite } } });
    const insert = vi.spyOn(IndexTable.prototype, 'insert');
    const remove = vi.spyOn(IndexTable.prototype, 'remove');
    trouble.at = operation;
    expect(() => pair.a.device.initiateHandshake(pair.b.publicKey)).toThrow('today');
    expect(pair.a.types).toEqual([]);
    expect([...blocks].every(isZero)).toBe(true);
    const made = insert.mock.results.map(({ value }) => value as number);
    expect(made).toHaveLength(1);
    expect(remove.mock.calls.map(([index]) => index)).toEqual(made);
    trouble.at = undefined;
    pair.advance(5_400);
    expect(pair.a.types).toEqual([INITIATION]);
    pair.settle();
    expect(pair.a.count('handshakeComplete')).toBe(1);
  });

  it('leaves nothing of a response, and the next initiation is answered', () => {
    const blocks = sessionBlocks();
    const { trouble, suite } = failing();
    const pair = new Pair({ b: { device: { suite } } });
    pair.send(pair.a, 'hello');
    const [first] = pair.a.take();
    const insert = vi.spyOn(IndexTable.prototype, 'insert');
    const remove = vi.spyOn(IndexTable.prototype, 'remove');
    // What is consumed is not what fails.
    const { publicKey } = suite;
    let isAnswering = false;
    Object.assign(suite, {
      publicKey: (...args: Parameters<typeof publicKey>) => {
        isAnswering = true;
        if (operation !== 'publicKey') trouble.at = operation;
        publicKey(...args);
      },
    });
    if (operation === 'publicKey') trouble.at = operation;
    expect(() => pair.b.receive(first)).toThrow('today');
    expect(isAnswering).toBe(true);
    expect(pair.b.types).toEqual([]);
    expect([...blocks].slice(-2).map(isZero)).toEqual([false, true]);
    expect(remove.mock.calls.map(([index]) => index)).toEqual(
      insert.mock.results.map(({ value }) => value as number),
    );
    trouble.at = undefined;
    Object.assign(suite, { publicKey });
    pair.advance(5_400);
    for (const initiation of pair.a.take()) pair.b.receive(initiation);
    expect(pair.b.types).toEqual([RESPONSE]);
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['hello']);
  });
});

describe('an initiation', () => {
  it('is made 5 s after the last message of a handshake, and no sooner', () => {
    const pair = new Pair();
    const initiate = () => pair.a.device.initiateHandshake(pair.b.publicKey);
    initiate();
    pair.clock.ms += 4_999;
    initiate();
    expect(pair.a.types).toEqual([INITIATION]);
    pair.clock.ms += 1;
    initiate();
    expect(pair.a.types).toEqual([INITIATION, INITIATION]);
  });

  it('of a device that was started anew is newer than those of before, for a peer that was not', () => {
    const { clock, a, b } = new Pair().connect();
    clock.ms += 1_000;
    const again = new End(a.host, clock, fastest, {});
    introduce(again, b);
    again.device.initiateHandshake(b.publicKey);
    expect(again.take().map(initiation => b.receive(initiation))).toEqual(['handshake']);
  });

  it('that is answered leaves the ephemeral key of the answer nowhere but in what is derived from it', () => {
    const privateKeys: Uint8Array[] = [];
    const suite: Suite = {
      ...fastest,
      publicKey: (privateKey, out) => {
        privateKeys.push(privateKey);
        fastest.publicKey(privateKey, out);
      },
    };
    const pair = new Pair({ b: { device: { suite } } });
    pair.send(pair.a);
    privateKeys.length = 0;
    const [initiation] = pair.a.take();
    expect(pair.b.receive(initiation)).toBe('handshake');
    expect(pair.b.types).toEqual([RESPONSE]);
    expect(privateKeys.map(isZero)).toEqual([true]);
  });

  it('is neither made nor answered by a device whose generator waits, and what waits is counted once', () => {
    const pair = new Pair({
      a: { source: { uniqueness: 'counter' } },
      b: { source: { uniqueness: 'counter' } },
    });
    pair.send(pair.a, 'before');
    const [initiation] = pair.a.take();
    pair.a.source.fork(new Uint8Array(16).fill(1));
    for (let i = 0; i < 3; i++) pair.a.device.initiateHandshake(pair.b.publicKey);
    expect([pair.a.types, pair.a.device.stats().waitingForFreshness]).toEqual([[], 1]);
    pair.b.source.fork(new Uint8Array(16).fill(1));
    expect(pair.b.receive(initiation)).toBe('handshake');
    expect([pair.b.types, pair.b.device.stats().waitingForFreshness]).toEqual([[], 1]);
    pair.a.crng.addVmForkRandomness(new Uint8Array(16).fill(2));
    pair.b.crng.addVmForkRandomness(new Uint8Array(16).fill(3));
    pair.advance(1_000);
    expect(pair.b.types).toEqual([RESPONSE]);
    expect(pair.a.types).toEqual([INITIATION]);
    expect(pair.a.device.stats().waitingForFreshness).toBe(0);
  });

  it('that is refused moves no endpoint, counts no byte and is forgotten', () => {
    const pair = new Pair();
    pair.send(pair.a);
    const [initiation] = pair.a.take();
    expect(pair.b.receive(initiation)).toBe('handshake');
    const before = pair.b.device.peers()[0];
    pair.b.take();
    pair.clock.ms += 1_000;
    expect(pair.b.receive(initiation)).toEqual({ drop: 'replayedInitiation' });
    expect(pair.b.device.peers()[0]).toEqual(before);
    expect(pair.b.types).toEqual([]);
  });
});
