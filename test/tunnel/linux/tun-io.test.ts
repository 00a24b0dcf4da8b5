import { describe, expect, it } from 'vitest';
import { type PacketDevice, TunIo } from '../../../tunnel/linux/tun-io.js';
import { ACK, type Flow, packet, vnet } from './offload/packets.js';

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
      const got: Uint8Array[] = [];
      const read = () => io.read(each => got.push(each.slice()));
      expect([read(), read(), read()]).toEqual([1, 1, -EAGAIN]);
      expect(got).toEqual(sent);
      expect(io.counters).toMatchObject({ packetsIn: 2, reads: 2, unsplittable: 0 });
    }
  });

  it('are counted when they are none that can be split', () => {
    const device = new ScriptedDevice(['TUN_TSO']);
    const { io } = ioOver(device);
    device.toRead.push(Buffer.concat([vnet({ type: 3, size: 10 }), ...stream('udp', 1)]));
    expect(io.read(() => expect.unreachable())).toBe(0);
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
