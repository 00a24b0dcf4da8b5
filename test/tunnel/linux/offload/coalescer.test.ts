import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Coalescer, MAX_JOINED } from '../../../../tunnel/linux/offload/coalescer.js';
import { type PacketSum, plainMemory, sumAnywhere } from '../../../../tunnel/linux/offload/packet-memory.js';
import { Segmenter } from '../../../../tunnel/linux/offload/segmenter.js';
import {
  ACK,
  CWR,
  ECE,
  FIN,
  type Flow,
  PSH,
  type PacketFields,
  SYN,
  arbitraryFlow,
  arbitraryTcpOptions,
  packet,
  readPacket,
} from './packets.js';

const PACKET_AT = 7;

/** What is written, each write as the kernel would read it. */
function join(packets: readonly Uint8Array[], udp = true, sum: PacketSum = sumAnywhere): Uint8Array[] {
  const writes: Uint8Array[] = [];
  // Not at the start of their memory, as in a datagram.
  const lying = packets.map(each =>
    Buffer.concat([Buffer.alloc(PACKET_AT, 0xee), each, Buffer.alloc(9, 0xee)]),
  );
  const taken = lying.map((memory, i) => memory.subarray(PACKET_AT, PACKET_AT + packets[i].length));
  const coalescer = new Coalescer({
    joins: { tcp: true, udp },
    sum,
    write: ({ vnetHeader, addresses, lengths, count, headersLength }) => {
      const parts = addresses.slice(0, count).map(address => taken[address]);
      for (let i = 0; i < count; i++) expect(lengths[i]).toBe(packets[addresses[i]].length);
      const pieces = parts.map((part, i) => (i === 0 ? part : part.subarray(headersLength)));
      writes.push(new Uint8Array(Buffer.concat([vnetHeader, ...pieces])));
    },
  });
  expect(coalescer.isEmpty).toBe(true);
  for (const [i, { length }] of packets.entries()) coalescer.push(lying[i], PACKET_AT, length, i);
  expect(coalescer.isEmpty).toBe(packets.length === 0);
  coalescer.flush();
  expect(coalescer.isEmpty).toBe(true);
  return writes;
}

function split(write: Uint8Array): Uint8Array[] {
  const segmenter = new Segmenter(plainMemory(write.slice()));
  const packets: Uint8Array[] = [];
  for (let next = segmenter.first(0, write.length); next; next = segmenter.next()) packets.push(next.slice());
  return packets;
}

const splitAll = (writes: readonly Uint8Array[]) => writes.flatMap(split);

/** An IPv4 packet that may not be fragmented, without the ID that then says nothing, and its checksum. */
function withoutId(bytes: Uint8Array): string {
  const copy = bytes.slice();
  if (copy[0] >> 4 === 4 && (copy[6] & 0x40) !== 0) copy.fill(0, 4, 6).fill(0, 10, 12);
  return Buffer.from(copy).toString('hex');
}

function byFlow(packets: readonly Uint8Array[]): Map<string, string[]> {
  const flows = new Map<string, string[]>();
  for (const each of packets) {
    const { flow } = readPacket(each);
    flows.set(flow, [...(flows.get(flow) ?? []), withoutId(each)]);
  }
  return flows;
}

const flow = (version: 4 | 6, protocol: 'tcp' | 'udp', port = 1): Flow => ({
  version,
  protocol,
  source: new Uint8Array(version === 4 ? 4 : 16).fill(10),
  destination: new Uint8Array(version === 4 ? 4 : 16).fill(11),
  sourcePort: port,
  destinationPort: 443,
});

/** A stream as a TCP sends it: `sizes` bytes each, IDs that count up. */
function stream(
  fields: Omit<PacketFields, 'payload'>,
  sizes: readonly number[],
  start = 1_000,
): Uint8Array[] {
  let sequence = start;
  return sizes.map((size, i) => {
    const payload = Uint8Array.from({ length: size }, (_, k) => k * 7 + i);
    const made = packet({ ...fields, payload, sequence: sequence % 2 ** 32, id: (start + i) & 0xffff });
    sequence += size;
    return made;
  });
}

const families = fc.constantFrom<{ version: 4 | 6; protocol: 'tcp' | 'udp' }>(
  { version: 4, protocol: 'tcp' },
  { version: 6, protocol: 'tcp' },
  { version: 4, protocol: 'udp' },
  { version: 6, protocol: 'udp' },
);

/** Packets of a few flows that go on, stop, jump, repeat themselves and change their mind. */
const arbitraryTraffic: fc.Arbitrary<Uint8Array[]> = fc
  .record({
    flows: fc.array(arbitraryFlow(), { minLength: 1, maxLength: 4 }),
    options: arbitraryTcpOptions,
    steps: fc.array(
      fc.record({
        flow: fc.nat(3),
        size: fc.oneof({ weight: 6, arbitrary: fc.constant(100) }, fc.nat(120)),
        jump: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.nat(0xffff_ffff)),
        idJump: fc.oneof({ weight: 9, arbitrary: fc.constant(1) }, fc.nat(3)),
        flags: fc.oneof(
          { weight: 9, arbitrary: fc.constant(ACK) },
          fc.constantFrom(ACK | PSH, ACK | FIN, ACK | ECE, ACK | CWR, SYN, SYN | ACK, 0),
        ),
        change: fc.oneof(
          { weight: 9, arbitrary: fc.constant({}) },
          fc.constantFrom<Partial<PacketFields>>(
            { tos: 2 },
            { ttl: 63 },
            { dontFragment: false },
            { acknowledgement: 1 },
            { window: 1 },
            { urgent: 1 },
            { flowLabel: 1 },
            { tcpOptions: new Uint8Array(4) },
            { ipOptions: new Uint8Array(4).fill(1) },
          ),
        ),
      }),
      { minLength: 10, maxLength: 100 },
    ),
  })
  .map(({ flows, options, steps }) => {
    const sequences = flows.map((_, i) => (2 ** 32 - 500 + i) % 2 ** 32);
    const ids = flows.map((_, i) => 0xfff0 + i);
    return steps.map(step => {
      const i = step.flow % flows.length;
      sequences[i] = (sequences[i] + step.jump) % 2 ** 32;
      const payload = new Uint8Array(step.size).fill(step.flow);
      const made = packet({
        flow: flows[i],
        payload,
        sequence: sequences[i],
        id: ids[i] & 0xffff,
        flags: step.flags,
        tcpOptions: options,
        ...step.change,
      });
      sequences[i] = (sequences[i] + step.size) % 2 ** 32;
      ids[i] += step.idJump;
      return made;
    });
  });

describe('the coalescer', () => {
  it('joins what the segmenter splits, and the other way round: the same packets, each flow in its order', () => {
    let joined = 0;
    fc.assert(
      fc.property(arbitraryTraffic, fc.boolean(), (traffic, udp) => {
        const writes = join(traffic, udp);
        joined += traffic.length - writes.length;
        // Every length and checksum is looked at by a reader of the tests’ own.
        expect(byFlow(splitAll(writes))).toEqual(byFlow(traffic));
      }),
      { numRuns: 400 },
    );
    expect(joined).toBeGreaterThan(1_000);
  });

  it('writes a stream of equal segments at once, and splitting it again gives every byte back', () => {
    fc.assert(
      fc.property(
        families,
        arbitraryTcpOptions,
        fc.integer({ min: 2, max: 40 }),
        fc.nat(1_000),
        (family, tcpOptions, count, last) => {
          const sizes = Array.from({ length: count }, () => 1_368).fill(last + 1, count - 1);
          const packets = stream(
            { flow: flow(family.version, family.protocol), tcpOptions, flags: ACK },
            sizes,
            0xffff_fff0,
          );
          const writes = join(packets);
          expect(writes).toHaveLength(1);
          expect(Buffer.concat(split(writes[0])).equals(Buffer.concat(packets))).toBe(true);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('splits and joins a whole to the same whole', () => {
    const packets = stream({ flow: flow(4, 'tcp'), flags: ACK }, [
      ...Array.from({ length: 40 }, () => 1_000),
      17,
    ]);
    const [write] = join(packets);
    expect(join(split(write))).toEqual([write]);
  });

  const tcp = (fields: Partial<PacketFields> = {}, sizes = [100, 100, 100]) =>
    stream({ flow: flow(4, 'tcp'), ...fields }, sizes);
  const sizesOf = (packets: Uint8Array[], udp = true) => join(packets, udp).map(write => split(write).length);

  it('ends a write with what ends a stretch: a short segment, PSH, FIN, the longest packet', () => {
    const psh = tcp();
    psh[1] = packet({
      flow: flow(4, 'tcp'),
      payload: new Uint8Array(100),
      sequence: 1_100,
      id: 1_001,
      flags: ACK | PSH,
    });
    expect(sizesOf(psh)).toEqual([2, 1]);
    psh[1] = packet({
      flow: flow(4, 'tcp'),
      payload: new Uint8Array(100),
      sequence: 1_100,
      id: 1_001,
      flags: ACK | FIN,
    });
    expect(sizesOf(psh)).toEqual([2, 1]);
    expect(sizesOf(tcp({}, [100, 99, 99]))).toEqual([2, 1]);
    expect(sizesOf(tcp({}, [100, 101, 101]))).toEqual([1, 2]);
    expect(
      sizesOf(
        tcp(
          {},
          Array.from({ length: 50 }, () => 1_368),
        ),
      ),
    ).toEqual([47, 3]);
    expect(
      sizesOf(
        tcp(
          {},
          Array.from({ length: MAX_JOINED + 1 }, () => 10),
        ),
      ),
    ).toEqual([MAX_JOINED, 1]);
    expect(sizesOf(tcp({ flags: ACK | PSH }))).toEqual([1, 1, 1]);
  });

  it('lets CWR begin a write and not go on with one', () => {
    const cwr = packet({
      flow: flow(4, 'tcp'),
      payload: new Uint8Array(100),
      sequence: 900,
      id: 999,
      flags: ACK | CWR,
    });
    const packets = [cwr, ...tcp()];
    expect(sizesOf(packets)).toEqual([4]);
    expect(join(packets)[0][1]).toBe(0x81);
    expect(
      sizesOf([
        ...tcp().slice(0, 2),
        packet({
          flow: flow(4, 'tcp'),
          payload: new Uint8Array(100),
          sequence: 1_200,
          id: 1_002,
          flags: ACK | CWR,
        }),
      ]),
    ).toEqual([2, 1]);
  });

  it('joins nothing over a gap, an overlap or a repetition', () => {
    const [a, b, c] = tcp();
    expect(sizesOf([a, c])).toEqual([1, 1]);
    expect(sizesOf([a, b, b, c])).toEqual([2, 2]);
    expect(sizesOf([b, a])).toEqual([1, 1]);
  });

  it('leaves alone what cannot be told as one', () => {
    expect(sizesOf(tcp({ flags: SYN | ACK }))).toEqual([1, 1, 1]);
    expect(sizesOf(tcp({}, [0, 0]))).toEqual([1, 1]);
    expect(sizesOf(tcp({ ipOptions: new Uint8Array(4).fill(1) }))).toEqual([1, 1, 1]);
    const noChecksum = stream({ flow: flow(4, 'udp') }, [100, 100]);
    for (const each of noChecksum) each.fill(0, 26, 28);
    expect(join(noChecksum)).toHaveLength(2);
    expect(sizesOf(stream({ flow: flow(4, 'udp') }, [100, 100]), false)).toEqual([1, 1]);
    expect(sizesOf(stream({ flow: flow(4, 'udp') }, [100, 100]))).toEqual([2]);
  });

  it('keeps IDs that count; where they say nothing they may stand still', () => {
    const id = (sequence: number, id: number, dontFragment: boolean) =>
      packet({ flow: flow(4, 'tcp'), payload: new Uint8Array(10), sequence, id, dontFragment });
    expect(sizesOf([id(0, 5, false), id(10, 6, false), id(20, 7, false)])).toEqual([3]);
    expect(sizesOf([id(0, 5, false), id(10, 5, false)])).toEqual([1, 1]);
    expect(sizesOf([id(0, 5, true), id(10, 5, true), id(20, 5, true), id(30, 6, true)])).toEqual([3, 1]);
    expect(sizesOf([id(0, 5, true), id(10, 6, true), id(20, 6, true)])).toEqual([2, 1]);
  });

  it('lets no packet of a flow pass another, nor a fragment anything', () => {
    const [a, b, c] = tcp();
    const pureAck = tcp({}, [0])[0];
    expect(join([a, pureAck, b]).map(write => write.length)).toEqual([10 + 140, 10 + 40, 10 + 140]);
    const fragment = stream({ flow: flow(4, 'udp', 7) }, [50])[0];
    fragment[6] = 0x20;
    const writes = join([a, b, fragment, c]);
    expect(writes.map(write => write.length)).toEqual([10 + 240, 10 + 78, 10 + 140]);
  });

  /** Turned over in a packet, so that a checksum over it is wrong; of IPv4 also the header's own, if `inIp`. */
  function damaged(bytes: Uint8Array, inIp = false): Uint8Array {
    const copy = bytes.slice();
    // The IPv4 header's checksum itself, or the last byte of the payload.
    copy[inIp ? 10 : copy.length - 1] ^= 0x11;
    return copy;
  }
  const hex = (packets: readonly Uint8Array[]) => packets.map(each => Buffer.from(each).toString('hex'));

  it('leaves a damaged packet alone and as it came, wherever in a run it comes, and joins the others', () => {
    for (const version of [4, 6] as const) {
      for (const protocol of ['tcp', 'udp'] as const) {
        for (const inIp of version === 4 ? [false, true] : [false]) {
          const sound = stream({ flow: flow(version, protocol) }, [100, 100, 100, 100]);
          for (let bad = 0; bad < sound.length; bad++) {
            const packets = sound.map((each, i) => (i === bad ? damaged(each, inIp) : each));
            const writes = join(packets);
            const alone = writes.filter(write => write.length === 10 + packets[0].length);
            expect(hex(alone.map(write => write.slice(10)))).toContain(hex([packets[bad]])[0]);
            // Single writes claim nothing of a checksum, and what was joined is what was sound, in its order.
            for (const write of alone) expect([write[0], write[1]]).toEqual([0, 0]);
            expect(writes.length).toBe([2, 3, 3, 2][bad]);
            expect(writes.flatMap(write => (write[1] === 0 ? [write.slice(10)] : split(write)))).toEqual(
              packets,
            );
          }
        }
      }
    }
  });

  it('lets no damage become invisible, whatever packets are damaged; to a blind sum it does', () => {
    /** Packets that come out other than they went in. */
    const laundered = (traffic: readonly Uint8Array[], bad: ReadonlySet<number>, sum?: PacketSum): number => {
      const packets = traffic.map((each, i) => (bad.has(i) ? damaged(each) : each));
      const known = new Set(packets.map(withoutId));
      const out = join(packets, true, sum).flatMap(write =>
        write[1] === 0 ? [write.slice(10)] : split(write),
      );
      expect(out).toHaveLength(packets.length);
      return out.filter(each => !known.has(withoutId(each))).length;
    };
    let control = 0;
    fc.assert(
      fc.property(
        families,
        fc.array(fc.nat(15), { minLength: 1, maxLength: 4 }),
        ({ version, protocol }, places) => {
          const traffic = stream(
            { flow: flow(version, protocol) },
            Array.from({ length: 16 }, () => 60),
          );
          const bad = new Set(places);
          expect(laundered(traffic, bad)).toBe(0);
          // A look that goes past the damage: each packet is judged by its sound twin.
          const blind: PacketSum = (_, start, end, address) => {
            const from = start - PACKET_AT;
            return sumAnywhere(traffic[address - from], from, end - PACKET_AT, 0);
          };
          control += laundered(traffic, bad, blind);
        },
      ),
      { numRuns: 100 },
    );
    expect(control).toBeGreaterThan(0);
  });

  it('joins flows that come in turns', () => {
    const flows = [1, 2, 3].map(port => stream({ flow: flow(6, 'tcp', port) }, [100, 100, 100, 100]));
    const turns = [0, 1, 2, 3].flatMap(i => flows.map(each => each[i]));
    expect(sizesOf(turns)).toEqual([4, 4, 4]);
  });

  it('hands on bytes that are no packet', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 80 }), { maxLength: 10 }), rubbish => {
        expect(join(rubbish).map(write => write.slice(10))).toEqual(rubbish);
      }),
    );
  });

  it("forgets what it could not write: its memory is somebody else's by the next flush", () => {
    const written: number[] = [];
    const coalescer = new Coalescer({
      joins: { tcp: false, udp: false },
      sum: sumAnywhere,
      write: ({ addresses }) => {
        if (written.push(addresses[0]) === 1) throw new Error('not today');
      },
    });
    for (const i of [1, 2]) coalescer.push(Uint8Array.of(i), 0, 1, i);
    expect(() => coalescer.flush()).toThrow('not today');
    coalescer.push(Uint8Array.of(3), 0, 1, 3);
    coalescer.flush();
    expect(written).toEqual([1, 3]);
  });
});
