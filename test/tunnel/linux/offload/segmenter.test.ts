import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type PacketMemory,
  plainMemory,
  vectorMemory,
} from '../../../../tunnel/linux/offload/packet-memory.js';
import { Segmenter } from '../../../../tunnel/linux/offload/segmenter.js';
import {
  ACK,
  CWR,
  ECE,
  FIN,
  PSH,
  type PacketFields,
  arbitraryFlow,
  arbitraryTcpOptions,
  packet,
  readPacket,
  vnet,
} from './packets.js';

const NEEDS_CHECKSUM = 1;
const TYPES = { tcp: { 4: 1, 6: 4 }, udp: { 4: 5, 6: 5 } };

const MEMORY_BYTES = 131_072;
const vectors = vectorMemory(MEMORY_BYTES)!;
const plain = plainMemory(new Uint8Array(MEMORY_BYTES));

/** What the segmenter makes of a read that lies at `at` in its memory; `undefined` when it takes it for none. */
function split(header: Uint8Array, whole: Uint8Array, at = 6): Uint8Array[] | undefined {
  const packets = splitIn(plain, header, whole, at);
  const byVectors = splitIn(vectors, header, whole, at);
  expect(byVectors?.length).toBe(packets?.length);
  expect(Buffer.concat(byVectors ?? []).equals(Buffer.concat(packets ?? []))).toBe(true);
  return packets;
}

function splitIn(
  memory: PacketMemory,
  header: Uint8Array,
  whole: Uint8Array,
  at: number,
): Uint8Array[] | undefined {
  const { bytes } = memory;
  const end = at + 10 + whole.length;
  bytes.fill(0xee, 0, end + 64);
  bytes.set(header, at);
  bytes.set(whole, at + 10);
  const segmenter = new Segmenter(memory);
  const packets: Uint8Array[] = [];
  let next = segmenter.first(at, 10 + whole.length);
  if (!next) return undefined;
  for (; next; next = segmenter.next()) packets.push(next.slice());
  // What lies around it is nobody's business.
  for (const around of [bytes.subarray(0, at), bytes.subarray(end, end + 64)]) {
    expect(around.every(byte => byte === 0xee)).toBe(true);
  }
  return packets;
}

/** The packet, whole, as a kernel with offloads hands it over, and the header in front. */
function whole(
  fields: PacketFields,
  size: number,
): { header: Uint8Array; bytes: Uint8Array; headersLength: number } {
  const bytes = packet(fields, true);
  const { flow } = fields;
  const transportBytes = flow.protocol === 'tcp' ? 20 + (fields.tcpOptions?.length ?? 0) : 8;
  const headersLength = bytes.length - fields.payload.length;
  const header = vnet({
    flags: NEEDS_CHECKSUM,
    type: TYPES[flow.protocol][flow.version],
    // Too much, as the kernel says when it forwards.
    headers: bytes.length,
    size,
    start: headersLength - transportBytes,
    offset: flow.protocol === 'tcp' ? 16 : 6,
  });
  return { header, bytes, headersLength };
}

const arbitraryExtensions = (protocol: 'tcp' | 'udp') =>
  fc.array(fc.tuple(fc.constantFrom(0, 60), fc.nat(3)), { maxLength: 3 }).map(headers => {
    const last = protocol === 'tcp' ? 6 : 17;
    const parts = headers.map(([, words], i) => {
      const bytes = new Uint8Array(8 + words * 8).fill(1);
      bytes[0] = headers[i + 1]?.[0] ?? last;
      bytes[1] = words;
      return bytes;
    });
    return { first: headers[0]?.[0] ?? last, bytes: new Uint8Array(Buffer.concat(parts)) };
  });

const arbitraryFields: fc.Arbitrary<PacketFields> = arbitraryFlow().chain(flow =>
  fc.record({
    flow: fc.constant(flow),
    payload: fc.uint8Array({ minLength: 1, maxLength: 3_000 }),
    tos: fc.nat(255),
    ttl: fc.integer({ min: 1, max: 255 }),
    id: fc.nat(0xffff),
    dontFragment: fc.boolean(),
    flowLabel: fc.nat(0xf_ffff),
    extensions: arbitraryExtensions(flow.protocol),
    sequence: fc.nat(0xffff_ffff),
    acknowledgement: fc.nat(0xffff_ffff),
    flags: fc.constantFrom(ACK, ACK | PSH, ACK | FIN, ACK | PSH | FIN, ACK | CWR, ACK | CWR | ECE | PSH),
    window: fc.nat(0xffff),
    tcpOptions: arbitraryTcpOptions,
  }),
);

describe('the segmenter', () => {
  it('splits a packet into those that its sender would have sent one by one', () => {
    fc.assert(
      fc.property(arbitraryFields, fc.integer({ min: 1, max: 1_500 }), fc.nat(3), (fields, size, at) => {
        const { header, bytes, headersLength } = whole(fields, size);
        const packets = split(header, bytes, at);
        const count = Math.ceil(fields.payload.length / size);
        const flags = (i: number) => {
          const ends = i === count - 1 ? 0 : FIN | PSH;
          return (fields.flags ?? ACK) & ~(i === 0 ? ends : ends | CWR);
        };
        const expected = Array.from({ length: count }, (_, i) =>
          packet({
            ...fields,
            payload: fields.payload.slice(i * size, (i + 1) * size),
            id: ((fields.id ?? 0) + i) & 0xffff,
            sequence: ((fields.sequence ?? 0) + i * size) % 2 ** 32,
            flags: flags(i),
          }),
        );
        expect(packets).toEqual(expected);
        // By a reader that checks every length and sum.
        for (const each of packets!) expect(readPacket(each).headersLength).toBe(headersLength);
      }),
      { numRuns: 500 },
    );
  });

  it('splits 64 KiB into segments of the size of a tunnel', () => {
    fc.assert(
      fc.property(
        arbitraryFields,
        fc.uint8Array({ minLength: 64_000, maxLength: 64_500 }),
        (fields, payload) => {
          const { header, bytes } = whole({ ...fields, payload }, 1_368);
          const packets = split(header, bytes)!;
          const read = packets.map(readPacket);
          expect(packets.length).toBe(Math.ceil(payload.length / 1_368));
          expect(Buffer.concat(read.map(each => each.payload)).equals(payload)).toBe(true);
        },
      ),
      { numRuns: 20 },
    );
  });

  it('completes the checksum of a packet that only lacks it', () => {
    fc.assert(
      fc.property(arbitraryFields, fields => {
        const { header, bytes } = whole(fields, 0);
        header[1] = 0;
        expect(split(header, bytes)).toEqual([packet(fields)]);
      }),
    );
  });

  it('hands a finished packet on as it is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 200 }), bytes => {
        expect(split(vnet({}), bytes)).toEqual([bytes]);
      }),
    );
  });

  it('splits a packet whose checksum the kernel has already seen', () => {
    fc.assert(
      fc.property(arbitraryFields, fc.integer({ min: 1, max: 1_500 }), (fields, size) => {
        const plain = { ...fields, extensions: undefined } as unknown as PacketFields;
        const { header } = whole(plain, size);
        const finished = packet(plain);
        header[0] = 0;
        header.fill(0, 6);
        const read = split(header, finished)!.map(readPacket);
        expect(Buffer.concat(read.map(each => each.payload)).equals(fields.payload)).toBe(true);
      }),
    );
  });

  it('reads nothing but what it was given, whatever that says', () => {
    fc.assert(
      fc.property(
        arbitraryFields,
        fc.uint8Array({ minLength: 10, maxLength: 10 }),
        fc.nat(120),
        fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 4 }),
        (fields, header, length, changes) => {
          const bytes = packet(fields).slice(0, length);
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          const packets = split(header, bytes) ?? [];
          for (const each of packets) expect(each.length).toBeLessThanOrEqual(bytes.length);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('takes no offload that was not asked for', () => {
    const fields = { flow: fc.sample(arbitraryFlow([4], ['udp']), 1)[0], payload: new Uint8Array(2_000) };
    const { header, bytes } = whole(fields, 1_000);
    expect(split(header, bytes)).toHaveLength(2);
    const fragments = header.slice();
    fragments[1] = 3;
    expect(split(fragments, bytes)).toBeUndefined();
    const otherFamily = header.slice();
    otherFamily[1] = 4;
    expect(split(otherFamily, bytes)).toBeUndefined();
  });
});
