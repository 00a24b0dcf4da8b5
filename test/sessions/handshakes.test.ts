// Handshakes in flight: when they may be made, and what is left of one that fails in the making.

import { type MockInstance, afterEach, describe, expect, it, vi } from 'vitest';
import type { Randomness } from '../../crng/randomness.js';
import { mac1Key, writeMac1 } from '../../protocol/cookie.js';
import { type ConsumedInitiation, ReceivedInitiation } from '../../protocol/handshake.js';
import { INITIATION as AT } from '../../protocol/messages.js';
import type { Suite } from '../../protocol/suite.js';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import { SymmetricState } from '../../protocol/symmetric-state.js';
import { IndexTable } from '../../sessions/index-table.js';
import { KeySlab } from '../../sessions/key-slab.js';
import { PEER_SESSION_BYTES, type Peer } from '../../sessions/peer.js';
import { type Output, ReleaseGate } from '../../sessions/release.js';
import { Wishes } from '../../sessions/wishes.js';
import { type Datagram, End, Pair, heard, introduce, payloadOf } from '../support/pair.js';

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

/** Whether the messages for which there was room are erased. */
const messages = ({ mock }: MockInstance<ReleaseGate['output']>) =>
  mock.results.map(({ value }) => isZero((value as Output).bytes));

/** The keys that are derived from here on. */
function derivedKeys(onDerived = () => {}): Uint8Array[] {
  const keys: Uint8Array[] = [];
  const { split } = SymmetricState.prototype;
  vi.spyOn(SymmetricState.prototype, 'split').mockImplementation(function (this: SymmetricState, ...given) {
    split.apply(this, given);
    expect(given.some(isZero)).toBe(false);
    keys.push(...given);
    onDerived();
  });
  return keys;
}

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
    const output = vi.spyOn(ReleaseGate.prototype, 'output');
    trouble.at = operation;
    expect(() => pair.a.device.initiateHandshake(pair.b.publicKey)).toThrow('today');
    expect(messages(output)).toEqual([true]);
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
    const output = vi.spyOn(ReleaseGate.prototype, 'output');
    const keys = derivedKeys();
    expect(() => pair.b.receive(first)).toThrow('today');
    expect(messages(output)).toEqual([true]);
    expect(keys.every(isZero)).toBe(true);
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

it('a suite that fails once the keys are derived leaves none of them, and the next handshake is made', () => {
  const { trouble, suite } = failing();
  const pair = new Pair({ a: { device: { suite } } });
  pair.send(pair.a, 'hello');
  for (const initiation of pair.a.take()) pair.b.receive(initiation);
  const keys = derivedKeys(() => (trouble.at = 'forget'));
  const [response] = pair.b.take();
  expect(() => pair.a.receive(response)).toThrow('today');
  expect(keys.map(isZero)).toEqual([true, true]);
  vi.restoreAllMocks();
  trouble.at = undefined;
  pair.advance(6_000, true);
  expect(heard(pair)).toEqual(['hello']);
});

describe('a suite that takes back that a key is no low-order point', () => {
  /** One that says so until `contradicts` is set. */
  function fickle() {
    const state = { contradicts: false };
    const suite: Suite = {
      ...fastest,
      sharedSecret: (...args) => fastest.sharedSecret(...args) && !state.contradicts,
    };
    return { state, suite };
  }

  it('has no initiation made', () => {
    const { state, suite } = fickle();
    const pair = new Pair({ a: { device: { suite } } }).connect();
    pair.advance(6_000, true);
    state.contradicts = true;
    const broken = expect.objectContaining({ code: 'ERR_INVARIANT' }) as Error;
    expect(() => pair.a.device.initiateHandshake(pair.b.publicKey)).toThrow(broken);
    expect(pair.a.types).toEqual([]);
  });

  it('has no response made, and no keypair of keys that were not derived', () => {
    const { state, suite } = fickle();
    const publicKey: Suite['publicKey'] = (...args) => {
      fastest.publicKey(...args);
      // What follows in a response is what it agrees on.
      state.contradicts = true;
    };
    const pair = new Pair({ b: { device: { suite: { ...suite, publicKey } } } });
    state.contradicts = false;
    pair.send(pair.a);
    const [initiation] = pair.a.take();
    const broken = expect.objectContaining({ code: 'ERR_INVARIANT' }) as Error;
    expect(() => pair.b.receive(initiation)).toThrow(broken);
    expect(pair.b.types).toEqual([]);
    pair.b.device.wipe();
    expect(pair.b.device.stats().wipedKeypairs).toBe(0);
  });
});

describe('a generator that could give numbers', () => {
  /** Numbers that are not for use, which it counts, and would give at any time. */
  function willing() {
    const state = { drawn: 0, isFresh: true, onIndex: () => {} };
    let last = 1;
    const next = () => {
      state.drawn++;
      last = (Math.imul(last, 1_664_525) + 1_013_904_223) >>> 0;
      return last;
    };
    const crng: Randomness = {
      fill: into => {
        for (let i = 0; i < into.length; i++) into[i] = next() >>> 24;
      },
      uint32: () => {
        state.onIndex();
        return next();
      },
      below: bound => next() % bound,
      isFresh: () => state.isFresh,
    };
    return { crng, state };
  }

  type Trouble = (end: End, state: { isFresh: boolean }, isOver: boolean) => void;
  const troubles: [string, Trouble][] = [
    ['is not fresh', (_, state, isOver) => (state.isFresh = isOver)],
    ['runs where nothing vouches for the generation', (end, _, isOver) => (end.blind = !isOver)],
  ];

  const silent: [string, (end: End, other: End) => void][] = [
    ['has no key of its own', ({ device }) => device.setPrivateKey()],
    ['is on hold', ({ source }) => source.fork(new Uint8Array(16).fill(0xf0))],
    ['is paused', ({ device }) => (device.paused = true)],
    [
      'does not know where its peer is',
      ({ device }, { publicKey }) => {
        device.removePeer(publicKey);
        device.setPeer({ publicKey });
      },
    ],
  ];

  it.each(silent)(
    'is not asked for an initiation by a device that %s: there is none to wait for',
    (_, silence) => {
      const { crng, state } = willing();
      const pair = new Pair({ a: { device: { crng, forkPolicy: 'hold' } } });
      silence(pair.a, pair.b);
      pair.a.device.initiateHandshake(pair.b.publicKey);
      expect([pair.a.types, state.drawn, pair.a.device.stats().waitingForFreshness]).toEqual([[], 0, 0]);
      pair.advance(6_000);
      expect(pair.a.types).toEqual([]);
    },
  );

  it.each(troubles)('is not asked for an initiation while it %s; the one in flight stays', (_, trouble) => {
    const { crng, state } = willing();
    const pair = new Pair({ a: { device: { crng } } });
    pair.send(pair.a, 'hello');
    const [initiation] = pair.a.take();
    pair.clock.ms += 6_000;
    state.drawn = 0;
    trouble(pair.a, state, false);
    pair.a.device.initiateHandshake(pair.b.publicKey);
    expect([pair.a.types, state.drawn, pair.a.count('waitingForFreshness')]).toEqual([[], 0, 1]);
    trouble(pair.a, state, true);
    pair.b.receive(initiation);
    const [response] = pair.b.take();
    expect(pair.a.receive(response)).toBe('handshake');
  });

  it.each(troubles)('is not asked for a response while it %s; it is sent when that is over', (_, trouble) => {
    const { crng, state } = willing();
    const { trouble: fault, suite } = failing();
    const pair = new Pair({ b: { device: { crng, suite } } });
    const third = new End(3, pair.clock, fastest, {});
    introduce(pair.b, third);
    introduce(third, pair.b);
    // Where the first cannot be answered, the answer to the second is made by the next turn.
    pair.b.device.cork();
    for (const end of [pair.a, third]) {
      end.device.initiateHandshake(pair.b.publicKey);
      for (const initiation of end.take()) expect(pair.b.receive(initiation)).toBe('handshake');
    }
    fault.at = 'publicKey';
    expect(() => pair.b.device.uncork()).toThrow('today');
    fault.at = undefined;
    state.drawn = 0;
    trouble(pair.b, state, false);
    pair.b.device.runTimers();
    expect([pair.b.types, state.drawn, pair.b.count('waitingForFreshness')]).toEqual([[], 0, 1]);
    trouble(pair.b, state, true);
    pair.advance(1_000);
    expect(pair.b.sent.map(({ bytes, to }) => [bytes[0], to])).toEqual([[RESPONSE, third.endpoint]]);
  });

  it('and fails at the index leaves no ephemeral key where it was drawn', () => {
    const blocks = sessionBlocks();
    const { crng, state } = willing();
    const pair = new Pair({ a: { device: { crng } } });
    state.onIndex = () => {
      expect([...blocks].every(isZero)).toBe(false);
      throw new Error('no number today');
    };
    pair.a.device.initiateHandshake(pair.b.publicKey);
    expect([pair.a.types, pair.a.count('waitingForFreshness')]).toEqual([[], 1]);
    expect([...blocks].every(isZero)).toBe(true);
  });

  // Whoever hears of a draw may do anything. An index is drawn last.
  const acts: [string, (end: End, other: End) => void][] = [
    ['removes the peer', (end, other) => end.device.removePeer(other.publicKey)],
    ['sets another key', ({ device }) => device.setPrivateKey(new Uint8Array(32).fill(7))],
    ['takes the key away', ({ device }) => device.setPrivateKey()],
    [
      'forks the machine',
      ({ source, vmgenid }) => {
        source.fork(new Uint8Array(16).fill(0xf0));
        vmgenid.check();
      },
    ],
  ];

  describe.each(acts)('but %s meanwhile', (_, act) => {
    it.each(['initiation', 'response'])('has no %s made, and leaves no index in use', what => {
      const { crng, state } = willing();
      const by = what === 'initiation' ? 'a' : 'b';
      const pair = new Pair({ [by]: { device: { crng } } });
      const end = pair[by];
      const insert = vi.spyOn(IndexTable.prototype, 'insert');
      const remove = vi.spyOn(IndexTable.prototype, 'remove');
      state.onIndex = () => act(end, pair.other(end));
      pair.a.device.initiateHandshake(pair.b.publicKey);
      for (const initiation of pair.a.take()) expect(pair.b.receive(initiation)).toBe('handshake');
      expect([end.types, end.count('handshakeInitiated')]).toEqual([[], 0]);
      expect(end.device.stats()).toMatchObject({ discardedAtRelease: 0, wipedKeypairs: 0 });
      expect(remove.mock.calls).toEqual([[insert.mock.results.at(-1)?.value]]);
    });
  });
});

describe('a handshake of another epoch', () => {
  /** The peers of whom something was wished, as their devices have them. */
  function wishedFor(): Peer[] {
    const peers: Peer[] = [];
    const { add } = Wishes.prototype;
    vi.spyOn(Wishes.prototype, 'add').mockImplementation(function (this: Wishes, peer, wish) {
      peers.push(peer);
      add.call(this, peer, wish);
    });
    return peers;
  }

  // The answer to a fork ends them all; should one be left, it bears its epoch.
  it.each([
    ['another', 1, { drop: 'staleEpoch' }, 0],
    ['control: its own', 0, 'handshake', 1],
  ])('is not finished by us: it bears %s', (_, later, result, completed) => {
    const peers = wishedFor();
    const pair = new Pair();
    pair.send(pair.a);
    const inFlight = peers[0].inFlight;
    expect(inFlight).toBeDefined();
    if (inFlight) inFlight.epoch += later;
    for (const initiation of pair.a.take()) pair.b.receive(initiation);
    expect(pair.b.take().map(response => pair.a.receive(response))).toEqual([result]);
    expect(pair.a.device.stats().handshakesCompleted).toBe(completed);
  });

  it.each([
    ['another', 1, []],
    ['control: its own', 0, [RESPONSE]],
  ])('is not answered by us: it bears %s', (_, later, sent) => {
    const peers = wishedFor();
    const pair = new Pair();
    pair.send(pair.a);
    pair.b.device.cork();
    for (const initiation of pair.a.take()) expect(pair.b.receive(initiation)).toBe('handshake');
    const peer = peers[peers.length - 1];
    const { waitingInitiation: waiting } = peer;
    expect(waiting).toBeDefined();
    if (waiting) peer.waitingInitiation = { state: waiting.state, epoch: waiting.epoch + later };
    pair.b.device.uncork();
    expect([pair.b.types, peer.waitingInitiation, pair.b.device.stats().waitingForFreshness]).toEqual([
      sent,
      undefined,
      0,
    ]);
  });

  it('is not answered, whenever in the making the fork comes to light, nor waited for', () => {
    const id = new Uint8Array(16).fill(0xf0);
    for (const forkPolicy of ['wipe', 'expire-sending', 'hold'] as const) {
      for (const uniqueness of ['unique', 'counter'] as const) {
        let reads = 0;
        let forkAt = Number.POSITIVE_INFINITY;
        const onRead = () => {
          if (++reads === forkAt) pair.b.source.fork(id);
        };
        let pair = new Pair();
        let hasForked = true;
        for (let offset = 1; hasForked; offset++) {
          pair = new Pair({ b: { device: { forkPolicy }, source: { onRead, uniqueness } } });
          pair.a.device.initiateHandshake(pair.b.publicKey);
          const [initiation] = pair.a.take();
          forkAt = reads + offset;
          pair.b.receive(initiation);
          hasForked = reads >= forkAt;
          forkAt = Number.POSITIVE_INFINITY;
          const what = `${forkPolicy}, ${uniqueness}, read ${offset}`;
          if (!hasForked) {
            expect(offset, what).toBeGreaterThan(4);
            expect(pair.b.types, what).toEqual([RESPONSE]);
          } else if (offset > 1) {
            expect(pair.b.types, what).not.toContain(RESPONSE);
            expect(pair.b.count('waitingForFreshness'), what).toBe(0);
          }
        }
      }
    }
  });

  // Whoever asked asks again. Only a wipe has whom it was in conversation with called.
  it.each([
    ['expire-sending', []],
    ['wipe', [INITIATION]],
  ] as const)(
    'whose response is discarded at its release has nobody called by itself: %s',
    (forkPolicy, called) => {
      let isDue = false;
      const publicKey: Suite['publicKey'] = (...args) => {
        fastest.publicKey(...args);
        if (isDue) pair.b.source.fork(new Uint8Array(16).fill(0xf0));
      };
      const suite = { ...fastest, publicKey };
      const pair: Pair = new Pair({ b: { device: { forkPolicy, suite } } });
      pair.a.device.initiateHandshake(pair.b.publicKey);
      const [initiation] = pair.a.take();
      isDue = true;
      pair.b.receive(initiation);
      isDue = false;
      expect([pair.b.types, pair.b.device.stats().discardedAtRelease]).toEqual([[], 1]);
      pair.b.device.runTimers();
      expect(pair.b.types).toEqual(called);
    },
  );

  it('that was ended by a fork before its turn came is not answered, and nothing else is disturbed', () => {
    const pair = new Pair();
    pair.send(pair.a, 'hello');
    pair.b.device.cork();
    for (const initiation of pair.a.take()) expect(pair.b.receive(initiation)).toBe('handshake');
    pair.b.source.fork(new Uint8Array(16).fill(0xf0));
    pair.b.vmgenid.check();
    pair.b.device.uncork();
    expect(pair.b.types).toEqual([]);
    pair.advance(6_000, true);
    expect(heard(pair)).toEqual(['hello']);
  });
});

describe('an initiation', () => {
  it.each([
    ['is made for another key', AT.ephemeral],
    ['names nobody', AT.static],
    ['does not prove who sent it', AT.timestamp],
  ])('that %s is dropped, and the true one answered', (_, at) => {
    const pair = new Pair();
    pair.send(pair.a);
    const [{ bytes, from, to }] = pair.a.take();
    const forged: Datagram = { bytes: bytes.slice(), from, to };
    forged.bytes[at] ^= 1;
    writeMac1(fastest, mac1Key(fastest, pair.b.publicKey), forged.bytes);
    expect(pair.b.receive(forged)).toEqual({ drop: 'badTag' });
    expect(pair.b.types).toEqual([]);
    expect(pair.b.receive({ bytes, from, to })).toBe('handshake');
    expect(pair.b.types).toEqual([RESPONSE]);
  });

  it('is newer than those before it, though the wall clock was set back', () => {
    const pair = new Pair();
    for (let i = 0; i < 4; i++) {
      pair.a.device.initiateHandshake(pair.b.publicKey);
      expect(pair.a.take().map(initiation => pair.b.receive(initiation))).toEqual(['handshake']);
      pair.clock.wallMs -= 3_600_000;
      pair.clock.ms += 6_000;
    }
  });

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

  it("ends the one before it, whose answer then is nobody's", () => {
    const pair = new Pair();
    const responses = [0, 1].flatMap(() => {
      pair.a.device.initiateHandshake(pair.b.publicKey);
      for (const initiation of pair.a.take()) pair.b.receive(initiation);
      pair.clock.ms += 6_000;
      return pair.b.take();
    });
    expect(responses.map(response => pair.a.receive(response))).toEqual([
      { drop: 'unknownIndex' },
      'handshake',
    ]);
  });

  it('that is made while it was waited for is waited for no more', () => {
    const pair = new Pair();
    pair.a.blind = true;
    pair.a.device.initiateHandshake(pair.b.publicKey);
    expect(pair.a.device.stats().waitingForFreshness).toBe(1);
    pair.a.blind = false;
    pair.a.device.initiateHandshake(pair.b.publicKey);
    expect(pair.a.types).toEqual([INITIATION]);
    expect(pair.a.device.stats().waitingForFreshness).toBe(0);
  });

  /** What was taken out of initiations that proved their sender: whether it is erased. */
  function consumed() {
    const verify = vi.spyOn(ReceivedInitiation.prototype, 'verify');
    const isErased = (state: ConsumedInitiation) => {
      const input = { ephemeralPrivate: new Uint8Array(32).fill(1), senderIndex: 1 };
      const [key, keys] = [new Uint8Array(32), { send: new Uint8Array(32), receive: new Uint8Array(32) }];
      const remote = { publicKey: key, staticShared: key, presharedKey: key };
      try {
        state.createResponse(input, remote, new Uint8Array(92), keys);
        return false;
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_HANDSHAKE_SPENT' });
        return true;
      }
    };
    return () => verify.mock.results.map(({ value }) => isErased(value as ConsumedInitiation));
  }

  /** Two initiations that A has made, one after the other. */
  function twoOf(pair: Pair): Datagram[] {
    return [0, 1].flatMap(() => {
      pair.a.device.initiateHandshake(pair.b.publicKey);
      pair.clock.ms += 6_000;
      return pair.a.take();
    });
  }

  it.each([
    ['was there before', 0, 'replayedInitiation'],
    ['comes at the heels of another', 1, 'flooded'],
  ])('that %s is erased', (_, which, drop) => {
    const areErased = consumed();
    const pair = new Pair();
    const datagrams = twoOf(pair);
    expect(pair.b.receive(datagrams[0])).toBe('handshake');
    expect(pair.b.receive(datagrams[which])).toEqual({ drop });
    expect(areErased()).toEqual([true, true]);
  });

  it('of nobody we know is erased', () => {
    const pair = new Pair();
    const [initiation] = twoOf(pair);
    pair.b.device.removePeer(pair.a.publicKey);
    const discard = vi.spyOn(ReceivedInitiation.prototype, 'discard');
    expect(pair.b.receive(initiation)).toEqual({ drop: 'unknownPeer' });
    expect(discard).toHaveBeenCalledTimes(1);
  });

  it('that waits for its answer is erased when the next has come', () => {
    const areErased = consumed();
    const pair = new Pair({ b: { source: { uniqueness: 'counter' } } });
    pair.b.source.fork(new Uint8Array(16).fill(1));
    const [first, second] = twoOf(pair);
    expect(pair.b.receive(first)).toBe('handshake');
    pair.clock.ms += 1_000;
    expect(pair.b.receive(second)).toBe('handshake');
    expect(pair.b.types).toEqual([]);
    expect(areErased()).toEqual([true, false]);
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
