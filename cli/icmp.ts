// ICMP and ICMPv6 echo, and the errors that may come back for one, as whole IP packets.
// Promises: a packet is taken only with a right checksum and whole; whatever else comes is `undefined`, never a throw.
// Read on: RFC 791, RFC 792, RFC 8200, RFC 4443; RFC 1071 (the checksum); ping(8) for the words.

export interface Echo {
  readonly kind: 'request' | 'reply';
  /** 4 or 16 bytes; the destination has as many. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** 16 bits each. */
  readonly id: number;
  readonly sequence: number;
  readonly payload: Uint8Array;
  /** TTL or hop limit. */
  readonly hopLimit: number;
}

/** A router or host says that our echo request did not get there. */
export interface IcmpError {
  readonly kind: 'error';
  /** Who says so, 4 or 16 bytes. */
  readonly source: Uint8Array;
  /** In the words of ping(8): `Destination Host Unreachable`. */
  readonly text: string;
  /** The largest packet that would pass, where the error tells. */
  readonly mtu?: number;
  /** Of the echo request that it is about. */
  readonly destination: Uint8Array;
  readonly id: number;
  readonly sequence: number;
}

export const DEFAULT_HOP_LIMIT = 64;
/** Bytes of an echo before its payload, IP header and all. */
export const ECHO_OVERHEAD = { 4: 28, 6: 48 } as const;

const V4_HEADER = 20;
const V6_HEADER = 40;
const ICMP_HEADER = 8;
const PROTOCOL_ICMP = 1;
const PROTOCOL_ICMPV6 = 58;
/** Never fragmented on the way: a router that cannot pass the packet on says so, and the IPv4 ID may be 0 (RFC 6864). */
const DONT_FRAGMENT = 0x4000;

/** The numbers that the two families have for the same things. */
const V4 = { request: 8, reply: 0 } as const;
const V6 = { request: 128, reply: 129 } as const;

/** One echo as an IP packet, with its checksums. */
export function echoPacket(echo: Echo): Uint8Array {
  const { source, destination, payload, hopLimit } = echo;
  const isV4 = source.length === 4;
  const at = isV4 ? V4_HEADER : V6_HEADER;
  const packet = new Uint8Array(at + ICMP_HEADER + payload.length);
  const view = new DataView(packet.buffer);
  if (isV4) {
    packet[0] = 0x45;
    view.setUint16(2, packet.length);
    view.setUint16(6, DONT_FRAGMENT);
    packet[8] = hopLimit;
    packet[9] = PROTOCOL_ICMP;
    packet.set(source, 12);
    packet.set(destination, 16);
    view.setUint16(10, checksum(packet.subarray(0, V4_HEADER)));
  } else {
    packet[0] = 0x60;
    view.setUint16(4, packet.length - V6_HEADER);
    packet[6] = PROTOCOL_ICMPV6;
    packet[7] = hopLimit;
    packet.set(source, 8);
    packet.set(destination, 24);
  }
  packet[at] = (isV4 ? V4 : V6)[echo.kind];
  view.setUint16(at + 4, echo.id);
  view.setUint16(at + 6, echo.sequence);
  packet.set(payload, at + ICMP_HEADER);
  const message = packet.subarray(at);
  const start = isV4 ? 0 : pseudoHeaderSum(source, destination, message.length);
  view.setUint16(at + 2, checksum(message, start));
  return packet;
}

/** What an IP packet says, if it is an echo or an error about one; else `undefined`. */
export function parseIcmp(packet: Uint8Array): Echo | IcmpError | undefined {
  switch (packet[0] >> 4) {
    case 4:
      return parseV4(packet);
    case 6:
      return parseV6(packet);
    default:
      return undefined;
  }
}

/** The Internet checksum of `bytes`, added to an unfolded sum `start`. 16 bits; of bytes that hold their own, 0. */
export function checksum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000);
  return ~sum & 0xffff;
}

// RFC 8200 section 8.1: addresses, length and next header count as if they stood before the message.
function pseudoHeaderSum(source: Uint8Array, destination: Uint8Array, length: number): number {
  const header = new Uint8Array(40);
  header.set(source);
  header.set(destination, 16);
  new DataView(header.buffer).setUint32(32, length);
  header[39] = PROTOCOL_ICMPV6;
  return ~checksum(header) & 0xffff;
}

function parseV4(packet: Uint8Array): Echo | IcmpError | undefined {
  const headerLength = 4 * (packet[0] & 15);
  const view = viewOf(packet);
  if (packet.length < V4_HEADER || headerLength < V4_HEADER) return undefined;
  const length = view.getUint16(2);
  if (length > packet.length || length < headerLength + ICMP_HEADER) return undefined;
  const isFragment = (view.getUint16(6) & 0x3fff) !== 0;
  if (packet[9] !== PROTOCOL_ICMP || isFragment) return undefined;
  const message = packet.subarray(headerLength, length);
  if (checksum(message) !== 0) return undefined;

  const [source, destination] = [packet.slice(12, 16), packet.slice(16, 20)];
  const [type, code] = message;
  if (type === V4.request || type === V4.reply) {
    const kind = type === V4.request ? 'request' : 'reply';
    return { kind, source, destination, hopLimit: packet[8], ...echoFields(message) };
  }
  const detail = describeV4(type, code, viewOf(message));
  const quoted = message.subarray(ICMP_HEADER);
  const quotedHeader = 4 * (quoted[0] & 15);
  const request = quoted.subarray(quotedHeader);
  if (!detail || quoted[0] >> 4 !== 4 || quotedHeader < V4_HEADER || quoted[9] !== PROTOCOL_ICMP) {
    return undefined;
  }
  if (request.length < ICMP_HEADER || request[0] !== V4.request) return undefined;
  return { kind: 'error', source, destination: quoted.slice(16, 20), ...detail, ...echoNumbers(request) };
}

function parseV6(packet: Uint8Array): Echo | IcmpError | undefined {
  if (packet.length < V6_HEADER + ICMP_HEADER) return undefined;
  const length = viewOf(packet).getUint16(4);
  if (V6_HEADER + length > packet.length || length < ICMP_HEADER) return undefined;
  // An echo needs no extension header, and a fragment has one.
  if (packet[6] !== PROTOCOL_ICMPV6) return undefined;
  const [source, destination] = [packet.slice(8, 24), packet.slice(24, 40)];
  const message = packet.subarray(V6_HEADER, V6_HEADER + length);
  if (checksum(message, pseudoHeaderSum(source, destination, length)) !== 0) return undefined;

  const [type, code] = message;
  if (type === V6.request || type === V6.reply) {
    const kind = type === V6.request ? 'request' : 'reply';
    return { kind, source, destination, hopLimit: packet[7], ...echoFields(message) };
  }
  const detail = describeV6(type, code, viewOf(message));
  const quoted = message.subarray(ICMP_HEADER);
  const request = quoted.subarray(V6_HEADER);
  if (!detail || quoted[0] >> 4 !== 6 || quoted[6] !== PROTOCOL_ICMPV6) return undefined;
  if (request.length < ICMP_HEADER || request[0] !== V6.request) return undefined;
  return { kind: 'error', source, destination: quoted.slice(24, 40), ...detail, ...echoNumbers(request) };
}

function echoFields(message: Uint8Array) {
  return { ...echoNumbers(message), payload: message.slice(ICMP_HEADER) };
}

function echoNumbers(message: Uint8Array): { id: number; sequence: number } {
  const view = viewOf(message);
  return { id: view.getUint16(4), sequence: view.getUint16(6) };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const V4_UNREACHABLE = [
  'Destination Net Unreachable',
  'Destination Host Unreachable',
  'Destination Protocol Unreachable',
  'Destination Port Unreachable',
  'Frag needed and DF set',
  'Source Route Failed',
  'Destination Net Unknown',
  'Destination Host Unknown',
  'Source Host Isolated',
  'Destination Net Prohibited',
  'Destination Host Prohibited',
  'Destination Net Unreachable for Type of Service',
  'Destination Host Unreachable for Type of Service',
  'Packet filtered',
  'Precedence Violation',
  'Precedence Cutoff',
];
const V4_FRAGMENTATION_NEEDED = 4;
const V6_UNREACHABLE = [
  'No route',
  'Administratively prohibited',
  'Beyond scope of source address',
  'Address unreachable',
  'Port unreachable',
  'Source address failed ingress/egress policy',
  'Reject route to destination',
];
const V6_PARAMETER_PROBLEM = ['Wrong header field', 'Unknown header', 'Unknown option'];

interface Detail {
  readonly text: string;
  readonly mtu?: number;
}

function describeV4(type: number, code: number, message: DataView): Detail | undefined {
  switch (type) {
    case 3: {
      const text = V4_UNREACHABLE[code] ?? `Dest Unreachable, Bad Code: ${code}`;
      if (code !== V4_FRAGMENTATION_NEEDED) return { text };
      // RFC 1191 section 4. An old router leaves it 0.
      const mtu = message.getUint16(6);
      return { text: `${text} (mtu = ${mtu})`, mtu };
    }
    case 11:
      return { text: code === 0 ? 'Time to live exceeded' : 'Frag reassembly time exceeded' };
    case 12:
      return { text: `Parameter problem: pointer = ${message.getUint8(4)}` };
    default:
      return undefined;
  }
}

function describeV6(type: number, code: number, message: DataView): Detail | undefined {
  const word = message.getUint32(4);
  switch (type) {
    case 1:
      return { text: `Destination unreachable: ${V6_UNREACHABLE[code] ?? `Unknown code ${code}`}` };
    case 2:
      return { text: `Packet too big: mtu=${word}`, mtu: word };
    case 3:
      return { text: `Time exceeded: ${code === 0 ? 'Hop limit' : 'Defragmentation failure'}` };
    case 4: {
      const what = V6_PARAMETER_PROBLEM[code] ?? `Unknown code ${code}`;
      return { text: `Parameter problem: ${what} at ${word}` };
    }
    default:
      return undefined;
  }
}
