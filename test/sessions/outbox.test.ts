// The release gate over memory of the sink's own: sealed where it is sent from, and no byte of it sent unchecked.

import { describe, expect, it, vi } from 'vitest';
import { NonceCounter } from '../../protocol/nonce-counter.js';
import { Pair, type EndOptions, payloadOf } from '../support/pair.js';
import { WatchedOutbox } from '../support/outbox.js';

const ID = new Uint8Array(16).fill(0xf1);

/** A pair whose first end seals in `count` buffers of an outbox; `order` is filled with how each datagram left. */
function pairWith(count: number, holdBackMs = 0): { pair: Pair; outbox: WatchedOutbox; order: string[] } {
  const order: string[] = [];
  const push = (how: string, bytes: Uint8Array, to: unknown) => {
    order.push(how);
    pair.a.sent.push({ bytes: bytes.slice(), from: pair.a.endpoint, to: to as never });
  };
  const outbox = new WatchedOutbox(count, (datagram, to) => push('outbox', datagram, to));
  const device: EndOptions['device'] = {
    holdBackMs,
    sink: {
      sendDatagram: (datagram, to) => push('copy', datagram, to),
      deliverPacket: (datagram, at, length) => pair.a.received.push(datagram.slice(at, at + length)),
      outbox,
    },
  };
  const pair: Pair = new Pair({ a: { device } });
  return { pair, outbox, order };
}

function sendMany(pair: Pair, count: number): void {
  for (let i = 0; i < count; i++) expect(pair.send(pair.a, `${i}`)).toBe('sent');
}

describe('a sink with an outbox', () => {
  it('gets data in its own buffers, each back once', () => {
    const { pair, outbox, order } = pairWith(8);
    pair.connect();
    pair.a.device.cork();
    sendMany(pair, 8);
    expect(outbox.out.size).toBe(8);
    pair.a.device.uncork();
    expect(outbox.out.size).toBe(0);
    expect(order.slice(-8)).toEqual(Array.from({ length: 8 }, () => 'outbox'));
    pair.settle();
    expect(pair.b.received.slice(-8).map(payloadOf)).toEqual(Array.from({ length: 8 }, (_, i) => `${i}`));
  });

  it('keeps the order when its buffers run out', () => {
    const { pair, outbox, order } = pairWith(3);
    pair.connect();
    pair.a.device.cork();
    sendMany(pair, 5);
    pair.a.device.uncork();
    expect(order.slice(-5)).toEqual(['outbox', 'outbox', 'outbox', 'copy', 'copy']);
    expect([outbox.out.size, outbox.counts.refused]).toEqual([0, 2]);
    sendMany(pair, 1);
    expect(order.at(-1)).toBe('outbox');
    pair.settle();
    expect(pair.b.received.slice(-6).map(payloadOf)).toEqual(['0', '1', '2', '3', '4', '0']);
  });

  it('has nothing to send of a batch that a fork came before, and finds it zeroed', () => {
    const { pair, outbox, order } = pairWith(4);
    pair.connect();
    const before = order.length;
    pair.a.device.cork();
    sendMany(pair, 6);
    pair.a.source.fork(ID);
    pair.a.device.uncork();
    expect(order.slice(before)).not.toContain('outbox');
    expect(outbox.counts.discarded).toBe(4);
    expect(outbox.out.size).toBe(0);
    expect(pair.a.device.stats().discardedAtRelease).toBe(6);
  });

  it('control: forked after the reading, the batch leaves', () => {
    const { pair, outbox } = pairWith(4);
    pair.connect();
    const { sent } = outbox.counts;
    pair.a.device.cork();
    sendMany(pair, 4);
    pair.a.device.uncork();
    pair.a.source.fork(ID);
    expect(outbox.counts).toMatchObject({ sent: sent + 4, discarded: 0 });
  });

  it('waits with what is held back', () => {
    const { pair, outbox } = pairWith(4, 20);
    pair.connect();
    pair.advance(100, true);
    const { sent } = outbox.counts;
    sendMany(pair, 4);
    pair.advance(19);
    expect([outbox.counts.sent, outbox.out.size]).toEqual([sent, 4]);
    pair.advance(1);
    expect([outbox.counts.sent, outbox.out.size]).toEqual([sent + 4, 0]);
    sendMany(pair, 2);
    pair.a.source.fork(ID);
    pair.advance(30);
    expect(outbox.counts).toMatchObject({ sent: sent + 4, discarded: 2 });
  });

  it('gets a slot back, zeroed, when the keypair has no counter left for it', () => {
    const { pair, outbox } = pairWith(4);
    pair.connect();
    const { sent } = outbox.counts;
    const spend = vi.spyOn(NonceCounter.prototype, 'spend').mockReturnValue(false);
    try {
      expect(pair.send(pair.a, 'waits for new keys')).toBe('staged');
    } finally {
      spend.mockRestore();
    }
    // It would have thrown if there were anything left of the packet.
    expect(outbox.counts).toMatchObject({ sent, discarded: 1 });
    expect(outbox.out.size).toBe(0);
  });
});
