import { describe, expect, it } from 'vitest';
import { UdpEndpoint } from '../../../../tunnel/endpoint.js';
import { DatagramPool, type DatagramSlot } from '../../../../tunnel/linux/net/datagram-pool.js';
import { UdpOutbox } from '../../../../tunnel/linux/net/udp-outbox.js';
import type { LinuxUdpSocket } from '../../../../tunnel/linux/net/udp.js';
import { libc, numbered, receive, socket, to } from '../sockets.js';

const SMALL = 256;

/** How many slots for a datagram of Ethernet's size a pool has left; they are put back. */
function left(pool: DatagramPool): number {
  const taken: DatagramSlot[] = [];
  for (let slot = pool.take(1_452); slot; slot = pool.take(1_452)) taken.push(slot);
  for (const slot of taken) pool.give(slot);
  return taken.length;
}

function outboxOver(pool: DatagramPool, current: { socket: LinuxUdpSocket | undefined }) {
  let lost = 0;
  const outbox = new UdpOutbox({ pool, socket: () => current.socket, onNoSocket: () => lost++ });
  return { outbox, lost: () => lost };
}

describe('the outbox of a UDP socket', () => {
  it('has what was written into a slot sent, not before it is told to, and gets the slot back', () => {
    const pool = new DatagramPool(libc);
    const [a, b] = [socket({ pool }), socket()];
    const { outbox } = outboxOver(pool, { socket: a });
    const target = to('127.0.0.1', b.port);
    const slots = [1, 2, 3].map(i => {
      const slot = outbox.take(1_000, target)!;
      expect(slot.bytes.length).toBe(1_000);
      slot.bytes.set(numbered(i, 1_000));
      return slot;
    });
    a.flush();
    expect([a.counters.sent, left(pool)]).toEqual([0, SMALL - 3]);
    slots[1].bytes.fill(0);
    outbox.discard(slots[1]);
    outbox.send(slots[0], target);
    outbox.send(slots[2], target);
    expect(left(pool)).toBe(SMALL - 2);
    expect(a.flush()).toBe(0);
    expect(receive(b, 2).map(({ bytes }) => bytes)).toEqual([numbered(1, 1_000), numbered(3, 1_000)]);
    expect(left(pool)).toBe(SMALL);
  });

  it('counts what is lost without a socket, and loses no slot by that', () => {
    const pool = new DatagramPool(libc);
    const current: { socket: LinuxUdpSocket | undefined } = { socket: socket({ pool }) };
    const { outbox, lost } = outboxOver(pool, current);
    const target = to('127.0.0.1', 9);
    const slot = outbox.take(100, target)!;
    current.socket = undefined;
    outbox.send(slot, target);
    expect([lost(), left(pool)]).toEqual([1, SMALL]);
  });

  it('loses no slot by what the socket refuses, nor by its end', () => {
    const pool = new DatagramPool(libc);
    const a = socket({ pool, ipv6: false });
    const { outbox } = outboxOver(pool, { socket: a });
    const v6 = to('::1', 9);
    outbox.send(outbox.take(100, v6)!, v6);
    expect([a.counters.noFamily, left(pool)]).toEqual([1, SMALL]);
    const v4 = to('127.0.0.1', 9);
    outbox.send(outbox.take(100, v4)!, v4);
    expect(left(pool)).toBe(SMALL - 1);
    a.close();
    expect(left(pool)).toBe(SMALL);
  });

  it('has room for every length of a datagram, and for no other endpoints than its own', () => {
    const pool = new DatagramPool(libc);
    const { outbox } = outboxOver(pool, { socket: undefined });
    const target = to('127.0.0.1', 9);
    for (const length of [1, 32, 1_452, 2_112, 2_113, 9_032, 65_507, 65_600]) {
      const slot = outbox.take(length, target)!;
      expect(slot.bytes.length).toBe(length);
      outbox.discard(slot);
    }
    expect(outbox.take(65_601, target)).toBeUndefined();
    expect(outbox.take(100, new UdpEndpoint(Uint8Array.of(127, 0, 0, 1), 9))).toBeUndefined();
    expect(left(pool)).toBe(SMALL);
  });
});
