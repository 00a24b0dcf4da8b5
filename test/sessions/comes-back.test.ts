// After a fork of one end traffic flows again by itself, wherever the other one is: behind an address translator that knows
// the clone by another address, or without any endpoint that was configured. Nobody has anything to say meanwhile.

import { describe, expect, it } from 'vitest';
import type { EndOptions } from '../support/pair.js';
import { Pair, payloadOf } from '../support/pair.js';
import { SimEndpoint } from '../support/machine.js';

const ID = new Uint8Array(16).fill(0xf0);
const NOWHERE = { endpoint: undefined };

/** All that waits in the bag is delivered; what A sends comes out of the translator at this address, and what goes there at A. */
function deliver(pair: Pair, outside: SimEndpoint): void {
  for (let round = 0; round < 20; round++) {
    const fromA = pair.a.take();
    const toA = pair.b.take().filter(({ to }) => to.equals(outside));
    for (const datagram of fromA) pair.b.receive(datagram, outside);
    for (const datagram of toA) pair.a.receive(datagram);
  }
}

function behindNat(device: EndOptions['device'] = {}, idleMs = 20_000) {
  const pair = new Pair({
    a: { device, peer: { persistentKeepalive: 25 } },
    // A gateway learns where its peers are.
    b: { peer: NOWHERE },
  });
  const [before, after] = [new SimEndpoint(91), new SimEndpoint(92)];
  deliver(pair, before);
  pair.clock.ms += idleMs;
  return { pair, before, after };
}

describe('a clone behind an address translator, which has another address for it', () => {
  // The longest that a peer which is kept in reach says nothing is the interval of its keepalives.
  it.each([20_000, 25_000])(
    'calls its gateway at once, %i ms after the last packet, and is reached',
    idleMs => {
      const { pair, after } = behindNat({}, idleMs);
      pair.a.source.fork(ID);
      pair.a.device.runTimers();
      deliver(pair, after);
      pair.send(pair.b, 'from the gateway');
      deliver(pair, after);
      expect(pair.a.received.map(payloadOf)).toEqual(['from the gateway']);
      expect(pair.b.device.peers()[0].endpoint).toEqual(after);
      expect(pair.a.device.stats().recovery).toMatchObject({ called: 1, back: 1 });
    },
  );

  it('control: as Linux does it, the gateway goes on sending to where it was', () => {
    const { pair, after } = behindNat({ forkPolicy: 'expire-sending' });
    pair.a.source.fork(ID);
    pair.a.device.runTimers();
    deliver(pair, after);
    pair.send(pair.b, 'from the gateway');
    deliver(pair, after);
    expect(pair.a.received).toEqual([]);
  });
});

describe('a peer that only listens', () => {
  it('is called where it was heard from last, when the side that knew no endpoint was forked', () => {
    const pair = new Pair({ a: { peer: NOWHERE } });
    pair.send(pair.b, 'hello');
    pair.settle();
    pair.advance(6_000, true);
    pair.a.source.fork(ID);
    pair.a.device.runTimers();
    expect(pair.a.sent.map(({ to }) => to)).toEqual([pair.b.endpoint]);
    pair.settle();
    pair.send(pair.b, 'again');
    pair.settle();
    expect(pair.a.received.map(payloadOf)).toEqual(['hello', 'again']);
  });

  it('is called by the clone that knows where it is, and answers under new keys though it never calls', () => {
    const pair = new Pair({ b: { peer: NOWHERE } }).connect();
    pair.advance(6_000, true);
    pair.a.source.fork(ID);
    pair.a.device.runTimers();
    pair.settle();
    pair.send(pair.b, 'from the listener');
    pair.settle();
    expect(pair.a.received.map(payloadOf)).toEqual(['from the listener']);
    expect(pair.b.count('handshakeInitiated')).toBe(0);
  });
});
