// Many datagrams by one system call, and many datagrams in one message where the kernel puts them together.
// Promises: nothing is allocated for a datagram that came from where one came from before, as long as the table of
// endpoints has room, and is as long as another.
// Read on: man 2 recvmmsg, man 7 udp (UDP_GRO), man 7 ip (IP_PKTINFO), RFC 3542 section 6 (IPV6_PKTINFO).

import type { NativeMemory } from '../../../native/native-memory.js';
import type { Room } from '../../../native/room.js';
import {
  AF_INET,
  AF_INET6,
  CMSGHDR_BYTES,
  IOVEC_BYTES,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_UDP,
  IPV6_PKTINFO,
  IP_PKTINFO,
  type Libc,
  MMSGHDR_BYTES,
  MSG_DONTWAIT,
  MSG_TRUNC,
  UDP_GRO,
} from '../libc.js';
import { EndpointTable } from './endpoint-table.js';
import {
  type LinuxUdpEndpoint,
  V4_INTERFACE,
  V4_LOCAL,
  V4_PORT,
  V4_WORDS,
  V6_INTERFACE,
  V6_LOCAL,
  V6_PORT,
  V6_SCOPE,
  V6_WORDS,
} from './udp-endpoint.js';
import {
  CMSG_ALIGN,
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_TYPE,
  CONTROL_LENGTH,
  FLAGS,
  IN6_PKTINFO_BYTES,
  IN_PKTINFO_BYTES,
  MESSAGE_WORDS,
  NAME_BYTES,
  NAME_LENGTH,
  RECEIVED,
  SEGMENT_RECEIVED_BYTES,
  WORD,
} from './udp-message.js';
import { ViewCache } from '../view-cache.js';

/** Holds the longest datagram. Not a power of two: slots that far apart would all compete for the same cache lines. */
export const SLOT_BYTES = 65_600;
/** Datagrams of a full batch, and more: each is to find its view again. */
const VIEWS = 4_096;
/**
 * Bytes that are asked for at a time, as far as the last batch tells: then the views of few slots serve, and a turn is
 * short. What it brings: docs/performance.md.
 */
const BATCH_BYTES = 256 * 1024;
/** Messages that are asked for however long the last ones were. */
const MIN_MESSAGES = 4;
/** Room for the address that a datagram came to, and for the size of the segments that were put together. */
const CONTROL_BYTES = 128;

/** What one recvmmsg brought. All of it is good until the next `receive`. */
export class ReceiveBatch {
  readonly #libc: Libc;
  readonly #count: number;
  readonly #slotBytes: number;
  /** Headers, and behind them addresses, control messages and iovecs. */
  readonly #headers: NativeMemory;
  /** Where addresses and control messages begin, in words. */
  readonly #names: number;
  readonly #controls: number;
  /** Of the slots. */
  readonly #views: ViewCache<Room>;
  readonly #v4 = new Int32Array(V4_WORDS);
  readonly #v6 = new Int32Array(V6_WORDS);
  readonly #v4Endpoints = new EndpointTable(V4_WORDS);
  readonly #v6Endpoints = new EndpointTable(V6_WORDS);
  /** Messages to ask for next. */
  #wanted: number;
  #isFull = false;
  /** The headers that the kernel wrote to last time. */
  #used: number;

  /** `slots`: `count * slotBytes` bytes or more, for nobody else while datagrams in them are in use. Default: new memory. */
  constructor(libc: Libc, count: number, slotBytes: number = SLOT_BYTES, slots?: Room) {
    const names = count * MMSGHDR_BYTES;
    const controls = names + count * NAME_BYTES;
    const iovecs = controls + count * CONTROL_BYTES;
    const headers = libc.alloc(iovecs + count * IOVEC_BYTES);
    const memory = slots ?? libc.alloc(count * slotBytes);
    for (let i = 0; i < count; i++) {
      const header = i * MMSGHDR_BYTES;
      const iovec = iovecs + i * IOVEC_BYTES;
      headers.setU64(header, headers.address + names + i * NAME_BYTES);
      headers.setU64(header + 16, headers.address + iovec);
      headers.setU64(header + 24, 1);
      headers.setU64(header + 32, headers.address + controls + i * CONTROL_BYTES);
      headers.setU64(iovec, memory.address + i * slotBytes);
      headers.setU64(iovec + 8, slotBytes);
    }
    this.#libc = libc;
    this.#count = count;
    this.#slotBytes = slotBytes;
    this.#headers = headers;
    this.#names = names / WORD;
    this.#controls = controls / WORD;
    this.#views = new ViewCache((start, length) => memory.part(start, length), VIEWS);
    this.#wanted = count;
    this.#used = count;
  }

  /** Messages at a time. */
  get count(): number {
    return this.#count;
  }

  /** The number of messages that came, without waiting; or `-errno`. */
  receive(fd: number): number {
    const { u32, address } = this.#headers;
    // What the kernel writes back: only the headers that it used last time need their lengths again.
    for (let i = 0, at = 0; i < this.#used; i++, at += MESSAGE_WORDS) {
      u32[at + NAME_LENGTH] = NAME_BYTES;
      u32[at + CONTROL_LENGTH] = CONTROL_BYTES;
      u32[at + FLAGS] = 0;
    }
    const received = this.#libc.recvmmsg(fd, address, this.#wanted, MSG_DONTWAIT);
    this.#used = Math.max(received, 1);
    this.#isFull = received === this.#wanted;
    if (received > 0) this.#adapt(received);
    return received;
  }

  /** Whether there may be more: the last batch had as many messages as were asked for. */
  get isFull(): boolean {
    return this.#isFull;
  }

  #adapt(received: number): void {
    let bytes = 0;
    for (let i = 0; i < received; i++) bytes += this.length(i);
    const fitting = Math.ceil((BATCH_BYTES * received) / bytes);
    this.#wanted = Math.max(Math.min(fitting, this.#count), Math.min(MIN_MESSAGES, this.#count));
  }

  /** Bytes of a message. */
  length(i: number): number {
    return this.#headers.u32[i * MESSAGE_WORDS + RECEIVED];
  }

  /** Whether the message was longer than its slot: then its end is lost. */
  truncated(i: number): boolean {
    return (this.#headers.u32[i * MESSAGE_WORDS + FLAGS] & MSG_TRUNC) !== 0;
  }

  /** Bytes of each datagram in the message but the last, which may be shorter: the whole message, if it is but one. */
  segmentBytes(i: number): number {
    const size = this.#findControl(i, IPPROTO_UDP, UDP_GRO, SEGMENT_RECEIVED_BYTES);
    const bytes = size < 0 ? 0 : this.#headers.u32[size];
    return bytes > 0 ? bytes : this.length(i);
  }

  /** A piece of a message, which may be changed. */
  part(i: number, start: number, length: number): Room {
    return this.#views.get(i * this.#slotBytes + start, length);
  }

  /**
   * Where it came from and which way; `undefined` for an address of another family than IP. `sourceSerial`: what the way
   * is good for, not 0.
   */
  from(i: number, sourceSerial: number): LinuxUdpEndpoint | undefined {
    const { u32 } = this.#headers;
    const name = this.#names + (i * NAME_BYTES) / WORD;
    const family = u32[name] & 0xffff;
    // Family and port share a word; the port is in network order there as it is in an endpoint's words.
    if (family === AF_INET) {
      const words = this.#v4;
      words[0] = u32[name + 1];
      words[V4_PORT] = u32[name] >>> 16;
      const info = this.#findControl(i, IPPROTO_IP, IP_PKTINFO, IN_PKTINFO_BYTES);
      words[V4_INTERFACE] = info < 0 ? 0 : u32[info];
      words[V4_LOCAL] = info < 0 ? 0 : u32[info + 1];
      return this.#v4Endpoints.get(words, sourceSerial);
    }
    if (family !== AF_INET6) return undefined;
    const words = this.#v6;
    for (let k = 0; k < 4; k++) words[k] = u32[name + 2 + k];
    words[V6_PORT] = u32[name] >>> 16;
    words[V6_SCOPE] = u32[name + 6];
    const info = this.#findControl(i, IPPROTO_IPV6, IPV6_PKTINFO, IN6_PKTINFO_BYTES);
    for (let k = 0; k < 4; k++) words[V6_LOCAL + k] = info < 0 ? 0 : u32[info + k];
    words[V6_INTERFACE] = info < 0 ? 0 : u32[info + 4];
    return this.#v6Endpoints.get(words, sourceSerial);
  }

  /** The way on which this endpoint's datagrams came is good for nothing, until another comes. */
  distrust(endpoint: LinuxUdpEndpoint): void {
    (endpoint.isV4 ? this.#v4Endpoints : this.#v6Endpoints).distrust(endpoint);
  }

  /** The word at which the data of a control message begins, or -1. */
  #findControl(i: number, level: number, type: number, bytes: number): number {
    const { u32 } = this.#headers;
    const start = this.#controls + (i * CONTROL_BYTES) / WORD;
    const end = start + Math.min(u32[i * MESSAGE_WORDS + CONTROL_LENGTH], CONTROL_BYTES) / WORD;
    for (let at = start; at + CMSG_DATA <= end; ) {
      const length = u32[at];
      if (length < CMSGHDR_BYTES) return -1;
      if (u32[at + CMSG_LEVEL] === level && u32[at + CMSG_TYPE] === type) {
        return length >= CMSGHDR_BYTES + bytes ? at + CMSG_DATA : -1;
      }
      at += (Math.ceil(length / CMSG_ALIGN) * CMSG_ALIGN) / WORD;
    }
    return -1;
  }
}
