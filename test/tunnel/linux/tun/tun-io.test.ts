import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { equalBytes } from '../../../../native/bytes.js';
import { type PacketDevice, type PacketTaker, TunIo } from '../../../../tunnel/linux/tun/tun-io.js';
import { ACK, type Flow, packet, readPacket, vnet } from '../offload/packets.js';

const EAGAIN = 11;
const EINVAL = 22;
const EBADFD = 77;

function flow(protocol: 'tcp' | 'udp'): Flow {
  const [source, destination] = [Uint8Array.of(10, 0, 0, 1), Uint8Array.of(10, 0, 0, 2)];
  return { version: 4, protocol, source, destination, sourcePort: 1, destinationPort: 2 };
}

/** Packets that belong together. */
function stream(protocol: 'tcp' | 'udp', count = 3): Uint8Array[] {
  return Array.from({ length: count }, (_, i) =>
    packet({ flow: flow(protocol), payload: new Uint8Array(100), sequence: i * 100, id: i, flags: ACK }),
  );
}

/** A device that reads what it is given, and answers writes of so many packets as `answer` says. */
class ScriptedDevice implements PacketDevice {
  readonly toRead: Uint8Array[] = [];
  readonly writes: number[] = [];
  answer: (packets: number) => number = () => 1;
  readonly vnetHeaderBytes: number;
  readonly offloads: readonly string[];

  constructor(offloads: readonly string[] | undefined) {
    this.vnetHeaderBytes = offloads ? 10 : 0;
    this.offloads = offloads ?? [];
  }

  read(buffer: Uint8Array, offset: number): number {
    const next = this.toRead.shift();
    if (!next) return -EAGAIN;
    buffer.set(next, offset);
    return next.length;
  }

  write(): number {
    return this.#write(1);
  }

  writeJoined({ count }: { readonly count: number }): number {
    return this.#write(count);
  }

  #write(packets: number): number {
    this.writes.push(packets);
    return this.answer(packets);
  }
}

/** Keeps what it takes, and what it was told to expect. */
function keeper(): { taker: PacketTaker; got: Uint8Array[]; expected: Uint8Array[][] } {
  const got: Uint8Array[] = [];
  const expected: Uint8Array[][] = [];
  const taker = {
    expect: (packets: readonly Uint8Array[], count: number) =>
      expected.push(packets.slice(0, count).map(each => each.slice())),
    take: (each: Uint8Array) => got.push(each.slice()),
  };
  return { taker, got, expected };
}

function ioOver(device: ScriptedDevice): {
  io: TunIo;
  write: (packets: Uint8Array[]) => number[];
  gone: () => number;
} {
  let gone = 0;
  const io = new TunIo({ tun: device, onGone: () => gone++ });
  const write = (packets: Uint8Array[]) => {
    device.writes.length = 0;
    for (const each of packets) io.write(each, 0, each.length, 0);
    io.flush();
    return [...device.writes];
  };
  return { io, write, gone: () => gone };
}

describe('packets of a TUN device', () => {
  it('are read one by one, with offloads and without', () => {
    for (const offloads of [undefined, ['TUN_TSO', 'TUN_USO']]) {
      const device = new ScriptedDevice(offloads);
      const { io } = ioOver(device);
      const sent = stream('tcp', 2);
      for (const each of sent) device.toRead.push(Buffer.concat(offloads ? [vnet({}), each] : [each]));
      const { taker, got } = keeper();
      expect([io.read(taker), io.lastRead]).toEqual([2, -EAGAIN]);
      expect(got).toEqual(sent);
      expect(io.counters).toMatchObject({ packetsIn: 2, reads: 2, unsplittable: 0 });
      expect([io.read(taker), io.lastRead]).toEqual([0, -EAGAIN]);
    }
  });

  it('are handed on in the order in which they were read, whole and split, and expected before', () => {
    const segment = fc.record({
      kind: fc.constant('split' as const),
      segments: fc.integer({ min: 2, max: 40 }),
    });
    const whole = fc.record({
      kind: fc.constant('whole' as const),
      bytes: fc.integer({ min: 0, max: 9_000 }),
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(whole, whole, whole, segment), { maxLength: 80 }), reads => {
        const device = new ScriptedDevice(['TUN_TSO', 'TUN_USO']);
        const { io } = ioOver(device);
        const sent: Uint8Array[] = [];
        for (const [id, read] of reads.entries()) {
          const of = (bytes: number) =>
            packet({ flow: flow('udp'), payload: new Uint8Array(bytes).fill(id), id });
          if (read.kind === 'whole') {
            sent.push(of(read.bytes));
            device.toRead.push(Buffer.concat([vnet({}), of(read.bytes)]));
          } else {
            // VIRTIO_NET_HDR_GSO_UDP_L4: datagrams of 100 bytes each, whose checksums are left to us.
            const header = vnet({ flags: 1, type: 5, headers: 28, size: 100, start: 20, offset: 6 });
            const partial = { flow: flow('udp'), payload: new Uint8Array(read.segments * 100).fill(id), id };
            device.toRead.push(Buffer.concat([header, packet(partial, true)]));
            for (let i = 0; i < read.segments; i++) sent.push(of(100));
          }
        }
        const { taker, got, expected } = keeper();
        let packets = 0;
        do packets += io.read(taker);
        while (io.lastRead >= 0);
        expect(packets).toBe(sent.length);
        // Their headers are right, or it throws.
        const payloads = (packets: Uint8Array[]) => packets.map(each => readPacket(each).payload);
        expect(payloads(got)).toEqual(payloads(sent));
        expect(io.counters).toMatchObject({ packetsIn: sent.length, reads: reads.length, unsplittable: 0 });
        // Whatever was expected was then taken, in that order and in one piece.
        let at = 0;
        for (const some of expected) {
          expect(some.length).toBeGreaterThan(1);
          at = got.findIndex((each, i) => i >= at && equalBytes(each, some[0]));
          expect(got.slice(at, at + some.length)).toEqual(some);
          at += some.length;
        }
      }),
      { numRuns: 50 },
    );
  });

  it('are counted when they are none that can be split', () => {
    const device = new ScriptedDevice(['TUN_TSO']);
    const { io } = ioOver(device);
    device.toRead.push(Buffer.concat([vnet({ type: 3, size: 10 }), ...stream('udp', 1)]));
    const { taker, got } = keeper();
    expect([io.read(taker), got, io.lastRead]).toEqual([0, [], -EAGAIN]);
    expect(io.counters).toMatchObject({ packetsIn: 0, reads: 1, unsplittable: 1 });
  });

  it('are joined as far as the device takes it', () => {
    const all = ioOver(new ScriptedDevice(['TUN_TSO', 'TUN_USO']));
    expect([all.write(stream('tcp')), all.write(stream('udp'))]).toEqual([[3], [3]]);
    const tcp = ioOver(new ScriptedDevice(['TUN_TSO']));
    expect([tcp.write(stream('tcp')), tcp.write(stream('udp'))]).toEqual([[3], [1, 1, 1]]);
    const none = ioOver(new ScriptedDevice(undefined));
    expect([none.write(stream('tcp')), none.write(stream('udp'))]).toEqual([
      [1, 1, 1],
      [1, 1, 1],
    ]);
  });

  it('are joined no more when the kernel takes none of the first joined ones', () => {
    const device = new ScriptedDevice(['TUN_TSO', 'TUN_USO']);
    const { io, write } = ioOver(device);
    device.answer = packets => (packets > 1 ? -EINVAL : 1);
    for (let i = 0; i < 4; i++) expect(write(stream('udp'))).toEqual([3]);
    expect(write(stream('udp'))).toEqual([1, 1, 1]);
    expect(write(stream('tcp'))).toEqual([3]);
    expect(io.counters).toMatchObject({ undeliverable: 15, packetsOut: 3 });
  });

  it('go on being joined when one of many is refused, or there is no room', () => {
    const device = new ScriptedDevice(['TUN_TSO', 'TUN_USO']);
    const { write } = ioOver(device);
    device.answer = () => -EAGAIN;
    for (let i = 0; i < 10; i++) expect(write(stream('tcp'))).toEqual([3]);
    device.answer = () => 1;
    write(stream('tcp'));
    device.answer = () => -EINVAL;
    for (let i = 0; i < 10; i++) expect(write(stream('tcp'))).toEqual([3]);
  });

  it('tell when the device is gone', () => {
    const device = new ScriptedDevice(['TUN_TSO']);
    const { io, write, gone } = ioOver(device);
    device.answer = () => -EBADFD;
    write(stream('tcp'));
    expect([gone(), io.counters.undeliverable]).toEqual([1, 3]);
  });
});
