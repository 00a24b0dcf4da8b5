// The smallest IPv4 packet that carries a line of text: a tunnel moves IP packets, and nothing else.
// Promises: what a WireGuard peer looks at is right (version, length, addresses). The header checksum is left zero.
// Read on: RFC 791 section 3.1.

const HEADER_BYTES = 20;
/** RFC 3692: a protocol number for experiments. */
const EXPERIMENTAL = 253;

/** A packet between two IPv4 addresses in text, such as `10.0.0.1`. */
export function ipv4Packet(source: string, destination: string, text: string): Uint8Array {
  const payload = new TextEncoder().encode(text);
  const packet = new Uint8Array(HEADER_BYTES + payload.length);
  packet[0] = 0x45; // version 4, a header of five words
  new DataView(packet.buffer).setUint16(2, packet.length);
  packet[8] = 64; // hops it may take
  packet[9] = EXPERIMENTAL;
  packet.set(source.split('.').map(Number), 12);
  packet.set(destination.split('.').map(Number), 16);
  packet.set(payload, HEADER_BYTES);
  return packet;
}

/** The text in a packet; what follows the packet (the tunnel's padding) is left out. */
export function ipv4Text(packet: Uint8Array): string {
  const length = new DataView(packet.buffer, packet.byteOffset).getUint16(2);
  return new TextDecoder().decode(packet.subarray(HEADER_BYTES, length));
}
