// A TUN device of the fake kernel and its interface: packets for the process, with a virtio-net header where it wants one,
// and packets that it wrote, which are split as the kernel would, by code that shares nothing with the product's.
// Read on: Linux drivers/net/tun.c (tun_get_user, tun_chr_poll), include/linux/virtio_net.h.

import { EAGAIN, EBADFD, EINVAL, EIO } from '../../../tunnel/linux/errno.js';
import { POLLERR, POLLIN, POLLOUT } from '../../../tunnel/linux/libc.js';
import type { FakeFile } from './file.js';
import { slowChecksum } from '../../tunnel/linux/offload/packets.js';
import { viewOf } from './udp-socket.js';

/** A packet as a network stack hands it over: with `segment`, longer than the MTU and to be split. */
export interface StackPacket {
  readonly bytes: Uint8Array;
  /** The virtio-net header. */
  readonly vnet: Uint8Array;
}

/** Of the interface. `scope`: 0 is good everywhere. */
export interface FakeAddress {
  readonly ip: Uint8Array;
  readonly prefix: number;
  readonly scope: number;
}

export interface TunHost {
  /** A packet leaves the queue for the process: what it contains may yet change (the payload of a cloned machine). */
  readonly read: (packet: StackPacket) => StackPacket;
  /** A packet that the process wrote, as the stack sees it. */
  readonly deliver: (packet: Uint8Array) => void;
}

const VNET_BYTES = 10;
const NEEDS_CHECKSUM = 1;
const TCP_ENDS = 0x09;
const CWR = 0x80;

export class FakeTun implements FakeFile {
  readonly kind = 'tun';
  readonly index = 5;
  name = '';
  flags = 0;
  up = false;
  isGone = false;
  mtu = 1_500;
  /** The inode of the network namespace that it lies in. */
  namespace: number;
  /** What TUNSETOFFLOAD may ask for. */
  readonly offloads: number;
  queueLength = 500;
  readonly addresses: FakeAddress[] = [];
  readonly #host: TunHost;
  readonly #queue: StackPacket[] = [];

  constructor(host: TunHost, namespace: number, offloads: number) {
    this.#host = host;
    this.namespace = namespace;
    this.offloads = offloads;
  }

  /** Packets that the process has not read. */
  get waiting(): number {
    return this.#queue.length;
  }

  ready(): number {
    if (this.isGone) return POLLERR;
    return (this.#queue.length > 0 ? POLLIN : 0) | (this.up ? POLLOUT : 0);
  }

  /** A program sends. While the interface is down, or the queue is full, the packet is lost. */
  send(packet: StackPacket): void {
    if (this.up && !this.isGone && this.#queue.length < this.queueLength) this.#queue.push(packet);
  }

  read(into: Uint8Array): number {
    if (this.isGone) return -EBADFD;
    const next = this.#queue.shift();
    if (!next) return -EAGAIN;
    const { bytes, vnet } = this.#host.read(next);
    const whole = this.#hasVnet ? Buffer.concat([vnet, bytes]) : bytes;
    const length = Math.min(whole.length, into.length);
    into.set(whole.subarray(0, length));
    return length;
  }

  write(bytes: Uint8Array): number {
    if (this.isGone) return -EBADFD;
    if (!this.up) return -EIO;
    const packets = this.#hasVnet ? split(bytes) : [bytes.slice()];
    if (!packets) return -EINVAL;
    for (const packet of packets) this.#host.deliver(packet);
    return bytes.length;
  }

  get #hasVnet(): boolean {
    return (this.flags & 0x4000) !== 0;
  }
}

/** What becomes of a packet with a virtio-net header; `undefined`: the kernel refuses it. */
export function split(write: Uint8Array): Uint8Array[] | undefined {
  const header = viewOf(write);
  const [flags, type] = [header.getUint8(0), header.getUint8(1) & 0x7f];
  const [size, start, offset] = [4, 6, 8].map(at => header.getUint16(at, true));
  const packet = write.slice(VNET_BYTES);
  const complete = (bytes: Uint8Array) => {
    if ((flags & NEEDS_CHECKSUM) === 0) return;
    const sum = slowChecksum(bytes.subarray(start));
    viewOf(bytes).setUint16(start + offset, sum === 0 ? 0xffff : sum);
  };
  const isV4 = packet[0] >> 4 === 4;
  if (type === 0) {
    complete(packet);
    return [packet];
  }
  const isTcp = type === 1 || type === 4;
  if (isTcp ? isV4 !== (type === 1) : type !== 5) return undefined;
  if (size === 0 || (flags & NEEDS_CHECKSUM) === 0) return undefined;
  const headers = start + (isTcp ? (packet[start + 12] >> 4) * 4 : 8);
  const segments: Uint8Array[] = [];
  for (let at = headers; at < packet.length; at += size) {
    const payload = packet.subarray(at, at + size);
    const segment = new Uint8Array(Buffer.concat([packet.subarray(0, headers), payload]));
    const view = viewOf(segment);
    // The pseudo-header's sum is that of the whole: it has the length in it.
    const shorter = packet.length - segment.length;
    const partial = view.getUint16(start + offset) + 0xffff - (shorter % 0xffff);
    view.setUint16(start + offset, (partial & 0xffff) + (partial >>> 16));
    if (isV4) {
      view.setUint16(2, segment.length);
      view.setUint16(4, (view.getUint16(4) + segments.length) & 0xffff);
      view.setUint16(10, 0);
      view.setUint16(10, slowChecksum(segment.subarray(0, (segment[0] & 15) * 4)));
    } else view.setUint16(4, segment.length - 40);
    if (isTcp) {
      view.setUint32(start + 4, (view.getUint32(start + 4) + at - headers) >>> 0);
      if (at + size < packet.length) segment[start + 13] &= ~TCP_ENDS;
      if (segments.length > 0) segment[start + 13] &= ~CWR;
    } else view.setUint16(start + 4, segment.length - start);
    complete(segment);
    segments.push(segment);
  }
  return segments;
}
