// Under load: cookies asked and given, the rate limit, and how long each is good for.

import { describe, expect, it } from 'vitest';
import { cookieKey, cookieValue, createCookieReply, openCookieReply } from '../../protocol/cookie.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { SimEndpoint } from '../support/machine.js';
import { type Datagram, type End, Pair, payloadOf } from '../support/pair.js';

const INITIATION = 1;
const RESPONSE = 2;
const COOKIE = 3;

/** A pair whose second device is always under load. */
const loaded = () => new Pair({ b: { device: { underLoadThreshold: 0 } } });

const mac2 = ({ bytes }: Datagram) => bytes.subarray(bytes.length - 16);
const hasMac2 = (datagram: Datagram) => mac2(datagram).some(byte => byte !== 0);

function initiate({ a }: Pair): Datagram {
  a.device.initiateHandshake(a.device.peers()[0].publicKey);
  const [initiation] = a.take();
  return initiation;
}

/** Sends an initiation in vain and takes the cookie that comes back. */
function fetchCookie(pair: Pair): Datagram {
  const initiation = initiate(pair);
  expect(pair.b.receive(initiation)).toEqual({ drop: 'underLoad' });
  const [reply] = pair.b.take();
  expect(pair.a.receive(reply)).toBe('cookie');
  return initiation;
}

describe('a device under load', () => {
  it('answers with a cookie, and lets in who comes back with it', () => {
    const pair = loaded();
    pair.send(pair.a, 'patience');
    const [first] = pair.a.take();
    expect(hasMac2(first)).toBe(false);
    expect(pair.b.receive(first)).toEqual({ drop: 'underLoad' });
    expect(pair.b.types).toEqual([COOKIE]);
    expect(pair.b.sent[0].bytes.length).toBe(64);
    expect(pair.a.receive(pair.b.take()[0])).toBe('cookie');
    expect(pair.a.count('cookieReceived')).toBe(1);
    // The cookie itself brings about nothing: the next retry carries it.
    expect(pair.a.types).toEqual([]);
    pair.advance(5_400);
    expect(hasMac2(pair.a.sent[0])).toBe(true);
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['patience']);
  });

  it('asks a responder for a cookie too', () => {
    const pair = new Pair({ a: { device: { underLoadThreshold: 0 } } });
    pair.send(pair.a);
    pair.b.receive(pair.a.take()[0]);
    const [response] = pair.b.take();
    expect(response.bytes[0]).toBe(RESPONSE);
    expect(pair.a.receive(response)).toEqual({ drop: 'underLoad' });
    expect(pair.b.receive(pair.a.take()[0])).toBe('cookie');
    pair.advance(5_400);
    const [second] = pair.a.take();
    pair.b.receive(second);
    expect(hasMac2(pair.b.sent[0])).toBe(true);
    expect(pair.a.receive(pair.b.take()[0])).toBe('handshake');
  });

  it('with a wrong mac1 nobody gets a cookie', () => {
    const pair = loaded();
    const initiation = initiate(pair);
    initiation.bytes[116] ^= 1;
    expect(pair.b.receive(initiation)).toEqual({ drop: 'badMac1' });
    expect(pair.b.types).toEqual([]);
  });

  it('a cookie is good for one address and one port', () => {
    const pair = loaded();
    fetchCookie(pair);
    pair.advance(5_400);
    const [withCookie] = pair.a.take();
    expect(pair.b.receive(withCookie, new SimEndpoint(1, 1))).toEqual({ drop: 'underLoad' });
    expect(pair.b.receive(withCookie, new SimEndpoint(9))).toEqual({ drop: 'underLoad' });
    expect(pair.b.receive(withCookie)).toBe('handshake');
  });

  it('lets five through at once and then twenty a second, from each address', () => {
    const pair = loaded();
    fetchCookie(pair);
    pair.advance(5_400);
    const [withCookie] = pair.a.take();
    const results: unknown[] = [];
    for (let i = 0; i < 8; i++) results.push(pair.b.receive(withCookie));
    expect(results[0]).toBe('handshake');
    expect(results.slice(1, 5)).toEqual(Array(4).fill({ drop: 'replayedInitiation' }));
    expect(results.slice(5)).toEqual(Array(3).fill({ drop: 'underLoad' }));
    // Limited, and not asked for another cookie.
    expect(pair.b.types).toEqual([RESPONSE]);
    pair.clock.ms += 50;
    expect(pair.b.receive(withCookie)).toEqual({ drop: 'replayedInitiation' });
    expect(pair.b.receive(withCookie)).toEqual({ drop: 'underLoad' });
  });

  it('begins with 128 handshake messages that wait, and ends a second after they are fewer', () => {
    const pair = new Pair();
    const initiation = initiate(pair);
    const { device } = pair.b;
    const wait = (messages: number) => {
      for (let i = 0; i < messages; i++) device.gatherDatagram(initiation.bytes.slice(), initiation.from);
    };
    wait(127);
    expect(pair.b.receive(initiation)).toBe('handshake');
    wait(1);
    expect(pair.b.receive(initiation)).toEqual({ drop: 'underLoad' });
    pair.b.device.wipe();
    pair.clock.ms += 999;
    expect(pair.b.receive(initiation)).toEqual({ drop: 'underLoad' });
    pair.clock.ms += 1;
    expect(pair.b.receive(initiation)).toEqual({ drop: 'replayedInitiation' });
  });

  it('is what whoever keeps messages away from it says, for a second', () => {
    const pair = new Pair();
    const initiation = initiate(pair);
    pair.b.device.noteLoad();
    pair.clock.ms += 999;
    expect(pair.b.receive(initiation)).toEqual({ drop: 'underLoad' });
    pair.clock.ms += 1;
    expect(pair.b.receive(initiation)).toBe('handshake');
  });

  it('its secret lasts 120 s', () => {
    const pair = loaded();
    fetchCookie(pair);
    pair.advance(114_000);
    const withCookie = pair.a.take().filter(hasMac2);
    const last = withCookie.at(-1) as Datagram;
    const born = pair.clock.ms - 114_000;
    pair.clock.ms = born + 119_999;
    expect(pair.b.receive(last)).toBe('handshake');
    pair.clock.ms = born + 120_000;
    expect(pair.b.receive(last)).toEqual({ drop: 'underLoad' });
    expect(pair.b.types).toEqual([RESPONSE, COOKIE]);
  });
});

describe('a cookie that was given to us', () => {
  it('is drawn anew by a device that was wiped, and never the zeros that were left of the old one', () => {
    const pair = loaded();
    fetchCookie(pair);
    pair.b.device.wipe();
    pair.clock.ms += 6_000;
    const initiation = initiate(pair);
    expect(hasMac2(initiation)).toBe(true);
    expect(pair.b.receive(initiation)).toEqual({ drop: 'underLoad' });
    const [{ bytes }] = pair.b.take();
    const mac1 = initiation.bytes.subarray(initiation.bytes.length - 32, initiation.bytes.length - 16);
    const cookie = openCookieReply(nobleSuite, cookieKey(nobleSuite, pair.b.publicKey), bytes, mac1);
    const { ip, port } = pair.a.endpoint;
    expect(cookie).toBeDefined();
    expect(cookie).not.toEqual(cookieValue(nobleSuite, new Uint8Array(32), ip, port));
  });

  it('is used for 115 s', () => {
    const pair = loaded();
    fetchCookie(pair);
    const received = pair.clock.ms;
    const after = (ms: number) => {
      pair.clock.ms = received + ms;
      return hasMac2(initiate(pair));
    };
    expect(after(5_000)).toBe(true);
    expect(after(114_999)).toBe(true);
    expect(after(120_000)).toBe(false);
  });

  it('is taken once for each mac1: a replay does not prolong it', () => {
    const pair = loaded();
    const initiation = initiate(pair);
    pair.b.receive(initiation);
    const [reply] = pair.b.take();
    expect(pair.a.receive(reply)).toBe('cookie');
    pair.clock.ms += 4_000;
    expect(pair.a.receive(reply)).toEqual({ drop: 'unknownIndex' });
    expect(pair.a.count('cookieReceived')).toBe(1);
  });

  it('must be tied to the last mac1 and sealed by who it comes from', () => {
    const pair = loaded();
    pair.b.receive(initiate(pair));
    const [reply] = pair.b.take();
    const receiverIndex = new DataView(reply.bytes.buffer).getUint32(4, true);
    const forged = createCookieReply(nobleSuite, {
      receiverIndex,
      cookieKey: cookieKey(nobleSuite, pair.b.publicKey),
      cookie: new Uint8Array(16).fill(1),
      nonce: new Uint8Array(24),
      mac1: new Uint8Array(16),
    });
    expect(pair.a.receive({ ...reply, bytes: forged })).toEqual({ drop: 'badTag' });
    for (let at = 8; at < 64; at++) {
      const wrong = reply.bytes.slice();
      wrong[at] ^= 1;
      expect(pair.a.receive({ ...reply, bytes: wrong })).toEqual({ drop: 'badTag' });
    }
    const elsewhere = reply.bytes.slice();
    elsewhere[4] ^= 1;
    expect(pair.a.receive({ ...reply, bytes: elsewhere })).toEqual({ drop: 'unknownIndex' });
    expect(pair.a.receive(reply)).toBe('cookie');
  });

  it('an older reply no longer fits once another initiation was sent', () => {
    const pair = loaded();
    pair.b.receive(initiate(pair));
    const [reply] = pair.b.take();
    pair.advance(5_400);
    expect(pair.a.types).toEqual([INITIATION]);
    expect(pair.a.receive(reply)).toEqual({ drop: 'unknownIndex' });
  });

  it('moves no endpoint and counts as no traffic', () => {
    const pair = loaded();
    pair.b.receive(initiate(pair));
    const [reply] = pair.b.take();
    expect(pair.a.receive(reply, new SimEndpoint(77))).toBe('cookie');
    const [info] = pair.a.device.peers();
    expect(String(info.endpoint)).toBe('192.0.2.2:51820');
    expect(info.rxBytes).toBe(0);
    expect(pair.b.device.peers()[0].txBytes).toBe(0);
  });

  it('does not outlive a fork, on either side', () => {
    const forked = (end: (pair: Pair) => End) => {
      const pair = loaded();
      fetchCookie(pair);
      end(pair).source.fork(new Uint8Array(16).fill(1));
      pair.clock.ms += 6_000;
      const initiation = initiate(pair);
      return [hasMac2(initiation), pair.b.receive(initiation)];
    };
    expect(forked(pair => pair.a)).toEqual([false, { drop: 'underLoad' }]);
    expect(forked(pair => pair.b)).toEqual([true, { drop: 'underLoad' }]);
  });
});
