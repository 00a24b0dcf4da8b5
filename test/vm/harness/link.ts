// The cable of one guest: every datagram that its network card lets out, and a way to hand it some.
// Promises: nothing is lost or reordered here, since QEMU hands over each frame on a socket; all of it is recorded.
// Read on: qemu(1) `-netdev stream` (each frame behind its length, four bytes).

import type { Socket } from 'node:net';
import { type UdpFrame, arpReply, readUdp, udpFrame } from './frames.js';

export interface LinkDatagram extends UdpFrame {
  /** Who sent it. */
  readonly from: 'guest' | 'host';
  /** Milliseconds on the host's monotonic clock. */
  readonly at: number;
}

const LENGTH_BYTES = 4;

export class Link {
  /** Everything that has passed, in order. Whoever has seen enough may empty it. */
  readonly log: LinkDatagram[] = [];
  /** Sees each datagram as it leaves the guest. */
  onDatagram: (datagram: LinkDatagram) => void = () => {};
  readonly #socket: Socket;
  #unread: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', chunk => this.#received(chunk));
  }

  /** Hands the guest a datagram from the host's address. */
  send(payload: Uint8Array, sourcePort: number, destinationPort: number): void {
    const datagram = { sourcePort, destinationPort, payload: new Uint8Array(payload) };
    this.log.push({ ...datagram, from: 'host', at: performance.now() });
    this.#write(udpFrame(datagram));
  }

  #write(frame: Uint8Array): void {
    if (!this.#socket.writable) return;
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt32BE(frame.length);
    this.#socket.write(Buffer.concat([length, frame]));
  }

  #received(chunk: Buffer): void {
    const bytes = this.#unread.length > 0 ? Buffer.concat([this.#unread, chunk]) : chunk;
    let at = 0;
    while (bytes.length - at >= LENGTH_BYTES) {
      const end = at + LENGTH_BYTES + bytes.readUInt32BE(at);
      if (end > bytes.length) break;
      this.#frame(bytes.subarray(at + LENGTH_BYTES, end));
      at = end;
    }
    this.#unread = Buffer.from(bytes.subarray(at));
  }

  #frame(frame: Uint8Array): void {
    const reply = arpReply(frame);
    if (reply) this.#write(reply);
    const udp = readUdp(frame);
    if (!udp) return;
    const payload = new Uint8Array(udp.payload);
    const datagram: LinkDatagram = { ...udp, payload, from: 'guest', at: performance.now() };
    this.log.push(datagram);
    this.onDatagram(datagram);
  }
}
