// The other end of TCP connections that a guest begins: it takes all that comes and keeps nothing of it.
// Promises: what a segment brings is acknowledged, whatever was lost before it, to whoever sent it: so the connection of a
// clone goes on with whichever peer the clone has.
// Read on: RFC 9293 section 3.1 (the header), RFC 7323 section 2 (window scale).

import { sumOf } from './frames.js';

const IPV4_BYTES = 20;
const TCP_BYTES = 20;
const OPTION_BYTES = 8;
const PROTOCOL_TCP = 6;
const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
const ACK = 0x10;
/** The largest segment, and a window of 8 MiB: 65,535 shifted by 7. */
const OPTIONS = Uint8Array.of(2, 4, 0x05, 0x64, 1, 3, 3, 7);
const WINDOW = 0xffff;
/** Segments that one acknowledgement answers. */
const SEGMENTS = 8;

interface Connection {
  /** The acknowledgement that is owed. */
  answer: Uint8Array;
  segments: number;
}

export class TcpSink {
  readonly #send: (packet: Uint8Array) => void;
  /** By the guest's port: those that are owed an acknowledgement. */
  readonly #owed = new Map<number, Connection>();

  /** `send`: takes IPv4 packets to the guest. */
  constructor(send: (packet: Uint8Array) => void) {
    this.#send = send;
  }

  /** Takes an IP packet of the guest; what is not TCP over IPv4 is none of its business. */
  take(packet: Uint8Array): void {
    if (packet[0] !== 0x45 || packet[9] !== PROTOCOL_TCP || packet.length < IPV4_BYTES + TCP_BYTES) return;
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
    const flags = packet[IPV4_BYTES + 13];
    const port = view.getUint16(IPV4_BYTES);
    if ((flags & RST) !== 0) {
      this.#owed.delete(port);
      return;
    }
    const sequence = view.getUint32(IPV4_BYTES + 4);
    if ((flags & SYN) !== 0) {
      this.#send(segment(view, SYN | ACK, 0, sequence + 1));
      return;
    }
    const headers = IPV4_BYTES + (packet[IPV4_BYTES + 12] >> 4) * 4;
    const length = packet.length - headers + ((flags & FIN) !== 0 ? 1 : 0);
    if (length <= 0) return;
    const answer = segment(view, ACK, view.getUint32(IPV4_BYTES + 8), sequence + length);
    const segments = (this.#owed.get(port)?.segments ?? 0) + 1;
    this.#owed.set(port, { answer, segments });
    if (segments >= SEGMENTS || (flags & FIN) !== 0) this.#acknowledge(port, answer);
  }

  /** Acknowledges what is owed. Call every few milliseconds. */
  flush(): void {
    for (const [port, { answer }] of this.#owed) this.#acknowledge(port, answer);
  }

  #acknowledge(port: number, answer: Uint8Array): void {
    this.#owed.delete(port);
    this.#send(answer);
  }
}

/** An answer to the packet in `to`. */
function segment(to: DataView, flags: number, sequence: number, acknowledged: number): Uint8Array {
  const headers = TCP_BYTES + ((flags & SYN) !== 0 ? OPTION_BYTES : 0);
  const packet = new Uint8Array(IPV4_BYTES + headers);
  const view = new DataView(packet.buffer);
  packet[0] = 0x45;
  view.setUint16(2, packet.length);
  packet[8] = 64;
  packet[9] = PROTOCOL_TCP;
  view.setUint32(12, to.getUint32(16));
  view.setUint32(16, to.getUint32(12));
  view.setUint16(10, ~sumOf(view, 0, IPV4_BYTES));
  view.setUint16(IPV4_BYTES, to.getUint16(IPV4_BYTES + 2));
  view.setUint16(IPV4_BYTES + 2, to.getUint16(IPV4_BYTES));
  view.setUint32(IPV4_BYTES + 4, sequence);
  view.setUint32(IPV4_BYTES + 8, acknowledged);
  packet[IPV4_BYTES + 12] = (headers / 4) << 4;
  packet[IPV4_BYTES + 13] = flags;
  view.setUint16(IPV4_BYTES + 14, WINDOW);
  if ((flags & SYN) !== 0) packet.set(OPTIONS, IPV4_BYTES + TCP_BYTES);
  // The pseudo-header: addresses, protocol and length.
  const pseudo = sumOf(view, 12, 8, PROTOCOL_TCP + headers);
  view.setUint16(IPV4_BYTES + 16, ~sumOf(view, IPV4_BYTES, headers, pseudo));
  return packet;
}
