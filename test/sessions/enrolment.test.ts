// Policy `enrol`: what a clone does before it is somebody of its own.

import { afterEach, describe, expect, it, vi } from 'vitest';
import { PEER_IDENTITY_BYTES } from '../../sessions/peer.js';
import { publicKeyOf } from '../../protocol/suite.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { watchKeyBlocks } from '../support/key-blocks.js';
import { type End, type EndOptions, Pair, packetBetween } from '../support/pair.js';

afterEach(() => {
  vi.restoreAllMocks();
});

const INITIATION = 1;
const ID = new Uint8Array(16).fill(0xf0);
/** What a counter shows after so many forks: it parts no clone from its siblings. */
const count = (forks: number) => new Uint8Array(16).fill(forks, 0, 1);

const enrolling = (more: EndOptions = {}) =>
  new Pair({ a: { ...more, device: { forkPolicy: 'enrol', ...more.device } } });

/** The keys that were drawn, in their order. */
function drawn({ events }: End): Uint8Array[] {
  return events.filter(event => event.type === 'identityDrawn').map(({ publicKey }) => publicKey);
}

/** What the other end does, when it is told of a new key. */
function know(pair: Pair, publicKey: Uint8Array): void {
  pair.b.device.removePeer(pair.a.publicKey);
  pair.b.device.setPeer({ publicKey, allowedIps: [{ ip: Uint8Array.of(10, 0, 0, 1), prefix: 32 }] });
}

function holds(blocks: readonly Uint8Array[], key: Uint8Array): boolean {
  return blocks.some(block => Buffer.from(block).includes(Buffer.from(key)));
}

describe('a fork', () => {
  it('erases the private key, and what is shared by it, at the first look', () => {
    const blocks = watchKeyBlocks();
    const pair = enrolling().connect();
    const shared = new Uint8Array(32);
    nobleSuite.sharedSecret(pair.a.privateKey, pair.b.publicKey, shared);
    // What the other end has shares its secret too.
    pair.b.device.close();
    expect([holds(blocks, pair.a.privateKey), holds(blocks, shared)]).toEqual([true, true]);
    pair.a.source.fork(ID);
    pair.a.vmgenid.check();
    expect([holds(blocks, pair.a.privateKey), holds(blocks, shared)]).toEqual([false, false]);
    expect(blocks.some(block => block.length === PEER_IDENTITY_BYTES)).toBe(true);
    expect(pair.a.device.publicKey).toBeUndefined();
    expect(pair.a.device.exportPrivateKey()).toBeUndefined();
    expect(pair.a.device.isEnrolling).toBe(true);
  });

  it('control: policy wipe keeps both', () => {
    const blocks = watchKeyBlocks();
    const pair = new Pair().connect();
    pair.b.device.close();
    pair.a.source.fork(ID);
    pair.a.vmgenid.check();
    expect(holds(blocks, pair.a.privateKey)).toBe(true);
  });

  it('draws another key as soon as something parts this clone, and tells of it once', () => {
    const pair = enrolling().connect();
    pair.a.source.fork(ID);
    pair.a.vmgenid.check();
    expect(pair.a.device.nextDeadline()).toBeLessThanOrEqual(pair.clock.ms);
    pair.a.device.runTimers();
    const [key] = drawn(pair.a);
    expect(key).toEqual(pair.a.device.publicKey);
    expect(key).not.toEqual(pair.a.publicKey);
    const privateKey = pair.a.device.exportPrivateKey() as Uint8Array;
    expect(publicKeyOf(nobleSuite, privateKey)).toEqual(key);
    pair.advance(60_000);
    expect(drawn(pair.a)).toHaveLength(1);
  });

  it('draws keys as `wg genkey` makes them', () => {
    const pair = enrolling().connect();
    const lastBytes = new Set<number>();
    for (let i = 0; i < 20; i++) {
      pair.a.source.fork(new Uint8Array(16).fill(i + 1));
      pair.a.device.runTimers();
      const privateKey = pair.a.device.exportPrivateKey() as Uint8Array;
      expect([privateKey[0] & 7, privateKey[31] & 192]).toEqual([0, 64]);
      lastBytes.add(privateKey[31]);
    }
    // Clamped, and else as it was drawn.
    expect(lastBytes.size).toBeGreaterThan(10);
    expect(new Set(drawn(pair.a).map(String)).size).toBe(20);
  });

  it('stays silent with the key that it has drawn, whatever is asked of it, until that is enrolled', () => {
    const pair = enrolling({ peer: { persistentKeepalive: 5 } }).connect();
    pair.send(pair.b, 'under the old keys');
    const old = pair.b.take();
    pair.a.source.fork(ID);
    pair.a.device.runTimers();
    pair.b.device.initiateHandshake(pair.a.publicKey);
    for (const datagram of [...old, ...pair.b.take()]) pair.a.receive(datagram);
    expect(pair.send(pair.a, 'mine?')).toEqual({ drop: 'held' });
    pair.a.device.initiateHandshake(pair.b.publicKey);
    pair.a.device.sendKeepalive(pair.b.publicKey);
    pair.advance(200_000);
    expect(pair.a.take()).toEqual([]);
    expect(pair.a.device.held).toBe(true);
  });

  it('calls every peer at once when it is enrolled, and nothing leaves under the old key', () => {
    const pair = enrolling().connect();
    pair.send(pair.a, 'staged before the fork');
    pair.a.take();
    pair.a.source.fork(ID);
    pair.a.device.runTimers();
    const [key] = drawn(pair.a);
    know(pair, key);
    expect(pair.a.device.completeEnrolment(key)).toBe(true);
    expect(pair.a.types).toEqual([INITIATION]);
    pair.settle();
    expect(pair.b.device.peer(key)?.hasSession).toBe(true);
    expect(pair.send(pair.a, 'of my own')).toBe('sent');
    pair.settle();
    expect(pair.b.received.map(packet => packet.length)).toHaveLength(2);
    expect([pair.a.device.held, pair.a.device.isEnrolling]).toEqual([false, false]);
    expect(pair.a.device.completeEnrolment(key)).toBe(false);
  });

  it('waits for what parts it from its siblings, as an ephemeral does', () => {
    const pair = enrolling({
      source: { vmGenId: count(1), uniqueness: 'counter' },
      crng: { freshnessTimeoutMs: 60_000 },
    }).connect();
    pair.a.source.fork(count(2));
    pair.a.vmgenid.check();
    pair.advance(10_000);
    expect(drawn(pair.a)).toEqual([]);
    expect(pair.a.device.isEnrolling).toBe(true);
    pair.a.vmgenid.learnSeed(pair.a.vmgenid.epoch, new Uint8Array(32).fill(7));
    pair.advance(0);
    expect(drawn(pair.a)).toHaveLength(1);
  });

  it('control: without the barrier it draws at once', () => {
    const pair = enrolling({
      source: { vmGenId: count(1), uniqueness: 'counter' },
      crng: { freshnessTimeoutMs: 0, onNotFresh: 'proceed' },
    }).connect();
    pair.a.source.fork(count(2));
    pair.a.vmgenid.check();
    pair.advance(0);
    expect(drawn(pair.a)).toHaveLength(1);
  });

  it('while it cannot read its generation draws nothing', () => {
    const pair = enrolling().connect();
    pair.a.source.fork(ID);
    pair.a.vmgenid.check();
    pair.a.blind = true;
    pair.advance(1_000);
    expect(drawn(pair.a)).toEqual([]);
    pair.a.blind = false;
    pair.advance(100);
    expect(drawn(pair.a)).toHaveLength(1);
  });
});

describe('a draw', () => {
  /** A machine that has been forked, where this happens when its key is drawn. */
  const drawing = (fill: (pair: Pair, into: Uint8Array) => void): Pair => {
    const pair: Pair = enrolling({
      device: {
        crng: {
          fill: into => (pair.a.device.isEnrolling ? fill(pair, into) : pair.a.crng.fill(into)),
          isFresh: () => pair.a.crng.isFresh(),
          uint32: () => pair.a.crng.uint32(),
          below: bound => pair.a.crng.below(bound),
        },
      },
    });
    pair.connect();
    pair.a.source.fork(ID);
    pair.a.vmgenid.check();
    return pair;
  };

  it('that fails leaves no key, and is tried again', () => {
    let draws = 0;
    const pair = drawing(({ a }, into) => {
      if (++draws === 1) throw new Error('no entropy');
      a.crng.fill(into);
    });
    pair.advance(0);
    expect([draws, drawn(pair.a), pair.a.device.publicKey]).toEqual([1, [], undefined]);
    expect(pair.a.device.isEnrolling).toBe(true);
    pair.advance(100);
    expect([draws, drawn(pair.a)]).toEqual([2, [pair.a.device.publicKey]]);
  });

  it('that brings a fork to light is of no use: what was drawn may be the sibling’s', () => {
    const second = new Uint8Array(16).fill(0xf1);
    const keys: Uint8Array[] = [];
    const pair = drawing(({ a }, into) => {
      a.crng.fill(into);
      keys.push(into.slice());
      if (keys.length > 1) return;
      a.source.fork(second);
      a.vmgenid.check();
    });
    pair.advance(100);
    expect(keys).toHaveLength(2);
    const events = pair.a.events.filter(event => event.type === 'identityDrawn');
    expect(events.map(({ epoch }) => epoch)).toEqual([pair.a.vmgenid.epoch]);
    const privateKey = pair.a.device.exportPrivateKey() as Uint8Array;
    expect(privateKey.subarray(1, 31)).toEqual(keys[1].subarray(1, 31));
  });

  it('gives way to an identity that is set meanwhile', () => {
    const given = new Uint8Array(32).fill(0x71);
    const pair = drawing(({ a }, into) => {
      a.device.setPrivateKey(given);
      a.crng.fill(into);
    });
    pair.advance(100);
    expect([drawn(pair.a), pair.a.device.exportPrivateKey()]).toEqual([[], given]);
    expect(pair.a.device.held).toBe(false);
  });

  it('leaves the key nowhere but where it belongs', () => {
    const memory: Uint8Array[] = [];
    const pair = drawing(({ a }, into) => {
      memory.push(into);
      a.crng.fill(into);
    });
    pair.advance(0);
    expect(drawn(pair.a)).toHaveLength(1);
    expect(memory.map(bytes => bytes.every(byte => byte === 0))).toEqual([true]);
  });
});

describe('a fork of a clone that is not enrolled yet', () => {
  it('ends the key that was drawn, and another is', () => {
    const pair = enrolling().connect();
    pair.a.source.fork(ID);
    pair.a.device.runTimers();
    const [first] = drawn(pair.a);
    pair.a.source.fork(new Uint8Array(16).fill(0xf1));
    // Whoever was asked about it answers now: it is the sibling's too.
    expect(pair.a.device.completeEnrolment(first)).toBe(false);
    expect(pair.a.take()).toEqual([]);
    pair.a.device.runTimers();
    const [, second] = drawn(pair.a);
    expect(second).not.toEqual(first);
    expect(pair.a.device.completeEnrolment(second)).toBe(true);
    expect(pair.a.types).toEqual([INITIATION]);
  });

  it('of one that is, too', () => {
    const pair = enrolling().connect();
    for (const [i, id] of [ID, new Uint8Array(16).fill(0xf1)].entries()) {
      pair.a.source.fork(id);
      pair.a.device.runTimers();
      expect(pair.a.device.completeEnrolment(drawn(pair.a)[i])).toBe(true);
    }
    expect(new Set(drawn(pair.a).map(String)).size).toBe(2);
  });
});

describe('an identity from outside', () => {
  it('ends the wait', () => {
    const pair = enrolling().connect();
    pair.a.source.fork(ID);
    pair.a.vmgenid.check();
    pair.a.device.setPrivateKey(new Uint8Array(32).fill(0x71));
    expect([pair.a.device.held, pair.a.device.isEnrolling]).toEqual([false, false]);
    pair.advance(1_000);
    expect(drawn(pair.a)).toEqual([]);
    expect(pair.send(pair.a)).toBe('staged');
  });

  it('is not taken for one that was drawn', () => {
    const pair = enrolling().connect();
    pair.a.source.fork(ID);
    pair.a.device.runTimers();
    const [key] = drawn(pair.a);
    pair.a.device.setPrivateKey(new Uint8Array(32).fill(0x71));
    expect(pair.a.device.completeEnrolment(key)).toBe(false);
    expect(pair.a.device.publicKey).not.toEqual(key);
  });
});

describe('beginEnrolment', () => {
  it('gives a machine without a key one of its own, without a fork', () => {
    const pair = new Pair({ a: { device: { forkPolicy: 'enrol', privateKey: undefined } } });
    expect(pair.a.device.publicKey).toBeUndefined();
    pair.a.device.beginEnrolment();
    pair.advance(0);
    const [key] = drawn(pair.a);
    know(pair, key);
    expect(pair.a.device.completeEnrolment(key)).toBe(true);
    pair.settle();
    expect(pair.b.device.peer(key)?.hasSession).toBe(true);
  });

  it('ends the sessions of the key until now', () => {
    const pair = enrolling().connect();
    pair.a.device.beginEnrolment();
    expect(pair.a.device.held).toBe(true);
    expect(pair.a.device.sendPacket(packetBetween(pair.a, pair.b))).toEqual({ drop: 'held' });
    expect(pair.a.device.peers()[0].hasSession).toBe(false);
  });
});

it('whoever hears of the key may complete from there', () => {
  const heard: Uint8Array[] = [];
  const pair: Pair = enrolling({
    device: {
      onEvent: event => {
        if (event.type !== 'identityDrawn') return;
        heard.push(event.publicKey);
        know(pair, event.publicKey);
        pair.a.device.completeEnrolment(event.publicKey);
      },
    },
  });
  pair.connect();
  pair.a.source.fork(ID);
  pair.a.device.runTimers();
  expect(heard).toHaveLength(1);
  // One call of the timers is the whole way from the fork to the initiation.
  expect(pair.a.types).toEqual([INITIATION]);
});
