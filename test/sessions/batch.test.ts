// What packets between cork and uncork share, and what a fork in their midst does to them.

import { describe, expect, it } from 'vitest';
import { Pair, payloadOf } from '../support/pair.js';

const ID = new Uint8Array(16).fill(0xf0);

function connected(options: ConstructorParameters<typeof Pair>[0] = {}): Pair {
  const pair = new Pair(options).connect();
  pair.a.take();
  return pair;
}

describe('a batch', () => {
  it('reads the generation once before its packets and once after, however many there are', () => {
    const pair = connected();
    const before = pair.a.reads;
    pair.a.device.cork();
    for (let i = 0; i < 50; i++) expect(pair.send(pair.a, `${i}`)).toBe('sent');
    pair.a.device.uncork();
    expect(pair.a.reads - before).toBe(2);
    expect(pair.a.sent.length).toBe(50);
    // Outside of it every packet has both readings of its own.
    pair.send(pair.a);
    pair.send(pair.a);
    expect(pair.a.reads - before).toBe(2 + 4);
  });

  it('of received data reads it once, and for each handshake message anew', () => {
    const pair = connected();
    for (let i = 0; i < 20; i++) pair.send(pair.a, `${i}`);
    const datagrams = pair.a.take();
    const before = pair.b.reads;
    pair.b.device.cork();
    for (const datagram of datagrams) pair.b.receive(datagram);
    expect(pair.b.reads - before).toBe(1);
    pair.clock.ms += 6_000;
    pair.a.device.initiateHandshake(pair.b.publicKey);
    const [initiation] = pair.a.take();
    pair.b.receive(initiation);
    expect(pair.b.reads - before).toBeGreaterThan(1);
    pair.b.device.uncork();
    expect(pair.b.received.slice(-20).map(payloadOf)).toEqual(datagrams.map((_, i) => `${i}`));
  });

  it('ends with the outermost uncork, and the next one reads anew', () => {
    const pair = connected();
    const { device } = pair.a;
    const before = pair.a.reads;
    device.cork();
    device.cork();
    pair.send(pair.a);
    device.uncork();
    pair.send(pair.a);
    expect(pair.a.reads - before).toBe(1);
    device.uncork();
    expect(pair.a.reads - before).toBe(2);
    device.uncork();
    device.cork();
    pair.send(pair.a);
    expect(pair.a.reads - before).toBe(3);
    device.uncork();
  });
});

describe('a fork in the midst of a batch', () => {
  it.each(['wipe', 'expire-sending', 'hold'] as const)(
    'lets nothing of it leave, whether sealed before the fork or after (%s)',
    forkPolicy => {
      const pair = connected({ a: { device: { forkPolicy } } });
      pair.a.device.cork();
      for (let i = 0; i < 5; i++) {
        if (i === 2) pair.a.source.fork(ID);
        expect(pair.send(pair.a, `${i}`)).toBe('sent');
      }
      pair.a.device.uncork();
      expect(pair.a.types).not.toContain(4);
      expect(pair.a.device.stats().discardedAtRelease).toBe(5);
    },
  );

  it('control: a fork after it lets all of it leave', () => {
    const pair = connected();
    pair.a.device.cork();
    for (let i = 0; i < 5; i++) pair.send(pair.a, `${i}`);
    pair.a.device.uncork();
    pair.a.source.fork(ID);
    expect(pair.a.sent.length).toBe(5);
  });

  it.each(['wipe', 'expire-sending'] as const)(
    'that somebody else notices is in force for its next packet (%s)',
    forkPolicy => {
      const pair = connected({ a: { device: { forkPolicy } } });
      pair.advance(1_000);
      pair.a.device.cork();
      expect(pair.send(pair.a, 'sealed')).toBe('sent');
      pair.a.source.fork(ID);
      pair.a.vmgenid.check();
      // No key of the old epoch is left to seal it under.
      expect(pair.send(pair.a, 'staged')).not.toBe('sent');
      pair.a.device.uncork();
      expect(pair.a.types).not.toContain(4);
      pair.advance(100, true);
      expect(pair.b.received.map(payloadOf).at(-1)).toBe('staged');
    },
  );

  it('has no entrance while nothing vouches for the generation: each packet asks again', () => {
    const pair = connected();
    pair.a.device.cork();
    pair.a.blind = true;
    expect(pair.send(pair.a)).not.toBe('sent');
    expect(pair.send(pair.a)).not.toBe('sent');
    pair.a.device.uncork();
    expect(pair.a.types).not.toContain(4);
  });
});
