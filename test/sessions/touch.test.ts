// What is fetched beforehand changes nothing: not for packets that are then sent, nor for those that are not, nor for bytes
// that are none.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Pair, heard } from '../support/pair.js';
import { ipv4Packet } from '../support/packets.js';

const inner = (destination: string) => ipv4Packet('10.0.0.1', destination, new Uint8Array(5));

const packets = fc.array(
  fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.constantFrom('10.0.0.2', '10.0.0.99').map(inner)),
  { maxLength: 8 },
);

test('a device that expects packets is as one that does not', () => {
  fc.assert(
    fc.property(fc.array(packets, { maxLength: 6 }), fc.boolean(), (batches, isConnected) => {
      const outcomes = [true, false].map(expects => {
        const pair = new Pair();
        if (isConnected) pair.connect();
        const { device, events } = pair.a;
        const results = batches.map(batch => {
          if (expects) device.expectPackets(batch, batch.length);
          return batch.map(packet => device.sendPacket(packet));
        });
        const sent = pair.a.sent.length;
        pair.settle();
        return {
          results,
          sent,
          heard: heard(pair),
          events,
          stats: device.stats(),
          info: device.peers().length,
        };
      });
      expect(outcomes[0]).toEqual(outcomes[1]);
    }),
    { numRuns: 40 },
  );
});

test('a device expects packets when it has no key, no peer and no session, and after a fork', () => {
  const pair = new Pair();
  const { device } = pair.a;
  const packet = inner('10.0.0.2');
  const expectSome = () => device.expectPackets([packet, new Uint8Array(0), packet], 3);
  expectSome();
  pair.connect();
  expectSome();
  pair.a.source.fork(new Uint8Array(16).fill(7));
  expectSome();
  // It is not an entrance: the fork is noticed by whoever sends.
  expect(device.stats().wipedKeypairs).toBe(0);
  device.sendPacket(packet);
  expect(device.stats().wipedKeypairs).toBeGreaterThan(0);
  expectSome();
  device.removePeer(pair.b.publicKey);
  expectSome();
  expect(device.sendPacket(packet)).toEqual({ drop: 'noRoute' });
});
