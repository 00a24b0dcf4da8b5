// Inner packets for tests: a true IPv4 header with a payload.

/** An IPv4 packet (protocol 253, for experiments) from `source` to `destination`, such as `10.0.0.1`. */
export function ipv4Packet(source: string, destination: string, payload: Uint8Array): Uint8Array {
  const packet = new Uint8Array(20 + payload.length);
  const view = new DataView(packet.buffer);
  packet[0] = 0x45;
  view.setUint16(2, packet.length);
  packet[8] = 64;
  packet[9] = 253;
  packet.set(source.split('.').map(Number), 12);
  packet.set(destination.split('.').map(Number), 16);
  packet.set(payload, 20);
  return packet;
}

/** The same for IPv6: 16-byte addresses whose last byte is given, under fd00::/120. */
export function ipv6Packet(source: number, destination: number, payload: Uint8Array): Uint8Array {
  const packet = new Uint8Array(40 + payload.length);
  packet[0] = 0x60;
  new DataView(packet.buffer).setUint16(4, payload.length);
  packet[6] = 59;
  packet[7] = 64;
  packet[8] = 0xfd;
  packet[23] = source;
  packet[24] = 0xfd;
  packet[39] = destination;
  packet.set(payload, 40);
  return packet;
}
