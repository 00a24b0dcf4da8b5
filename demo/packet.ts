// The packets inside the demonstration's tunnel: IPv4 or IPv6 with a line of text, or with bytes.

const HEADER_BYTES = 20;
const V6_HEADER_BYTES = 40;
/** RFC 3692: for experiments. */
const PROTOCOL = 253;

export function innerPacket(source: string, destination: string, text: string): Uint8Array {
  return innerPacketOf(source, destination, new TextEncoder().encode(text));
}

/** An IPv4 address in bytes. */
export function ipOf(address: string): Uint8Array {
  return Uint8Array.from(address.split('.'), Number);
}

export function innerPacketOf(source: string, destination: string, payload: Uint8Array): Uint8Array {
  const packet = new Uint8Array(HEADER_BYTES + payload.length);
  packet[0] = 0x45;
  new DataView(packet.buffer).setUint16(2, packet.length);
  packet[8] = 64;
  packet[9] = PROTOCOL;
  packet.set(ipOf(source), 12);
  packet.set(ipOf(destination), 16);
  packet.set(payload, HEADER_BYTES);
  return packet;
}

export function innerPayload(packet: Uint8Array): string {
  return new TextDecoder().decode(innerBytes(packet)).trimEnd();
}

/** What is behind the header of an IPv4 packet, filled up or not. */
export function innerBytes(packet: Uint8Array): Uint8Array {
  const { byteOffset } = packet;
  return packet.subarray(HEADER_BYTES, new DataView(packet.buffer, byteOffset).getUint16(2));
}

/** The same for IPv6: addresses of 16 bytes. */
export function innerPacketV6(source: Uint8Array, destination: Uint8Array, text: string): Uint8Array {
  const payload = new TextEncoder().encode(text);
  const packet = new Uint8Array(V6_HEADER_BYTES + payload.length);
  packet[0] = 0x60;
  new DataView(packet.buffer).setUint16(4, payload.length);
  packet[6] = PROTOCOL;
  packet[7] = 64;
  packet.set(source, 8);
  packet.set(destination, 24);
  packet.set(payload, V6_HEADER_BYTES);
  return packet;
}
