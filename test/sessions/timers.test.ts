// Every timer and limit of WireGuard, by a clock that stands still unless a test moves it.

import { describe, expect, it } from 'vitest';
import { type End, Pair, payloadOf } from '../support/pair.js';

const INITIATION = 1;
const RESPONSE = 2;
const DATA = 4;
const KEEPALIVE_BYTES = 32;

const initiations = (end: End) => end.types.filter(type => type === INITIATION).length;
const keepalives = (end: End) => end.sent.filter(({ bytes }) => bytes.length === KEEPALIVE_BYTES).length;

/** A session that carries traffic both ways every second, so that only ages bring anything about. */
function chatter(pair: Pair, seconds: number): void {
  for (let i = 0; i < seconds; i++) {
    pair.advance(1_000, true);
    pair.send(pair.a);
    pair.send(pair.b);
    pair.settle();
  }
}

describe('new keys by age', () => {
  it('the initiator asks for them when it sends after 120 s, not before', () => {
    const pair = new Pair().connect();
    pair.advance(119_999);
    pair.a.take();
    pair.b.take();
    pair.send(pair.a);
    expect(pair.a.types).toEqual([DATA]);
    pair.advance(1);
    pair.a.take();
    pair.send(pair.a);
    expect(pair.a.types).toEqual([DATA, INITIATION]);
  });

  it('the responder does not ask, however much it sends', () => {
    const pair = new Pair().connect();
    pair.advance(150_000);
    pair.a.take();
    pair.b.take();
    pair.send(pair.b);
    expect(pair.b.types).toEqual([DATA]);
  });

  it('a busy session rekeys every 120 s and loses nothing', () => {
    const pair = new Pair().connect();
    const before = pair.a.received.length;
    chatter(pair, 600);
    expect(pair.a.received.length - before).toBe(600);
    expect(pair.b.received.length).toBe(601);
    expect(pair.a.count('handshakeComplete')).toBe(6);
    expect(pair.b.count('handshakeComplete')).toBe(6);
  });

  it('the initiator asks on receiving at 165 s, once per keypair', () => {
    const pair = new Pair().connect();
    const receive = () => {
      pair.b.take();
      pair.send(pair.b);
      for (const datagram of pair.b.take()) pair.a.receive(datagram);
    };
    pair.advance(164_000);
    pair.a.take();
    receive();
    expect(initiations(pair.a)).toBe(0);
    pair.advance(1_000);
    receive();
    expect(initiations(pair.a)).toBe(1);
    // No answer comes; the retransmission timer, not the next packet, repeats it.
    pair.a.take();
    receive();
    expect(initiations(pair.a)).toBe(0);
  });

  it('on receiving, the age of current counts, also when the packet came under previous', () => {
    const pair = new Pair().connect();
    pair.advance(6_000);
    pair.a.take();
    pair.a.device.initiateHandshake(pair.b.publicKey);
    // The confirmation is lost: the new keys are current at A alone, and B goes on under the old ones.
    pair.b.receive(pair.a.take()[0]);
    pair.a.receive(pair.b.take()[0]);
    pair.a.take();
    for (const [ms, expected] of [
      [164_999, 0],
      [1, 1],
    ]) {
      pair.clock.ms += ms;
      pair.send(pair.b);
      expect(pair.a.receive(pair.b.take()[0])).toBe('data');
      expect(initiations(pair.a)).toBe(expected);
    }
  });

  it('the responder does not ask on receiving', () => {
    const pair = new Pair().connect();
    pair.advance(170_000);
    pair.a.take();
    pair.b.take();
    pair.send(pair.a);
    for (const datagram of pair.a.take()) if (datagram.bytes[0] === DATA) pair.b.receive(datagram);
    expect(initiations(pair.b)).toBe(0);
  });

  it('at 180 s a keypair neither seals nor opens', () => {
    const pair = new Pair().connect();
    pair.send(pair.b);
    const [late] = pair.b.take();
    pair.advance(179_999);
    pair.a.take();
    pair.send(pair.b);
    const [inTime] = pair.b.take().filter(({ bytes }) => bytes[0] === DATA && bytes.length > 32);
    expect(pair.a.receive(inTime)).toBe('data');
    expect(pair.a.device.peers()[0].hasSession).toBe(true);
    pair.advance(1);
    expect(pair.a.receive(late)).toEqual({ drop: 'expiredKeypair' });
    expect(pair.a.device.peers()[0].hasSession).toBe(false);
    expect(pair.send(pair.a)).toBe('staged');
  });
});

describe('retransmission', () => {
  it('an initiation is repeated after 5 s and up to a third of a second more', () => {
    const pair = new Pair();
    pair.send(pair.a);
    const gaps: number[] = [];
    for (let i = 0; i < 12; i++) {
      const before = pair.clock.ms;
      pair.a.take();
      while (initiations(pair.a) === 0) pair.advance(1);
      gaps.push(pair.clock.ms - before);
    }
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(5_000);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(5_334);
    expect(new Set(gaps).size).toBeGreaterThan(4);
  });

  it('after 18 retries in 90 s it is given up, and what is staged is dropped', () => {
    const pair = new Pair();
    expect(pair.send(pair.a)).toBe('staged');
    pair.advance(90_000 + 18 * 334);
    expect(initiations(pair.a)).toBe(19);
    pair.advance(60_000);
    expect(initiations(pair.a)).toBe(19);
    expect(pair.a.count('handshakeGivenUp')).toBe(1);
    const attempts = pair.a.events.flatMap(event =>
      event.type === 'handshakeInitiated' ? [event.attempt] : [],
    );
    expect(attempts).toEqual(Array.from({ length: 19 }, (_, i) => i));

    // The next packet tries again, from the beginning; the old one is gone.
    pair.a.take();
    pair.send(pair.a, 'second');
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['second']);
  });

  it('no initiation leaves less than 5 s after the last handshake message', () => {
    const pair = new Pair();
    for (let i = 0; i < 50; i++) {
      pair.send(pair.a);
      pair.a.device.initiateHandshake(pair.b.publicKey);
      pair.advance(99);
    }
    expect(initiations(pair.a)).toBe(1);
  });

  it('an answer ends the repetition', () => {
    const pair = new Pair().connect();
    pair.advance(9_000);
    expect(initiations(pair.a)).toBe(0);
    expect(pair.a.device.nextDeadline()).toBeGreaterThan(pair.clock.ms + 1_000);
  });

  it('timestamps grow from one initiation to the next, even when the clock is set back', () => {
    const pair = new Pair();
    pair.send(pair.a);
    pair.clock.wallMs = -1_000_000;
    pair.advance(5_400);
    const [first, second] = pair.a.take();
    expect(pair.b.receive(first)).toBe('handshake');
    pair.advance(20);
    expect(pair.b.receive(second)).toBe('handshake');
  });
});

describe('keepalives', () => {
  it('who has received data and sent nothing for 10 s sends one', () => {
    const pair = new Pair().connect();
    pair.advance(9_999);
    expect(keepalives(pair.b)).toBe(0);
    pair.advance(1);
    expect(keepalives(pair.b)).toBe(1);
  });

  it('a keepalive is not answered by a keepalive', () => {
    const pair = new Pair().connect();
    pair.advance(10_000);
    pair.settle();
    pair.advance(60_000);
    expect(keepalives(pair.a)).toBe(0);
    expect(keepalives(pair.b)).toBe(0);
    expect(initiations(pair.a)).toBe(0);
  });

  it('data sent in between makes it needless', () => {
    const pair = new Pair().connect();
    pair.advance(9_000);
    pair.send(pair.b);
    pair.settle();
    pair.advance(9_000);
    expect(keepalives(pair.b)).toBe(0);
  });

  it('data that came while one was due brings a second', () => {
    const pair = new Pair().connect();
    pair.advance(5_000);
    pair.send(pair.a);
    pair.settle();
    pair.advance(5_000);
    expect(keepalives(pair.b)).toBe(1);
    pair.advance(10_000);
    expect(keepalives(pair.b)).toBe(2);
    pair.advance(30_000);
    expect(keepalives(pair.b)).toBe(2);
  });

  it('persistent ones come at their interval, with a handshake where there is no session', () => {
    const pair = new Pair({ a: { peer: { persistentKeepalive: 25 } } });
    expect(pair.a.types).toEqual([INITIATION]);
    pair.settle();
    pair.advance(24_999);
    expect(pair.a.types).toEqual([]);
    pair.advance(1);
    expect(keepalives(pair.a)).toBe(1);
    pair.advance(75_000, true);
    expect(pair.b.device.peers()[0].rxBytes).toBe(148 + 5 * KEEPALIVE_BYTES);
  });

  it('any authenticated traffic puts a persistent one off', () => {
    const pair = new Pair({ a: { peer: { persistentKeepalive: 5 } } });
    pair.settle();
    for (let i = 0; i < 10; i++) {
      pair.advance(3_000, true);
      pair.send(pair.b);
      pair.settle();
    }
    // Two of them answer data, after 10 s; none is a persistent one.
    expect(pair.b.device.peers()[0].rxBytes).toBe(148 + 3 * KEEPALIVE_BYTES);
  });

  it('an interval of 0 ends them', () => {
    const pair = new Pair({ a: { peer: { persistentKeepalive: 5 } } });
    pair.settle();
    pair.a.device.setPeer({ publicKey: pair.b.publicKey, persistentKeepalive: 0 });
    pair.advance(60_000);
    expect(pair.a.types).toEqual([]);
  });

  it('with a peer that is gone, persistent keepalives call it for ever', () => {
    const pair = new Pair({ a: { peer: { persistentKeepalive: 25 } } });
    pair.advance(600_000);
    expect(initiations(pair.a)).toBeGreaterThan(60);
  });
});

describe('silence after data', () => {
  it('after 15 s without an answer a new handshake begins', () => {
    const pair = new Pair().connect();
    pair.send(pair.a);
    pair.a.take();
    pair.advance(14_999);
    expect(initiations(pair.a)).toBe(0);
    pair.advance(335);
    expect(initiations(pair.a)).toBe(1);
  });

  it('the clock starts with the first unanswered packet', () => {
    const pair = new Pair().connect();
    pair.advance(20_000, true);
    for (let i = 0; i < 15; i++) {
      pair.send(pair.a);
      pair.advance(1_000);
    }
    pair.advance(335);
    expect(initiations(pair.a)).toBe(1);
  });

  it('anything authentic that comes back ends it', () => {
    const pair = new Pair().connect();
    pair.advance(20_000, true);
    pair.send(pair.a);
    pair.settle();
    pair.advance(10_000, true);
    pair.advance(30_000);
    expect(initiations(pair.a)).toBe(0);
  });

  it('packets that a responder had staged wait for an answer too', () => {
    const pair = new Pair();
    pair.send(pair.a);
    for (const datagram of pair.a.take()) pair.b.receive(datagram);
    // B is the responder: its packet waits until A has confirmed the session.
    expect(pair.send(pair.b)).toBe('staged');
    for (const datagram of pair.b.take()) pair.a.receive(datagram);
    for (const datagram of pair.a.take()) pair.b.receive(datagram);
    expect(pair.b.types).toEqual([DATA]);
    pair.b.take();
    pair.advance(15_334);
    expect(initiations(pair.b)).toBe(1);
  });

  it('a keepalive alone expects no answer', () => {
    const pair = new Pair().connect();
    pair.advance(30_000, true);
    pair.a.device.sendKeepalive(pair.b.publicKey);
    pair.a.take();
    pair.advance(30_000);
    expect(initiations(pair.a)).toBe(0);
  });
});

describe('a session that has fallen silent', () => {
  it('wakes its device a few times until its keys are erased, and then never again', () => {
    const pair = new Pair().connect();
    for (let i = 0; i < 100; i++) {
      pair.send(i % 2 ? pair.a : pair.b, `${i}`);
      pair.clock.ms += 100;
    }
    pair.settle();
    const devices = [pair.a.device, pair.b.device];
    const earliest = () => Math.min(...devices.map(device => device.nextDeadline()));
    let wakes = 0;
    for (; earliest() !== Number.POSITIVE_INFINITY && wakes < 100; wakes++) {
      pair.clock.ms = earliest();
      for (const device of devices) device.runTimers();
      pair.settle();
    }
    expect(wakes).toBeLessThanOrEqual(10);
    expect([pair.a.count('keysErased'), pair.b.count('keysErased')]).toEqual([1, 1]);
    expect(earliest()).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('the end of keys', () => {
  it('540 s after the last handshake all keys are erased', () => {
    const pair = new Pair().connect();
    pair.advance(539_999, true);
    expect(pair.a.count('keysErased')).toBe(0);
    pair.advance(1);
    expect(pair.a.count('keysErased')).toBe(1);
    expect(pair.b.count('keysErased')).toBe(1);
    // Erased, not only expired: their indices are unknown now.
    expect(pair.a.device.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
  });

  it('a new handshake puts the end off', () => {
    const pair = new Pair().connect();
    pair.advance(300_000, true);
    pair.connect();
    pair.advance(400_000, true);
    expect(pair.a.count('keysErased')).toBe(0);
    pair.advance(140_000);
    expect(pair.a.count('keysErased')).toBe(1);
  });

  it('a handshake that was given up is erased 540 s later', () => {
    const pair = new Pair();
    pair.send(pair.a);
    pair.advance(102_000);
    expect(pair.a.count('handshakeGivenUp')).toBe(1);
    pair.advance(541_000);
    expect(pair.a.count('keysErased')).toBe(1);
  });

  it('a confirmed handshake of the peer ends our own that is in flight', () => {
    const pair = new Pair();
    pair.send(pair.a);
    pair.send(pair.b);
    const [ours] = pair.a.take();
    const [theirs] = pair.b.take();
    expect(pair.b.receive(ours)).toBe('handshake');
    const [answerToOurs] = pair.b.take();
    expect(pair.a.receive(theirs)).toBe('handshake');
    const [answerToTheirs] = pair.a.take();
    expect(answerToTheirs.bytes[0]).toBe(RESPONSE);
    pair.b.receive(answerToTheirs);
    for (const datagram of pair.b.take()) pair.a.receive(datagram);
    // The answer to our own is late: the session stands.
    expect(pair.a.receive(answerToOurs)).toEqual({ drop: 'unknownIndex' });
    pair.settle();
    pair.send(pair.a, 'on');
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toContain('on');
  });
});
