// Handshake messages wait while data does not: bounded, by turns, and whoever has proven himself before strangers.

import { describe, expect, it } from 'vitest';
import { INITIATION_BYTES, RESPONSE_BYTES } from '../../protocol/constants.js';
import { mac1Key, writeMac1 } from '../../protocol/cookie.js';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import {
  HandshakeQueue,
  MAX_QUEUED_EXPECTED,
  MAX_QUEUED_OF_SOURCE,
  MAX_QUEUED_STRANGERS,
} from '../../sessions/handshake-queue.js';
import { HANDSHAKE_BUDGET } from '../../sessions/receive-handshakes.js';
import { SimEndpoint } from '../support/machine.js';
import { type Datagram, type End, Pair, heard, sealed } from '../support/pair.js';

const INITIATION = 1;
const RESPONSE = 2;
const COOKIE = 3;
const ID = new Uint8Array(16).fill(0xf0);

const suite = await fastestSuite();

/** An initiation with a true mac1 and nothing true behind it, as any stranger can make who knows the public key. */
function forgery(to: End, number = 0): Uint8Array {
  const message = new Uint8Array(INITIATION_BYTES);
  message.set([INITIATION, 0, 0, 0, number, number >>> 8]);
  message.fill(9, 8, INITIATION_BYTES - 32);
  writeMac1(suite, mac1Key(suite, to.publicKey), message);
  return message;
}

/** A stranger's address, of so many. */
function stranger(number: number): SimEndpoint {
  return new SimEndpoint(100 + (number % 100), 1_024 + number);
}

/** Where A may be, other than B knows. */
const elsewhere = () => new SimEndpoint(7);

/** Has `end` gather so many forgeries, from many addresses or from one. */
function flood(end: End, count: number, from = stranger): void {
  for (let i = 0; i < count; i++) end.device.gatherDatagram(forgery(end, i), from(i));
}

function initiationOf({ a, b }: Pair): Datagram {
  a.device.initiateHandshake(b.publicKey);
  const [initiation] = a.take();
  expect(initiation.bytes[0]).toBe(INITIATION);
  return initiation;
}

function gather(end: End, { bytes, from }: Datagram): void {
  end.device.gatherDatagram(bytes.slice(), from);
}

const due = ({ device }: End) => device.nextDeadline() === Number.NEGATIVE_INFINITY;

/** Turns until nothing waits. */
function turns(end: End): number {
  let count = 0;
  for (; due(end); count++) end.device.runTimers();
  return count;
}

describe('a handshake message that is gathered', () => {
  it('waits for `runTimers`, which is due at once', () => {
    const pair = new Pair();
    gather(pair.b, initiationOf(pair));
    expect(pair.b.types).toEqual([]);
    expect(due(pair.b)).toBe(true);
    pair.b.device.runTimers();
    expect(pair.b.types).toEqual([RESPONSE]);
    expect(due(pair.b)).toBe(false);
  });

  it('is copied: its memory is the caller’s again', () => {
    const pair = new Pair();
    const { bytes, from } = initiationOf(pair);
    pair.b.device.gatherDatagram(bytes, from);
    bytes.fill(0);
    pair.b.device.runTimers();
    expect(pair.b.types).toEqual([RESPONSE]);
  });

  it('does not part the data around it: one batch is opened as one', () => {
    const pair = new Pair().connect();
    const [first, second] = sealed(pair, '1', '2');
    pair.b.received.length = 0;
    const before = pair.b.reads;
    pair.b.device.cork();
    gather(pair.b, first);
    flood(pair.b, 5);
    expect(heard(pair)).toEqual([]);
    gather(pair.b, second);
    pair.b.device.uncork();
    expect(heard(pair)).toEqual(['1', '2']);
    // Before the batch, and at the gate.
    expect(pair.b.reads - before).toBeLessThanOrEqual(2);
    expect(due(pair.b)).toBe(true);
  });

  it('brings a session about in every role, answers and cookies among them', () => {
    const pair = new Pair({ b: { device: { underLoadThreshold: 0 } } });
    pair.send(pair.a, 'all by the queue');
    for (let rounds = 0; rounds < 400 && pair.b.received.length === 0; rounds++) {
      for (const end of [pair.a, pair.b]) {
        for (const datagram of pair.other(end).take()) gather(end, datagram);
      }
      pair.advance(100);
    }
    expect(pair.a.count('cookieReceived')).toBe(1);
    expect(heard(pair)).toEqual(['all by the queue']);
  });

  it('with an index that nobody waits under takes no room', () => {
    const pair = new Pair().connect();
    const response = new Uint8Array(RESPONSE_BYTES);
    response[0] = RESPONSE;
    const cookie = new Uint8Array(64);
    cookie[0] = COOKIE;
    for (const bytes of [response, cookie]) pair.b.device.gatherDatagram(bytes, pair.a.endpoint);
    expect(due(pair.b)).toBe(false);
    expect(pair.b.drops.unknownIndex).toBe(2);
  });

  it('of a device that was wiped meanwhile is gone', () => {
    const pair = new Pair();
    gather(pair.b, initiationOf(pair));
    pair.b.device.wipe();
    expect(due(pair.b)).toBe(false);
    pair.b.device.runTimers();
    expect(pair.b.types).toEqual([]);
  });
});

describe('a turn', () => {
  it('does a bounded part of what waits, and is due again for the rest', () => {
    const pair = new Pair();
    const count = 100;
    flood(pair.b, count);
    pair.b.device.runTimers();
    const { badTag } = pair.b.drops;
    expect(badTag).toBeGreaterThan(0);
    expect(badTag).toBeLessThanOrEqual(HANDSHAKE_BUDGET / 32);
    expect(due(pair.b)).toBe(true);
    turns(pair.b);
    expect(pair.b.drops.badTag).toBe(count);
  });

  it('does more of what costs less: a wrong mac1 least, then a cookie, then X25519', () => {
    const part = (underLoadThreshold: number, change: (message: Uint8Array) => void) => {
      const pair = new Pair({ b: { device: { underLoadThreshold } } });
      for (let i = 0; i < 600; i++) {
        const message = forgery(pair.b, i);
        change(message);
        pair.b.device.gatherDatagram(message, stranger(i));
      }
      pair.b.device.runTimers();
      const { badMac1, underLoad, badTag } = pair.b.drops;
      return badMac1 + underLoad + badTag;
    };
    const spoiled = part(1_000, message => {
      message[120] ^= 1;
    });
    const cookies = part(0, () => {});
    const opened = part(1_000, () => {});
    expect(spoiled).toBeGreaterThan(2 * cookies);
    expect(cookies).toBeGreaterThan(2 * opened);
  });

  it('answers no stranger with more bytes than he sent, and nobody twice', () => {
    const pair = new Pair({ b: { device: { underLoadThreshold: 0 } } });
    flood(pair.b, 2 * MAX_QUEUED_STRANGERS);
    turns(pair.b);
    const sent = pair.b.take();
    expect(sent.length).toBeGreaterThan(0);
    expect(sent.length).toBeLessThanOrEqual(MAX_QUEUED_STRANGERS);
    expect(sent.every(({ bytes }) => bytes.length < INITIATION_BYTES)).toBe(true);
    expect(pair.b.drops.queueFull).toBe(MAX_QUEUED_STRANGERS);
  });

  it('is not stopped by a listener that throws', () => {
    let throws = 1;
    const pair: Pair = new Pair({
      b: {
        device: {
          onEvent: () => {
            if (throws-- > 0) throw new Error('not today');
          },
        },
        peer: { endpoint: new SimEndpoint(77) },
      },
    });
    const first = initiationOf(pair);
    pair.advance(6_000);
    const [second] = pair.a.take();
    for (const datagram of [first, second]) gather(pair.b, datagram);
    expect(() => pair.b.device.runTimers()).toThrow('not today');
    // The second came too soon after the first.
    expect(pair.b.types).toEqual([RESPONSE]);
    expect(pair.b.drops.flooded).toBe(1);
    expect(due(pair.b)).toBe(false);
  });
});

describe('in a flood', () => {
  const overflow = 3 * MAX_QUEUED_STRANGERS;

  it('data goes through as if there were none', () => {
    const pair = new Pair().connect();
    pair.b.received.length = 0;
    const payloads = Array.from({ length: 50 }, (_, i) => `${i}`);
    for (const payload of payloads) {
      pair.b.device.cork();
      flood(pair.b, 100);
      for (const datagram of sealed(pair, payload)) gather(pair.b, datagram);
      flood(pair.b, 100);
      pair.b.device.uncork();
      pair.b.device.runTimers();
    }
    expect(heard(pair)).toEqual(payloads);
  });

  it('from one address others find room, and are answered', () => {
    const pair = new Pair();
    flood(pair.b, overflow, () => stranger(0));
    expect(pair.b.drops.queueFull).toBeGreaterThan(0);
    gather(pair.b, { ...initiationOf(pair), from: elsewhere() });
    turns(pair.b);
    expect(pair.b.sent.some(({ bytes, to }) => bytes[0] === COOKIE && to.equals(elsewhere()))).toBe(true);
  });

  it('from many addresses who comes with a cookie does not wait behind them', () => {
    const pair = new Pair();
    // A cookie, of a time when the flood began.
    flood(pair.b, 200);
    gather(pair.b, { ...initiationOf(pair), from: elsewhere() });
    turns(pair.b);
    for (const datagram of pair.b.take()) if (datagram.to.equals(elsewhere())) pair.a.receive(datagram);
    expect(pair.a.count('cookieReceived')).toBe(1);
    pair.clock.ms += 6_000;
    flood(pair.b, overflow);
    gather(pair.b, { ...initiationOf(pair), from: elsewhere() });
    pair.b.device.runTimers();
    expect(pair.b.types).toContain(RESPONSE);
  });

  it('control: without its cookie it is one of the strangers, for whom there is no room', () => {
    const pair = new Pair();
    flood(pair.b, overflow);
    const before = pair.b.drops.queueFull;
    gather(pair.b, { ...initiationOf(pair), from: elsewhere() });
    expect(pair.b.drops.queueFull).toBe(before + 1);
  });

  it('from many addresses a peer in conversation, whose keys grow old, is asked for its cookie among the first', () => {
    const pair = new Pair().connect();
    pair.clock.ms += 6_000;
    flood(pair.b, overflow);
    gather(pair.b, initiationOf(pair));
    pair.b.device.runTimers();
    expect(pair.b.sent.some(({ bytes, to }) => bytes[0] === COOKIE && to.equals(pair.a.endpoint))).toBe(true);
  });

  it('whoever forges the address of a peer takes no place of those that a cookie gets', () => {
    const pair = new Pair().connect();
    pair.clock.ms += 6_000;
    flood(pair.b, 200);
    gather(pair.b, initiationOf(pair));
    turns(pair.b);
    for (const datagram of pair.b.take()) if (datagram.to.equals(pair.a.endpoint)) pair.a.receive(datagram);
    pair.clock.ms += 6_000;
    flood(pair.b, overflow, () => pair.a.endpoint);
    flood(pair.b, overflow);
    gather(pair.b, initiationOf(pair));
    pair.b.device.runTimers();
    pair.b.device.runTimers();
    expect(pair.b.types).toContain(RESPONSE);
  });

  it('a cookie lets nobody in faster than the rate limit', () => {
    const pair = new Pair();
    flood(pair.b, 200);
    gather(pair.b, initiationOf(pair));
    turns(pair.b);
    for (const datagram of pair.b.take()) if (datagram.to.equals(pair.a.endpoint)) pair.a.receive(datagram);
    pair.clock.ms += 6_000;
    flood(pair.b, 200);
    const withCookie = initiationOf(pair);
    for (let i = 0; i < 50; i++) gather(pair.b, withCookie);
    turns(pair.b);
    const { replayedInitiation, flooded } = pair.b.drops;
    expect(pair.b.types.filter(type => type === RESPONSE).length).toBe(1);
    expect(replayedInitiation + flooded).toBeLessThanOrEqual(5);
  });

  it('the answer that we wait for goes before them', () => {
    const pair = new Pair();
    pair.send(pair.a, 'first');
    pair.b.receive(pair.a.take()[0]);
    const [response] = pair.b.take();
    flood(pair.a, 100);
    gather(pair.a, response);
    pair.a.device.runTimers();
    expect(pair.a.count('handshakeComplete')).toBe(1);
  });

  it('of answers with an index of ours, seen on the way, data and others still have their part', () => {
    const pair = new Pair().connect();
    pair.clock.ms += 6_000;
    pair.b.device.initiateHandshake(pair.a.publicKey);
    const [{ bytes }] = pair.b.take();
    const forged = new Uint8Array(RESPONSE_BYTES);
    forged[0] = RESPONSE;
    forged.set(bytes.subarray(4, 8), 8);
    writeMac1(suite, mac1Key(suite, pair.b.publicKey), forged);
    const initiation = initiationOf(pair);
    for (let i = 0; i < 2 * MAX_QUEUED_EXPECTED; i++) pair.b.device.gatherDatagram(forged, pair.a.endpoint);
    expect(pair.b.drops.queueFull).toBe(MAX_QUEUED_EXPECTED);
    gather(pair.b, initiation);
    pair.b.device.runTimers();
    // Its turn has come, in the first turn: who is told to fetch a cookie has been heard.
    expect(pair.b.types).toEqual(expect.arrayContaining([COOKIE]));
    expect(pair.b.sent.filter(({ bytes: sent }) => sent[4] === initiation.bytes[4]).length).toBeGreaterThan(
      0,
    );
  });
});

describe('a fork while messages wait', () => {
  const forked = (forkPolicy: 'wipe' | 'expire-sending') => {
    const pair = new Pair({ b: { device: { forkPolicy } } });
    gather(pair.b, initiationOf(pair));
    pair.b.source.fork(ID);
    pair.b.device.runTimers();
    return pair;
  };

  it.each(['wipe', 'expire-sending'] as const)('none of them is answered, policy %s', policy => {
    const pair = forked(policy);
    expect(pair.b.types).not.toContain(RESPONSE);
    expect(pair.b.drops.staleEpoch).toBe(1);
    expect(due(pair.b)).toBe(false);
  });

  it('what comes after it is, though nothing else has shown the fork', () => {
    const pair = new Pair();
    pair.b.source.fork(ID);
    gather(pair.b, initiationOf(pair));
    pair.b.device.runTimers();
    expect(pair.b.types).toContain(RESPONSE);
  });

  it('that falls into a turn, and is found when the answer is drawn, keeps it from being answered', () => {
    const pair = new Pair();
    const first = initiationOf(pair);
    pair.advance(6_000);
    const [second] = pair.a.take();
    gather(pair.b, { ...first, bytes: forgery(pair.b) });
    gather(pair.b, second);
    let reads = 0;
    // The turn reads it at its start; then the generator does.
    const fork = pair.b.source.fork.bind(pair.b.source);
    pair.b.vmgenid.register('application', () => {});
    const { check } = pair.b.vmgenid;
    pair.b.vmgenid.check = () => {
      if (++reads === 2) fork(ID);
      return check.call(pair.b.vmgenid);
    };
    pair.b.device.runTimers();
    expect(reads).toBeGreaterThanOrEqual(2);
    expect(pair.b.types).not.toContain(RESPONSE);
    expect(pair.b.device.stats()).toMatchObject({ forks: 1, waitingForFreshness: 0 });
  });

  it('while nothing vouches for the generation none of them is answered', () => {
    const pair = new Pair();
    gather(pair.b, initiationOf(pair));
    pair.b.blind = true;
    pair.b.device.runTimers();
    expect(pair.b.types).toEqual([]);
    expect(pair.b.drops.staleEpoch).toBe(1);
  });
});

describe('the queue', () => {
  const message = (type: number, length: number, mark: number) => {
    const bytes = new Uint8Array(length).fill(mark);
    bytes[0] = type;
    return bytes;
  };

  it('gives each message as it came, first in, first out, whatever was in its place before', () => {
    const queue = new HandshakeQueue();
    const lengths: [number, number][] = [
      [INITIATION, INITIATION_BYTES],
      [RESPONSE, RESPONSE_BYTES],
      [COOKIE, 64],
    ];
    for (let round = 0; round < 3; round++) {
      const messages = Array.from({ length: 60 }, (_, i) => message(...lengths[(i + round) % 3], i));
      for (const bytes of messages) expect(queue.putStranger(bytes, stranger(0), round, false)).toBe(true);
      for (const bytes of messages) {
        const taken = queue.take();
        expect(taken).toMatchObject({ epoch: round, isAdmitted: false });
        expect([...(taken?.message ?? [])]).toEqual([...bytes]);
        if (taken) queue.recycle(taken);
      }
      expect(queue.take()).toBeUndefined();
    }
  });

  it('keeps one that was taken as it is until it is given back', () => {
    const queue = new HandshakeQueue();
    queue.putStranger(message(INITIATION, INITIATION_BYTES, 1), stranger(0), 1, false);
    const taken = queue.take();
    for (let i = 0; i < MAX_QUEUED_STRANGERS; i++) {
      queue.putStranger(message(INITIATION, INITIATION_BYTES, 2), stranger(i), 1, false);
    }
    queue.clear();
    queue.putStranger(message(INITIATION, INITIATION_BYTES, 3), stranger(0), 1, false);
    expect(taken?.message[100]).toBe(1);
  });

  it('leaves to one source, as soon as it is half full, an eighth', () => {
    const queue = new HandshakeQueue();
    const bytes = message(INITIATION, INITIATION_BYTES, 0);
    const put = (from: SimEndpoint) => queue.putStranger(bytes, from, 1, false);
    let ofOne = 0;
    while (put(stranger(0))) ofOne++;
    expect(ofOne).toBe(MAX_QUEUED_STRANGERS / 2);
    let ofOther = 0;
    while (put(stranger(1))) ofOther++;
    expect(ofOther).toBe(MAX_QUEUED_OF_SOURCE);
    // What was taken out counts no more.
    while (queue.length > 0) queue.take();
    expect(put(stranger(0))).toBe(true);
  });

  it('takes by turns what is expected and what is not', () => {
    const queue = new HandshakeQueue();
    const bytes = message(INITIATION, INITIATION_BYTES, 0);
    for (let i = 0; i < 4; i++) queue.putStranger(bytes, stranger(i), 1, false);
    for (let i = 0; i < 2; i++) queue.putExpected(bytes, stranger(i), 1, true);
    const order = Array.from({ length: 6 }, () => queue.take()?.isAdmitted);
    expect(order).toEqual([true, false, true, false, false, false]);
  });
});
