// A UDP socket of the fake kernel: messages with their control data, runs that it splits (UDP_SEGMENT) and joins (UDP_GRO).
// Read on: man 7 udp, man 7 ip (IP_PKTINFO), RFC 3542; Linux net/ipv4/udp.c udp_send_skb(), net/socket.c ___sys_sendmsg().

import { EAGAIN, EADDRNOTAVAIL, EINVAL, EMSGSIZE, ENETUNREACH } from '../../../tunnel/linux/errno.js';
import {
  AF_INET,
  AF_INET6,
  CMSGHDR_BYTES,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_UDP,
  IPV6_PKTINFO,
  IPV6_RECVPKTINFO,
  IP_PKTINFO,
  MSG_TRUNC,
  POLLERR,
  POLLIN,
  POLLOUT,
  UDP_GRO,
  UDP_SEGMENT,
} from '../../../tunnel/linux/libc.js';
import type { AddressSpace } from './memory.js';
import type { FakeFile } from './file.js';

export interface Address {
  readonly ip: Uint8Array;
  readonly port: number;
}

export interface FakeDatagram {
  readonly bytes: Uint8Array;
  readonly from: Address;
  readonly to: Address;
}

/** What a socket knows of the machine that it is on. */
export interface UdpHost {
  /** Our address of this family, for what is sent without a source; and whether an address is ours. */
  readonly address: (family: number) => Uint8Array;
  readonly owns: (ip: Uint8Array) => boolean;
  readonly pathMtu: () => number;
  readonly leave: (datagram: FakeDatagram) => void;
}

/** Datagrams of one size that came together. */
interface Received {
  readonly bytes: Uint8Array;
  readonly segment: number;
  readonly from: Address;
  readonly to: Address;
}

/** The number of the one interface that datagrams come in at and leave by. */
export const UPLINK = 2;
const MAX_SEGMENTS = 64;
const MAX_MESSAGE_BYTES = 65_507;
/** Messages that wait to be received; more are lost. */
const MAX_WAITING = 1_000;
const UDP_AND_IP_BYTES = 28;
const MSG_HEADER = {
  name: 0,
  nameLength: 8,
  iovecs: 16,
  iovecCount: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
};

export class FakeUdpSocket implements FakeFile {
  readonly kind = 'udp';
  readonly family: number;
  port = 0;
  /** Messages that there is room for until `Infinity` is set again; then sending waits. */
  room = Number.POSITIVE_INFINITY;
  /** Left by the network, told once. */
  error = 0;
  readonly #host: UdpHost;
  readonly #options = new Map<string, number>();
  readonly #waiting: Received[] = [];

  constructor(family: number, host: UdpHost) {
    this.family = family;
    this.#host = host;
  }

  ready(): number {
    return (
      (this.#waiting.length > 0 ? POLLIN : 0) |
      (this.room > 0 ? POLLOUT : 0) |
      (this.error === 0 ? 0 : POLLERR | POLLIN)
    );
  }

  setOption(level: number, name: number, value: number): number {
    this.#options.set(`${level} ${name}`, value);
    return 0;
  }

  option(level: number, name: number): number {
    return this.#options.get(`${level} ${name}`) ?? 0;
  }

  /** Datagrams come in together: those of one sender and one size are joined, if that was asked for. */
  arrive(datagrams: readonly FakeDatagram[]): void {
    const joins = this.option(IPPROTO_UDP, UDP_GRO) === 1;
    for (let i = 0; i < datagrams.length; ) {
      const { bytes, from, to } = datagrams[i];
      const run = [bytes];
      const fits = (next: FakeDatagram) =>
        joins &&
        next.from.port === from.port &&
        Buffer.compare(next.from.ip, from.ip) === 0 &&
        Buffer.compare(next.to.ip, to.ip) === 0 &&
        next.bytes.length <= bytes.length &&
        run.at(-1)?.length === bytes.length &&
        run.length < MAX_SEGMENTS &&
        (run.length + 1) * bytes.length <= MAX_MESSAGE_BYTES;
      for (i++; i < datagrams.length && fits(datagrams[i]); i++) run.push(datagrams[i].bytes);
      if (this.#waiting.length === MAX_WAITING) continue;
      const segment = run.length > 1 ? bytes.length : 0;
      this.#waiting.push({ bytes: new Uint8Array(Buffer.concat(run)), segment, from, to });
    }
  }

  /** One message of recvmmsg, by the address of its header: its length, or `-errno`. */
  receive(memory: AddressSpace, header: number): number {
    const error = this.takeError();
    if (error !== 0) return -error;
    const next = this.#waiting.shift();
    if (!next) return -EAGAIN;
    const message = new Message(memory, header);
    const { bytes, segment, from, to } = next;
    const [into] = message.iovecs();
    const length = Math.min(into.length, bytes.length);
    into.set(bytes.subarray(0, length));
    message.putName(sockaddr(from));
    const control: Uint8Array[] = [];
    if (segment > 0) control.push(controlMessage(IPPROTO_UDP, UDP_GRO, words(segment)));
    if (this.family === AF_INET && this.option(IPPROTO_IP, IP_PKTINFO) === 1) {
      control.push(controlMessage(IPPROTO_IP, IP_PKTINFO, Buffer.concat([words(UPLINK), to.ip, to.ip])));
    }
    if (this.family === AF_INET6 && this.option(IPPROTO_IPV6, IPV6_RECVPKTINFO) === 1) {
      control.push(controlMessage(IPPROTO_IPV6, IPV6_PKTINFO, Buffer.concat([to.ip, words(UPLINK)])));
    }
    message.putControl(Buffer.concat(control));
    message.flags = length < bytes.length ? MSG_TRUNC : 0;
    return length;
  }

  /** One message of sendmmsg: its length, or `-errno`. Then nothing of it has left. */
  send(memory: AddressSpace, header: number): number {
    const error = this.takeError();
    if (error !== 0) return -error;
    if (this.room === 0) return -EAGAIN;
    const message = new Message(memory, header);
    const bytes = new Uint8Array(Buffer.concat(message.iovecs()));
    const to = addressOf(message.name());
    if (!to || (to.ip.length === 4) !== (this.family === AF_INET) || to.port === 0) return -EINVAL;
    let segment = bytes.length;
    let ip = this.#host.address(this.family);
    if (ip.length === 0) return -ENETUNREACH;
    for (const { level, type, data } of message.control()) {
      const view = new DataView(data.buffer, data.byteOffset, data.length);
      if (level === IPPROTO_UDP && type === UDP_SEGMENT) segment = view.getUint16(0, true);
      else {
        const isV4 = level === IPPROTO_IP && type === IP_PKTINFO;
        if (!isV4 && !(level === IPPROTO_IPV6 && type === IPV6_PKTINFO)) return -EINVAL;
        if (view.getUint32(isV4 ? 0 : 16, true) !== UPLINK) return isV4 ? -EINVAL : -EADDRNOTAVAIL;
        ip = data.slice(isV4 ? 4 : 0, isV4 ? 8 : 16);
        if (!this.#host.owns(ip)) return -EINVAL;
      }
    }
    if (bytes.length > MAX_MESSAGE_BYTES) return -EMSGSIZE;
    if (segment < bytes.length) {
      if (segment === 0 || bytes.length > segment * MAX_SEGMENTS) return -EINVAL;
      if (segment + UDP_AND_IP_BYTES > this.#host.pathMtu()) return -EINVAL;
    }
    this.room--;
    const from = { ip, port: this.port };
    for (let at = 0; at < bytes.length; at += segment) {
      this.#host.leave({ bytes: bytes.slice(at, at + segment), from, to });
    }
    return bytes.length;
  }

  /** What the network left on the socket, which is told once. */
  takeError(): number {
    const { error } = this;
    this.error = 0;
    return error;
  }
}

/** A struct msghdr in the memory of a process. Throws where it points to nothing. */
class Message {
  readonly #memory: AddressSpace;
  readonly #header: DataView;

  constructor(memory: AddressSpace, address: number) {
    this.#memory = memory;
    this.#header = viewOf(bytesAt(memory, address, 56));
  }

  set flags(flags: number) {
    this.#header.setUint32(MSG_HEADER.flags, flags, true);
  }

  iovecs(): Uint8Array[] {
    const count = this.#header.getUint32(MSG_HEADER.iovecCount, true);
    return iovecsAt(this.#memory, this.#pointer(MSG_HEADER.iovecs), count);
  }

  name(): Uint8Array {
    const length = this.#header.getUint32(MSG_HEADER.nameLength, true);
    return bytesAt(this.#memory, this.#pointer(MSG_HEADER.name), length);
  }

  putName(name: Uint8Array): void {
    this.name().set(name);
    this.#header.setUint32(MSG_HEADER.nameLength, name.length, true);
  }

  *control(): Generator<{ readonly level: number; readonly type: number; readonly data: Uint8Array }> {
    const all = this.#controlBytes();
    const view = viewOf(all);
    for (let at = 0; at + CMSGHDR_BYTES <= all.length; ) {
      const length = view.getUint32(at, true);
      if (length < CMSGHDR_BYTES || at + length > all.length)
        throw new Error('a control message of no length');
      const data = all.slice(at + CMSGHDR_BYTES, at + length);
      yield { level: view.getUint32(at + 8, true), type: view.getUint32(at + 12, true), data };
      at += aligned(length);
    }
  }

  putControl(control: Uint8Array): void {
    this.#controlBytes().set(control);
    this.#header.setUint32(MSG_HEADER.controlLength, control.length, true);
  }

  #controlBytes(): Uint8Array {
    const length = this.#header.getUint32(MSG_HEADER.controlLength, true);
    return length === 0
      ? new Uint8Array(0)
      : bytesAt(this.#memory, this.#pointer(MSG_HEADER.control), length);
  }

  #pointer(at: number): number {
    return Number(this.#header.getBigUint64(at, true));
  }
}

/** The pieces that an array of struct iovec points to. Throws where that is nothing. */
export function iovecsAt(memory: AddressSpace, address: number, count: number): Uint8Array[] {
  const view = viewOf(bytesAt(memory, address, count * 16));
  return Array.from({ length: count }, (_, i) => {
    const at = Number(view.getBigUint64(i * 16, true));
    return bytesAt(memory, at, Number(view.getBigUint64(i * 16 + 8, true)));
  });
}

/** Throws where the process has no such memory. */
export function bytesAt(memory: AddressSpace, address: number, length: number): Uint8Array {
  const bytes = memory.at(address, length);
  if (!bytes) throw new Error(`EFAULT: ${length} bytes at ${address}`);
  return bytes;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function addressOf(name: Uint8Array): Address | undefined {
  const view = viewOf(name);
  const family = view.getUint16(0, true);
  const [at, length] = family === AF_INET ? [4, 4] : [8, 16];
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  return { ip: name.slice(at, at + length), port: view.getUint16(2) };
}

function sockaddr({ ip, port }: Address): Uint8Array {
  const isV4 = ip.length === 4;
  const bytes = new Uint8Array(isV4 ? 16 : 28);
  viewOf(bytes).setUint16(0, isV4 ? AF_INET : AF_INET6, true);
  viewOf(bytes).setUint16(2, port);
  bytes.set(ip, isV4 ? 4 : 8);
  return bytes;
}

function controlMessage(level: number, type: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(aligned(CMSGHDR_BYTES + data.length));
  const view = viewOf(bytes);
  view.setUint32(0, CMSGHDR_BYTES + data.length, true);
  view.setUint32(8, level, true);
  view.setUint32(12, type, true);
  bytes.set(data, CMSGHDR_BYTES);
  return bytes;
}

function words(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

function aligned(length: number): number {
  return Math.ceil(length / 8) * 8;
}
