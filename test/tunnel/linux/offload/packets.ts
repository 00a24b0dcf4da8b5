// Packets for the tests of offloads, and a reader of them that shares no code with what is tested.

import fc from 'fast-check';

export interface Flow {
  readonly version: 4 | 6;
  readonly protocol: 'tcp' | 'udp';
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export interface PacketFields {
  readonly flow: Flow;
  readonly payload: Uint8Array;
  readonly tos?: number;
  readonly ttl?: number;
  readonly id?: number;
  readonly dontFragment?: boolean;
  readonly flowLabel?: number;
  readonly ipOptions?: Uint8Array;
  /** IPv6 extension headers, one after the other, with the number of the first; their last names the transport. */
  readonly extensions?: { readonly first: number; readonly bytes: Uint8Array };
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly flags?: number;
  readonly window?: number;
  readonly urgent?: number;
  readonly tcpOptions?: Uint8Array;
}

export const FIN = 0x01;
export const SYN = 0x02;
export const PSH = 0x08;
export const ACK = 0x10;
export const ECE = 0x40;
export const CWR = 0x80;
const NUMBERS = { tcp: 6, udp: 17 };

/** The internet checksum, byte by byte, as RFC 1071 says it. */
export function slowChecksum(...parts: Uint8Array[]): number {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += i % 2 === 0 ? bytes[i] * 256 : bytes[i];
  while (sum >= 0x1_0000) sum = Math.floor(sum / 0x1_0000) + (sum % 0x1_0000);
  return 0xffff - sum;
}

function pseudoHeader(flow: Flow, length: number): Uint8Array {
  const end = Buffer.alloc(flow.version === 4 ? 4 : 8);
  if (flow.version === 4) end.writeUInt16BE(length, 2);
  else end.writeUInt32BE(length, 0);
  end[flow.version === 4 ? 1 : 7] = NUMBERS[flow.protocol];
  return Buffer.concat([flow.source, flow.destination, end]);
}

/**
 * A packet, right in every field. `partial`: with the checksum of TCP or UDP as the kernel leaves it to whoever
 * completes it, the sum of the pseudo-header alone.
 */
export function packet(fields: PacketFields, partial = false): Uint8Array {
  const { flow, payload, tos = 0, ttl = 64, tcpOptions = new Uint8Array(0) } = fields;
  const tcp = flow.protocol === 'tcp';
  const transport = Buffer.alloc(tcp ? 20 + tcpOptions.length : 8);
  transport.writeUInt16BE(flow.sourcePort, 0);
  transport.writeUInt16BE(flow.destinationPort, 2);
  const transportLength = transport.length + payload.length;
  if (tcp) {
    transport.writeUInt32BE(fields.sequence ?? 0, 4);
    transport.writeUInt32BE(fields.acknowledgement ?? 0, 8);
    transport[12] = (transport.length / 4) << 4;
    transport[13] = fields.flags ?? ACK;
    transport.writeUInt16BE(fields.window ?? 1000, 14);
    transport.writeUInt16BE(fields.urgent ?? 0, 18);
    transport.set(tcpOptions, 20);
  } else transport.writeUInt16BE(transportLength, 4);
  const pseudo = pseudoHeader(flow, transportLength);
  const checksum = partial ? 0xffff - slowChecksum(pseudo) : slowChecksum(pseudo, transport, payload);
  transport.writeUInt16BE(checksum === 0 && !partial ? 0xffff : checksum, tcp ? 16 : 6);

  if (flow.version === 4) {
    const options = fields.ipOptions ?? new Uint8Array(0);
    const ip = Buffer.alloc(20 + options.length);
    ip[0] = 0x40 | (ip.length / 4);
    ip[1] = tos;
    ip.writeUInt16BE(ip.length + transportLength, 2);
    ip.writeUInt16BE(fields.id ?? 0, 4);
    ip[6] = fields.dontFragment === false ? 0 : 0x40;
    ip[8] = ttl;
    ip[9] = NUMBERS[flow.protocol];
    ip.set(flow.source, 12);
    ip.set(flow.destination, 16);
    ip.set(options, 20);
    ip.writeUInt16BE(slowChecksum(ip), 10);
    return new Uint8Array(Buffer.concat([ip, transport, payload]));
  }
  const extensions = fields.extensions?.bytes ?? new Uint8Array(0);
  const ip = Buffer.alloc(40);
  ip.writeUInt32BE(0x6000_0000 + tos * 0x10_0000 + (fields.flowLabel ?? 0), 0);
  ip.writeUInt16BE(extensions.length + transportLength, 4);
  ip[6] = fields.extensions?.first ?? NUMBERS[flow.protocol];
  ip[7] = ttl;
  ip.set(flow.source, 8);
  ip.set(flow.destination, 24);
  return new Uint8Array(Buffer.concat([ip, extensions, transport, payload]));
}

export interface ReadPacket {
  readonly version: number;
  readonly protocol: number;
  readonly id: number;
  readonly sequence: number;
  readonly flags: number;
  readonly payload: Uint8Array;
  /** Everything before the payload. */
  readonly headersLength: number;
  /** Source, destination and ports. */
  readonly flow: string;
}

const EXTENSIONS = new Set([0, 43, 60]);

/** Reads a packet. Throws when a length or a checksum in it is wrong. */
export function readPacket(bytes: Uint8Array): ReadPacket {
  const p = Buffer.from(bytes);
  const version = p[0] >> 4;
  let protocol: number;
  let at: number;
  if (version === 4) {
    at = (p[0] & 15) * 4;
    if (p.readUInt16BE(2) !== p.length) throw new Error(`IPv4 length ${p.readUInt16BE(2)} of ${p.length}`);
    if (slowChecksum(p.subarray(0, at)) !== 0) throw new Error('IPv4 header checksum');
    protocol = p[9];
  } else {
    if (p.readUInt16BE(4) + 40 !== p.length)
      throw new Error(`IPv6 length ${p.readUInt16BE(4)} of ${p.length}`);
    at = 40;
    protocol = p[6];
    while (EXTENSIONS.has(protocol)) {
      protocol = p[at];
      at += 8 + p[at + 1] * 8;
    }
  }
  const tcp = protocol === 6;
  const addresses = version === 4 ? p.subarray(12, 20) : p.subarray(8, 40);
  const source = addresses.subarray(0, addresses.length / 2);
  const destination = addresses.subarray(addresses.length / 2);
  const protocolName = tcp ? ('tcp' as const) : ('udp' as const);
  const flow = { version: version as 4 | 6, protocol: protocolName, source, destination };
  const pseudo = pseudoHeader({ ...flow, sourcePort: 0, destinationPort: 0 }, p.length - at);
  if (slowChecksum(pseudo, p.subarray(at)) !== 0) throw new Error(`${protocolName} checksum`);
  if (!tcp && p.readUInt16BE(at + 4) !== p.length - at) throw new Error('UDP length');
  const headersLength = at + (tcp ? (p[at + 12] >> 4) * 4 : 8);
  return {
    version,
    protocol,
    id: version === 4 ? p.readUInt16BE(4) : 0,
    sequence: tcp ? p.readUInt32BE(at + 4) : 0,
    flags: tcp ? p[at + 13] : 0,
    payload: new Uint8Array(p.subarray(headersLength)),
    headersLength,
    flow: `${protocolName} ${addresses.toString('hex')} ${p.toString('hex', at, at + 4)}`,
  };
}

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

export function arbitraryFlow(
  versions: readonly (4 | 6)[] = [4, 6],
  protocols: readonly ('tcp' | 'udp')[] = ['tcp', 'udp'],
): fc.Arbitrary<Flow> {
  return fc
    .record({
      version: fc.constantFrom(...versions),
      protocol: fc.constantFrom(...protocols),
      addresses: bytes(32),
      sourcePort: fc.nat(0xffff),
      destinationPort: fc.nat(0xffff),
    })
    .map(({ addresses, version, ...rest }) => ({
      version,
      source: addresses.slice(0, version === 4 ? 4 : 16),
      destination: addresses.slice(16, version === 4 ? 20 : 32),
      ...rest,
    }));
}

/** Options of TCP: whole words of anything. */
export const arbitraryTcpOptions = fc.nat(10).chain(words => bytes(words * 4));

/** A virtio-net header as the kernel writes it. */
export function vnet(
  fields: Partial<Record<'flags' | 'type' | 'headers' | 'size' | 'start' | 'offset', number>>,
): Uint8Array {
  const { flags = 0, type = 0, headers = 0, size = 0, start = 0, offset = 0 } = fields;
  const header = Buffer.alloc(10);
  header[0] = flags;
  header[1] = type;
  for (const [i, word] of [headers, size, start, offset].entries()) header.writeUInt16LE(word, 2 + i * 2);
  return new Uint8Array(header);
}
