// As much of Ethernet, ARP, IPv4 and UDP as the other end of a guest's network card needs.
// Promises: what is not UDP over IPv4 in one piece, or a question for the host's hardware address, is undefined.
// Read on: RFC 826, RFC 791, RFC 768 (a checksum of zero is none).

const ETHERNET_BYTES = 14;
const ARP_BYTES = 28;
const IPV4_BYTES = 20;
const UDP_BYTES = 8;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_ARP = 0x0806;
const IP_PROTOCOL_UDP = 17;
const ARP_REQUEST = 1;
const ARP_REPLY = 2;
/** More fragments, and the offset: set in every piece of a packet that was cut. */
const FRAGMENT_BITS = 0x3fff;

export const HOST_MAC = Uint8Array.of(0x52, 0x54, 0, 0, 0, 2);
export const GUEST_MAC = Uint8Array.of(0x52, 0x54, 0, 0, 0, 15);
export const HOST_IP = Uint8Array.of(10, 0, 2, 2);
export const GUEST_IP = Uint8Array.of(10, 0, 2, 15);

export interface UdpFrame {
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Not a copy. */
  readonly payload: Uint8Array;
}

export function readUdp(frame: Uint8Array): UdpFrame | undefined {
  if (frame.length < ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (view.getUint16(12) !== ETHERTYPE_IPV4 || frame[ETHERNET_BYTES] !== 0x45) return undefined;
  if (frame[ETHERNET_BYTES + 9] !== IP_PROTOCOL_UDP) return undefined;
  if ((view.getUint16(ETHERNET_BYTES + 6) & FRAGMENT_BITS) !== 0) return undefined;
  const udp = ETHERNET_BYTES + IPV4_BYTES;
  const length = view.getUint16(udp + 4);
  if (length < UDP_BYTES || udp + length > frame.length) return undefined;
  return {
    sourcePort: view.getUint16(udp),
    destinationPort: view.getUint16(udp + 2),
    payload: frame.subarray(udp + UDP_BYTES, udp + length),
  };
}

/** A datagram from the host to the guest. */
export function udpFrame({ sourcePort, destinationPort, payload }: UdpFrame): Uint8Array {
  const frame = new Uint8Array(ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES + payload.length);
  const view = new DataView(frame.buffer);
  frame.set(GUEST_MAC, 0);
  frame.set(HOST_MAC, 6);
  view.setUint16(12, ETHERTYPE_IPV4);
  const ip = ETHERNET_BYTES;
  frame[ip] = 0x45;
  view.setUint16(ip + 2, frame.length - ip);
  frame[ip + 8] = 64;
  frame[ip + 9] = IP_PROTOCOL_UDP;
  frame.set(HOST_IP, ip + 12);
  frame.set(GUEST_IP, ip + 16);
  view.setUint16(ip + 10, checksum(view, ip, IPV4_BYTES));
  const udp = ip + IPV4_BYTES;
  view.setUint16(udp, sourcePort);
  view.setUint16(udp + 2, destinationPort);
  view.setUint16(udp + 4, UDP_BYTES + payload.length);
  frame.set(payload, udp + UDP_BYTES);
  return frame;
}

/** The answer to "who has the host's address?"; undefined for any other frame. */
export function arpReply(frame: Uint8Array): Uint8Array | undefined {
  if (frame.length < ETHERNET_BYTES + ARP_BYTES) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const arp = ETHERNET_BYTES;
  if (view.getUint16(12) !== ETHERTYPE_ARP || view.getUint16(arp + 6) !== ARP_REQUEST) return undefined;
  if (!HOST_IP.every((byte, i) => frame[arp + 24 + i] === byte)) return undefined;
  const reply = new Uint8Array(frame.subarray(0, ETHERNET_BYTES + ARP_BYTES));
  const asker = frame.subarray(arp + 8, arp + 18);
  reply.set(asker.subarray(0, 6), 0);
  reply.set(HOST_MAC, 6);
  new DataView(reply.buffer).setUint16(arp + 6, ARP_REPLY);
  reply.set(HOST_MAC, arp + 8);
  reply.set(HOST_IP, arp + 14);
  reply.set(asker, arp + 18);
  return reply;
}

function checksum(view: DataView, at: number, length: number): number {
  return ~sumOf(view, at, length) & 0xffff;
}

/** The sum of the 16-bit words of an even number of bytes, and of `initial`, folded to one (RFC 1071). */
export function sumOf(view: DataView, at: number, length: number, initial = 0): number {
  let sum = initial;
  for (let i = 0; i < length; i += 2) sum += view.getUint16(at + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}
