// Which addresses a native cipher gets: those of rooms, and no other, whatever a caller says.

import { expect, it } from 'vitest';
import { Room, addressOf } from '../../native/room.js';
import { openerOf, sealerOf } from '../../protocol/batches.js';
import type { Suite } from '../../protocol/suite.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import type { OutboxSlot } from '../../sessions/ports.js';
import { Pair, heard, sealed } from '../support/pair.js';

const ADDRESS = 0x10_0000;
const system = { addressOf: () => ADDRESS };

/** A suite that notes each address it is given. */
function noting(): { suite: Suite; sealedAt: number[]; openedAt: number[] } {
  const sealedAt: number[] = [];
  const openedAt: number[] = [];
  const suite: Suite = {
    ...nobleSuite,
    sealer: () => {
      const { seal, settle } = sealerOf(nobleSuite);
      return { seal: (...job) => (sealedAt.push(addressOf(job[3])), seal(...job)), settle };
    },
    opener: () => {
      const opener = openerOf(nobleSuite);
      const open = opener.open.bind(opener);
      opener.open = (...job) => (openedAt.push(addressOf(job[3])), open(...job));
      return opener;
    },
  };
  return { suite, sealedAt, openedAt };
}

class RoomSlot extends Room implements OutboxSlot {
  constructor(length: number) {
    super(new Uint8Array(new ArrayBuffer(length)), ADDRESS);
  }
}

it.each<[string, (length: number) => OutboxSlot, number]>([
  ['a room', length => new RoomSlot(length), ADDRESS],
  ['plain memory', length => ({ bytes: new Uint8Array(length) }), 0],
  ['plain memory that claims an address', length => ({ bytes: new Uint8Array(length), address: 1 }), 0],
])('what is sealed in a slot that is %s is sealed at its address, if it has one', (_, take, address) => {
  const { suite, sealedAt } = noting();
  const send = (bytes: Uint8Array, to: unknown) =>
    pair.a.sent.push({ bytes: bytes.slice(), from: pair.a.endpoint, to: to as never });
  const outbox = { take, send: (slot: OutboxSlot, to: unknown) => send(slot.bytes, to), discard: () => {} };
  const sink = { sendDatagram: send, deliverPacket: () => {}, outbox };
  const pair: Pair = new Pair({ suite, a: { device: { sink } } });
  pair.connect();
  sealedAt.length = 0;
  pair.send(pair.a, 'hello');
  expect(sealedAt).toEqual([address]);
  pair.settle();
  expect(heard(pair).at(-1)).toBe('hello');
});

it('what comes in a room is opened at its address, and all else without one', () => {
  const { suite, openedAt } = noting();
  const pair = new Pair({ suite }).connect();
  const [first, second, third] = sealed(pair, 'first', 'second', 'third');
  openedAt.length = 0;
  const memory = new Uint8Array(new ArrayBuffer(256));
  memory.set(first.bytes, 32);
  const { device } = pair.b;
  device.gatherDatagram(Room.over(memory, system).part(32, first.bytes.length), first.from);
  device.gatherDatagram(second.bytes, second.from);
  const claiming = Object.assign(third.bytes.slice(), { address: 1 });
  device.gatherDatagram(claiming, third.from);
  expect(openedAt).toEqual([ADDRESS + 32, 0, 0]);
  expect(heard(pair).slice(-3)).toEqual(['first', 'second', 'third']);
});
