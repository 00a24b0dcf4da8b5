import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REJECT_AFTER_MESSAGES } from '../../protocol/constants.js';
import { KEYPAIR_BYTES, Keypair } from '../../protocol/keypair.js';
import { openerOf, sealerOf } from '../../protocol/batches.js';
import type { Suite } from '../../protocol/suite.js';
import {
  BAD_TAG,
  COUNTER_EXHAUSTED,
  REPLAYED_COUNTER,
  REUSED_COUNTER,
  beginOpening,
  finishOpening,
  messageLength,
  paddedLength,
  sealPacket,
} from '../../protocol/transport.js';
import { counting, suites, toHex } from '../support/suites.js';

/** A pair of keypairs that talk to each other, with the sending counter at `counter`. */
function pair(counter = 0n, tripwire = false) {
  const make = (send: number, receive: number, localIndex: number, remoteIndex: number) => {
    const storage = new Uint8Array(new SharedArrayBuffer(KEYPAIR_BYTES));
    storage.fill(send, 0, 32).fill(receive, 32, 64);
    new DataView(storage.buffer).setBigUint64(64, counter, true);
    return new Keypair(storage, {
      createdAt: 0,
      epoch: 1,
      localIndex,
      remoteIndex,
      isInitiator: true,
      tripwire,
    });
  };
  return { sender: make(1, 2, 10, 0xdead_beef), receiver: make(2, 1, 0xdead_beef, 10) };
}

function seal(suite: Suite, sender: Keypair, packet: Uint8Array, mtu = 1420) {
  const padded = paddedLength(packet.length, mtu);
  const out = new Uint8Array(messageLength(padded) + 3).fill(0xee);
  const sealer = sealerOf(suite);
  const length = sealPacket(sealer, sender, packet, padded, out);
  sealer.settle();
  return { length, message: out.slice(0, Math.max(0, length)), rest: out.slice(Math.max(0, length)) };
}

/** A batch of one message. */
function openPacket(suite: Suite, receiver: Keypair, message: Uint8Array): number {
  const opener = openerOf(suite);
  const place = beginOpening(opener, receiver, message);
  if (place < 0) return place;
  opener.settle();
  return finishOpening(opener, place, receiver, message);
}

const counterOf = (message: Uint8Array) => new DataView(message.buffer).getBigUint64(8, true);

describe('padding', () => {
  it.each([
    [0, 1420, 0],
    [1, 1420, 16],
    [16, 1420, 16],
    [17, 1420, 32],
    [1408, 1420, 1408],
    [1409, 1420, 1420],
    [1420, 1420, 1420],
    // Longer than the MTU: as its last piece would be.
    [1421, 1420, 1436],
    [2840, 1420, 2840],
    [2839, 1420, 2840],
    [30, 20, 36],
    [10, 15, 15],
    // No MTU: to a multiple of 16 and nothing else.
    [10, 0, 16],
    [1421, 0, 1424],
    [0, 0, 0],
  ])('a packet of %i bytes under an MTU of %i takes %i', (length, mtu, padded) => {
    expect(paddedLength(length, mtu)).toBe(padded);
  });

  it('is what Linux calculates, for all lengths and MTUs', () => {
    const linux = (length: number, mtu: number) => {
      const align = (n: number) => (n + 15) & ~15;
      let last = length;
      if (mtu === 0) return align(last) - last;
      if (last > mtu) last %= mtu;
      return Math.min(mtu, align(last)) - last;
    };
    fc.assert(
      fc.property(fc.nat(70_000), fc.nat(9_000), (length, mtu) => {
        expect(paddedLength(length, mtu) - length).toBe(linux(length, mtu));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe.each(suites.map(suite => [suite.name, suite] as const))('with the %s suite', (_, suite) => {
  it('writes type, index, counter and nothing beyond its length', () => {
    const { sender } = pair(0x0102_0304_0506_0708n);
    const { message, length, rest } = seal(suite, sender, counting(20));
    expect(length).toBe(16 + 32 + 16);
    expect(toHex(message.subarray(0, 16))).toBe('04000000efbeadde0807060504030201');
    expect(rest.every(byte => byte === 0xee)).toBe(true);
  });

  it.each([0, 1, 15, 16, 17, 1419, 1420, 1500, 9000])('opens in place what was sealed: %i bytes', length => {
    const { sender, receiver } = pair();
    const packet = Uint8Array.from({ length }, (_byte, i) => i * 31);
    const { message } = seal(suite, sender, packet);
    const opened = openPacket(suite, receiver, message);
    expect(opened).toBe(paddedLength(length, 1420));
    expect(message.subarray(16, 16 + length)).toEqual(packet);
    expect(message.subarray(16 + length, 16 + opened).every(byte => byte === 0)).toBe(true);
  });

  it('padding is zero, whatever the buffer held', () => {
    const { sender, receiver } = pair();
    const { message } = seal(suite, sender, counting(1));
    openPacket(suite, receiver, message);
    expect(toHex(message.subarray(16, 32))).toBe('00'.repeat(16));
  });

  it.each([
    2n ** 31n - 1n,
    2n ** 31n,
    2n ** 32n - 2n,
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 53n - 1n,
    2n ** 53n,
    2n ** 53n + 1n,
    2n ** 60n,
    2n ** 63n - 1n,
    2n ** 63n,
    REJECT_AFTER_MESSAGES - 2n,
  ])('counters are exact from %i on', counter => {
    const { sender, receiver } = pair(counter);
    const messages = [seal(suite, sender, counting(3)), seal(suite, sender, counting(3))];
    expect(messages.map(({ message }) => counterOf(message))).toEqual([counter, counter + 1n]);
    expect(sender.counter.value).toBe(counter + 2n);
    for (const { message } of messages) {
      const again = message.slice();
      expect(openPacket(suite, receiver, message)).toBe(16);
      expect(openPacket(suite, receiver, again)).toBe(REPLAYED_COUNTER);
    }
  });

  it('the last counter is the one before REJECT_AFTER_MESSAGES, on both sides', () => {
    const { sender, receiver } = pair(REJECT_AFTER_MESSAGES - 1n);
    const last = seal(suite, sender, counting(3));
    expect(counterOf(last.message)).toBe(REJECT_AFTER_MESSAGES - 1n);
    expect(seal(suite, sender, counting(3)).length).toBe(COUNTER_EXHAUSTED);
    expect(sender.counter.isExhausted()).toBe(true);
    expect(openPacket(suite, receiver, last.message)).toBe(16);

    // A sender without the limit: sealed by hand under the counter that is too high.
    const forged = new Uint8Array(messageLength(16));
    forged[0] = 4;
    new DataView(forged.buffer).setBigUint64(8, REJECT_AFTER_MESSAGES, true);
    const [low, high] = [REJECT_AFTER_MESSAGES & 0xffff_ffffn, REJECT_AFTER_MESSAGES >> 32n].map(Number);
    suite.seal(sender.sendKey, low, high, forged, 16, 16);
    expect(openPacket(suite, pair().receiver, forged)).toBe(REPLAYED_COUNTER);
  });

  it('a wrong bit anywhere behind the index is refused, and marks nothing', () => {
    const { sender, receiver } = pair();
    const { message } = seal(suite, sender, counting(5));
    for (let at = 8; at < message.length; at++) {
      const wrong = message.slice();
      wrong[at] ^= 1;
      expect(openPacket(suite, receiver, wrong), `byte ${at}`).toBe(BAD_TAG);
    }
    expect(openPacket(suite, receiver, message)).toBe(16);
  });

  it('out of order within the window is taken, behind it is not', () => {
    const { sender, receiver } = pair();
    const first = seal(suite, sender, counting(1)).message;
    const second = seal(suite, sender, counting(1)).message;
    const { sender: later } = pair(8129n);
    expect(openPacket(suite, receiver, seal(suite, later, counting(1)).message)).toBe(16);
    expect(openPacket(suite, receiver, second)).toBe(16);
    expect(openPacket(suite, receiver, first)).toBe(REPLAYED_COUNTER);
  });

  describe('a counter that was accepted before', () => {
    const twins = (tripwire: boolean) => {
      const { sender, receiver } = pair(7n, tripwire);
      const one = seal(suite, sender, counting(20)).message;
      const other = seal(suite, pair(7n).sender, counting(21)).message;
      const again = one.slice();
      expect(openPacket(suite, receiver, one)).toBe(32);
      return { receiver, again, other };
    };

    it('with the same message is a replay, which the cipher never sees', () => {
      const { receiver, again } = twins(true);
      const never = () => {
        throw new Error('the cipher ran');
      };
      const idle: Suite = { ...suite, open: never, opener: () => ({ ...openerOf(suite), open: never }) };
      expect(openPacket(idle, receiver, again)).toBe(REPLAYED_COUNTER);
    });

    it('with another authentic message proves two senders, as often as it comes', () => {
      const { receiver, again, other } = twins(true);
      expect(openPacket(suite, receiver, other.slice())).toBe(REUSED_COUNTER);
      expect(openPacket(suite, receiver, other.slice())).toBe(REUSED_COUNTER);
      expect(openPacket(suite, receiver, again)).toBe(REPLAYED_COUNTER);
    });

    it('with a changed byte proves nothing: a forgery', () => {
      const { receiver, again } = twins(true);
      for (let at = 16; at < again.length; at++) {
        const forged = again.slice();
        forged[at] ^= 1;
        const isTag = at >= again.length - 16 && at < again.length - 12;
        expect(openPacket(suite, receiver, forged), `byte ${at}`).toBe(isTag ? BAD_TAG : REPLAYED_COUNTER);
      }
    });

    it('and that the window has left behind proves nothing', () => {
      const { receiver, other } = twins(true);
      const later = seal(suite, pair(7n + 8129n).sender, counting(1)).message;
      expect(openPacket(suite, receiver, later)).toBe(16);
      expect(openPacket(suite, receiver, other)).toBe(REPLAYED_COUNTER);
    });

    it('control: without tags two senders are taken for a replay', () => {
      const { receiver, other } = twins(false);
      expect(openPacket(suite, receiver, other)).toBe(REPLAYED_COUNTER);
    });
  });

  it('the counter is spent even when the cipher throws', () => {
    const { sender } = pair();
    const broken: Suite = Object.assign(Object.create(suite), {
      sealer: undefined,
      seal: () => {
        throw new Error('no cipher today');
      },
    });
    expect(() => seal(broken, sender, counting(3))).toThrow('no cipher today');
    expect(sender.counter.value).toBe(1n);
    expect(counterOf(seal(suite, sender, counting(3)).message)).toBe(1n);
  });

  it('the plaintext is copied before the cipher runs', () => {
    const { sender, receiver } = pair();
    const packet = counting(16);
    const meddling: Suite = Object.assign(Object.create(suite), {
      sealer: undefined,
      seal: (...args: Parameters<Suite['seal']>) => {
        packet.fill(0xff);
        suite.seal(...args);
      },
    });
    const { message } = seal(meddling, sender, packet);
    openPacket(suite, receiver, message);
    expect(message.subarray(16, 32)).toEqual(counting(16));
  });
});
