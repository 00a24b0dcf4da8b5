// ICMP and ICMPv6 echo on bare IP packets: what `ping` sends and a kernel answers.
// Promises: checksums are true, since a kernel on the other side drops what is not.
// Read on: RFC 792, RFC 4443 section 4, RFC 1071 (the checksum).

/** Bytes of payload, as `ping` sends by default: an IPv4 packet then has 84. */
const PAYLOAD_BYTES = 56;
const ICMP = 1;
const ICMPV6 = 58;
const ECHO_HEADER_BYTES = 8;

interface Family {
  readonly protocol: number;
  readonly headerBytes: number;
  readonly source: number;
  readonly destination: number;
  readonly addressBytes: number;
  readonly request: number;
  readonly reply: number;
}

const V4: Family = {
  protocol: ICMP,
  headerBytes: 20,
  source: 12,
  destination: 16,
  addressBytes: 4,
  request: 8,
  reply: 0,
};
const V6: Family = {
  protocol: ICMPV6,
  headerBytes: 40,
  source: 8,
  destination: 24,
  addressBytes: 16,
  request: 128,
  reply: 129,
};

export interface Echo {
  readonly kind: 'request' | 'reply';
  readonly id: number;
  readonly sequence: number;
}

/** An echo request. Addresses of 4 or 16 bytes, both of one family. */
export function echoRequest(
  source: Uint8Array,
  destination: Uint8Array,
  id: number,
  sequence: number,
): Uint8Array {
  const family = source.length === 4 ? V4 : V6;
  const at = family.headerBytes;
  const packet = new Uint8Array(at + ECHO_HEADER_BYTES + PAYLOAD_BYTES);
  const view = new DataView(packet.buffer);
  if (family === V4) {
    packet[0] = 0x45;
    view.setUint16(2, packet.length);
    packet[8] = 64;
    packet[9] = ICMP;
  } else {
    packet[0] = 0x60;
    view.setUint16(4, packet.length - at);
    packet[6] = ICMPV6;
    packet[7] = 64;
  }
  packet.set(source, family.source);
  packet.set(destination, family.destination);
  if (family === V4) view.setUint16(10, checksum(packet.subarray(0, at)));
  packet[at] = family.request;
  view.setUint16(at + 4, id);
  view.setUint16(at + 6, sequence);
  for (let i = at + ECHO_HEADER_BYTES; i < packet.length; i++) packet[i] = i;
  sign(packet, family);
  return packet;
}

/** What echo message a packet is; `undefined` when it is none or its checksum is wrong. */
export function readEcho(packet: Uint8Array): Echo | undefined {
  const family = packet[0] >> 4 === 4 ? V4 : V6;
  const at = family.headerBytes;
  if (packet.length < at + ECHO_HEADER_BYTES) return undefined;
  if (packet[family === V4 ? 9 : 6] !== family.protocol) return undefined;
  const type = packet[at];
  if ((type !== family.request && type !== family.reply) || icmpChecksum(packet, family) !== 0)
    return undefined;
  const view = new DataView(packet.buffer, packet.byteOffset);
  return {
    kind: type === family.request ? 'request' : 'reply',
    id: view.getUint16(at + 4),
    sequence: view.getUint16(at + 6),
  };
}

/** The answer to an echo request. */
export function echoReply(request: Uint8Array): Uint8Array {
  const family = request[0] >> 4 === 4 ? V4 : V6;
  const { source, destination, addressBytes } = family;
  // Not `slice`: that of a Node Buffer shares its memory.
  const packet = new Uint8Array(request);
  packet.set(request.subarray(destination, destination + addressBytes), source);
  packet.set(request.subarray(source, source + addressBytes), destination);
  packet[family.headerBytes] = family.reply;
  sign(packet, family);
  return packet;
}

function sign(packet: Uint8Array, family: Family): void {
  const view = new DataView(packet.buffer, packet.byteOffset);
  view.setUint16(family.headerBytes + 2, 0);
  view.setUint16(family.headerBytes + 2, icmpChecksum(packet, family));
}

/** Of the message as it stands: 0 when its own checksum is true. ICMPv6 counts the addresses in (RFC 8200, 8.1). */
function icmpChecksum(packet: Uint8Array, family: Family): number {
  const message = packet.subarray(family.headerBytes);
  if (family === V4) return checksum(message);
  return checksum(message, sum(packet.subarray(family.source, family.headerBytes)) + message.length + ICMPV6);
}

function checksum(bytes: Uint8Array, start = 0): number {
  let total = start + sum(bytes);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  return total;
}
