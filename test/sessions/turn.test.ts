// A turn: what packets between cork and uncork share, what a fork in their midst does to them, and who hears of it when.

import { describe, expect, it, vi } from 'vitest';
import type { Suite } from '../../protocol/suite.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { IndexTable } from '../../sessions/index-table.js';
import { Pair, heard, payloadOf, sealed } from '../support/pair.js';

const ID = new Uint8Array(16).fill(0xf0);
let pair: Pair;

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

  it('of received datagrams reads it once, handshake messages among them', () => {
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
    expect(pair.b.reads - before).toBe(1);
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

describe('a turn', () => {
  it('hands out packets and events when it is over, after what it sends', () => {
    const order: string[] = [];
    const pair: Pair = new Pair({
      b: {
        device: { onEvent: ({ type }) => order.push(type) },
        onPacket: packet => order.push(payloadOf(packet)),
        onDatagram: () => order.push('sent'),
      },
    }).connect();
    const [first, second] = sealed(pair, 'one', 'two');
    order.length = 0;
    pair.b.device.cork();
    pair.b.device.receiveDatagram(first.bytes, first.from);
    pair.b.device.receiveDatagram(second.bytes, second.from);
    expect(pair.send(pair.b)).toBe('sent');
    expect(order).toEqual([]);
    pair.b.device.uncork();
    expect(order).toEqual(['sent', 'one', 'two']);
  });

  it('that is begun by whoever hears of a packet is one of its own: what it sends has left when its call returns', () => {
    const answers: unknown[] = [];
    const pair: Pair = new Pair({
      b: {
        onPacket: packet =>
          payloadOf(packet) === 'ask' && answers.push(pair.send(pair.b), pair.b.sent.length),
      },
    }).connect();
    pair.b.take();
    const [ask] = sealed(pair, 'ask');
    pair.b.receive(ask);
    expect(answers).toEqual(['sent', 1]);
  });

  it('makes a bounded number of handshakes, and asks for another turn as long as there are more', () => {
    const pair = new Pair();
    const { device } = pair.a;
    const others = Array.from({ length: 100 }, (_, i) => {
      const publicKey = new Uint8Array(32).fill(9);
      publicKey[0] = i;
      device.setPeer({ publicKey, endpoint: pair.b.endpoint });
      return publicKey;
    });
    device.cork();
    for (const publicKey of others) device.initiateHandshake(publicKey);
    expect(pair.a.types).toEqual([]);
    device.uncork();
    const sent = [pair.a.sent.length];
    while (device.nextDeadline() === Number.NEGATIVE_INFINITY) {
      device.runTimers();
      sent.push(pair.a.sent.length);
    }
    expect(sent).toEqual([32, 64, 96, 100]);
  });

  it('is not disturbed by who hears, through the chain, of a fork that a draw has brought to light', () => {
    let reads = 0;
    let forkAt = Number.POSITIVE_INFINITY;
    const onRead = () => {
      if (++reads === forkAt) pair.a.source.fork(ID);
    };
    // The look at the entrance, then those of the generator's.
    for (let offset = 2; offset <= 8; offset++) {
      for (const act of ['removes the peer', 'calls it', 'sets a key', 'wipes', 'sends'] as const) {
        reads = 0;
        forkAt = Number.POSITIVE_INFINITY;
        pair = new Pair({ a: { source: { onRead } } });
        const { device, vmgenid } = pair.a;
        const { publicKey } = pair.b;
        vmgenid.register('application', () => {
          if (act === 'removes the peer') device.removePeer(publicKey);
          else if (act === 'calls it') device.initiateHandshake(publicKey);
          else if (act === 'sets a key') device.setPrivateKey(new Uint8Array(32).fill(7));
          else if (act === 'wipes') device.wipe();
          else pair.send(pair.a, 'meanwhile');
        });
        forkAt = reads + offset;
        pair.send(pair.a, 'hello');
        forkAt = Number.POSITIVE_INFINITY;
        pair.advance(6_000, true);
        const isKnown = act !== 'removes the peer' && act !== 'sets a key';
        if (isKnown) expect(heard(pair), `${act}, read ${offset}`).toContain('hello');
        else expect(pair.a.device.stats().wipedKeypairs).toBe(0);
      }
    }
    expect(pair.a.vmgenid.epoch).toBeGreaterThan(1);
  });
});

describe('what goes wrong in a turn', () => {
  /** A suite whose next call of `method` throws once. */
  const failing = (method: 'mac' | 'seal') => {
    const state = { throws: false };
    const real = nobleSuite[method].bind(nobleSuite) as (...given: never[]) => never;
    const suite = Object.assign(Object.create(nobleSuite) as Suite, {
      [method]: (...given: never[]) => {
        if (state.throws) {
          state.throws = false;
          throw new Error('no cipher today');
        }
        return real(...given);
      },
    });
    return { state, suite };
  };

  it.each(['mac', 'seal'] as const)(
    'with an initiation is tried again by its timer, and leaves no index in use: %s throws',
    method => {
      const { state, suite } = failing(method);
      const inUse = new Set<number>();
      const { insert, remove } = IndexTable.prototype;
      vi.spyOn(IndexTable.prototype, 'insert').mockImplementation(function (
        this: IndexTable<unknown>,
        ...given
      ) {
        const index = insert.apply(this, given);
        inUse.add(index);
        return index;
      });
      vi.spyOn(IndexTable.prototype, 'remove').mockImplementation(function (
        this: IndexTable<unknown>,
        index,
      ) {
        inUse.delete(index);
        return remove.call(this, index);
      });
      const pair = new Pair({ a: { device: { suite } } });
      state.throws = true;
      expect(() => pair.send(pair.a, 'hello')).toThrow('no cipher today');
      expect([pair.a.types, inUse.size]).toEqual([[], 0]);
      pair.advance(6_000, true);
      expect(heard(pair)).toEqual(['hello']);
      vi.restoreAllMocks();
    },
  );

  it('as one `uncork` too many, by whoever hears of a fork in its midst, ends no other turn', () => {
    const pair = new Pair().connect();
    const { device, source, vmgenid } = pair.a;
    const off = vmgenid.register('application', () => device.uncork());
    source.fork(ID);
    pair.send(pair.a, 'first');
    pair.advance(200_000, true);
    off();
    source.fork(new Uint8Array(16).fill(0xf1));
    pair.send(pair.a, 'second');
    pair.advance(6_000, true);
    expect(heard(pair)).toEqual(['connect', 'first', 'second']);
    expect(device.stats().forks).toBe(2);
  });

  it('as its end by whoever is handed a packet: nothing is handed out or sent after it', () => {
    const pair: Pair = new Pair({
      b: { onPacket: packet => payloadOf(packet) === '2' && pair.b.device.close() },
    }).connect();
    const datagrams = sealed(pair, '1', '2', '3');
    pair.b.take();
    pair.b.device.cork();
    for (const { bytes, from } of datagrams) pair.b.device.gatherDatagram(bytes, from);
    pair.b.device.uncork();
    expect(heard(pair)).toEqual(['connect', '1', '2']);
    pair.a.device.cork();
    expect(pair.send(pair.a, 'late')).toBe('sent');
    pair.a.take();
    pair.a.device.close();
    pair.a.device.uncork();
    expect(pair.a.types).toEqual([]);
    expect(pair.a.device.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
  });
});
