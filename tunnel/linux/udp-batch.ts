// Many datagrams in one system call: the message headers of recvmmsg and sendmmsg, laid out once and used for ever.
// Promises: nothing is allocated for a datagram that came from where one came from before and is as long as another.
// Read on: man 2 recvmmsg, man 2 sendmmsg, man 7 ip (IP_PKTINFO), RFC 3542 section 6 (IPV6_PKTINFO).

import {
  AF_INET,
  AF_INET6,
  CMSGHDR_BYTES,
  IOVEC_BYTES,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_PKTINFO,
  IP_PKTINFO,
  type Libc,
  MMSGHDR_BYTES,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_TRUNC,
  type NativeMemory,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_IN_BYTES,
} from './libc.js';
import {
  type EndpointTable,
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

/** Holds the longest datagram. Not a power of two: slots that far apart would all compete for the same cache lines. */
export const SLOT_BYTES = 65_600;

const NAME_BYTES = 32;
/** Room for the address that a datagram came to, and for the segment size that an offload would add. */
const CONTROL_BYTES = 128;
const WORD = 4;
// Words within a mmsghdr.
const MESSAGE_WORDS = MMSGHDR_BYTES / WORD;
const NAME_LENGTH = 2;
const CONTROL_LENGTH = 10;
const FLAGS = 12;
const RECEIVED = 14;
// Words within a control message: its length is 64 bits, of which 32 are enough.
const CMSG_LEVEL = 2;
const CMSG_TYPE = 3;
const CMSG_DATA = CMSGHDR_BYTES / WORD;
const CMSG_ALIGN = 8;
/** struct in_pktinfo: interface, our address, the header's address. */
const IN_PKTINFO_BYTES = 12;
/** struct in6_pktinfo: our address, interface. */
const IN6_PKTINFO_BYTES = 20;

/** Headers, addresses, control messages and slots of a number of datagrams. */
class Messages {
  readonly libc: Libc;
  readonly count: number;
  readonly slotBytes: number;
  readonly headers: NativeMemory;
  readonly slots: NativeMemory;
  /** Where names, control messages and iovecs begin in `headers`, in words. */
  readonly names: number;
  readonly controls: number;
  readonly iovecs: number;

  constructor(libc: Libc, count: number, slotBytes: number) {
    this.libc = libc;
    this.count = count;
    this.slotBytes = slotBytes;
    const names = count * MMSGHDR_BYTES;
    const controls = names + count * NAME_BYTES;
    const iovecs = controls + count * CONTROL_BYTES;
    const headers = libc.alloc(iovecs + count * IOVEC_BYTES);
    const slots = libc.alloc(count * slotBytes);
    for (let i = 0; i < count; i++) {
      const header = i * MMSGHDR_BYTES;
      const iovec = iovecs + i * IOVEC_BYTES;
      headers.setU64(header, headers.address + names + i * NAME_BYTES);
      headers.setU64(header + 16, headers.address + iovec);
      headers.setU64(header + 24, 1);
      headers.setU64(header + 32, headers.address + controls + i * CONTROL_BYTES);
      headers.setU64(iovec, slots.address + i * slotBytes);
      headers.setU64(iovec + 8, slotBytes);
    }
    this.headers = headers;
    this.slots = slots;
    this.names = names / WORD;
    this.controls = controls / WORD;
    this.iovecs = iovecs / WORD;
  }
}

/** What one recvmmsg brought. All of it is good until the next `receive`. */
export class ReceiveBatch {
  readonly #messages: Messages;
  readonly #views: (Uint8Array | undefined)[];
  readonly #v4 = new Uint32Array(V4_WORDS);
  readonly #v6 = new Uint32Array(V6_WORDS);
  #used: number;

  constructor(libc: Libc, count: number, slotBytes: number = SLOT_BYTES) {
    this.#messages = new Messages(libc, count, slotBytes);
    this.#views = Array.from<Uint8Array | undefined>({ length: count }).fill(undefined);
    this.#used = count;
  }

  /** Datagrams at a time. */
  get count(): number {
    return this.#messages.count;
  }

  /** The slots, one after the other: datagram `i` begins at `i * slotBytes`. */
  get slots(): Uint8Array {
    return this.#messages.slots.bytes;
  }

  get slotBytes(): number {
    return this.#messages.slotBytes;
  }

  /** The number of datagrams that came, without waiting; or `-errno`. */
  receive(fd: number): number {
    const { headers, libc, count } = this.#messages;
    // What the kernel writes back: only the headers that it used last time need their lengths again.
    for (let i = 0, at = 0; i < this.#used; i++, at += MESSAGE_WORDS) {
      headers.u32[at + NAME_LENGTH] = NAME_BYTES;
      headers.u32[at + CONTROL_LENGTH] = CONTROL_BYTES;
      headers.u32[at + FLAGS] = 0;
    }
    const received = libc.recvmmsg(fd, headers.address, count, MSG_DONTWAIT);
    this.#used = Math.max(received, 1);
    return received;
  }

  length(i: number): number {
    return this.#messages.headers.u32[i * MESSAGE_WORDS + RECEIVED];
  }

  /** Whether the datagram was longer than its slot: then its end is lost. */
  truncated(i: number): boolean {
    return (this.#messages.headers.u32[i * MESSAGE_WORDS + FLAGS] & MSG_TRUNC) !== 0;
  }

  /** The bytes, which may be changed. Datagrams of one length in one slot share a view. */
  datagram(i: number): Uint8Array {
    const length = this.length(i);
    const known = this.#views[i];
    if (known !== undefined && known.length === length) return known;
    const start = i * this.slotBytes;
    const view = this.slots.subarray(start, start + length);
    this.#views[i] = view;
    return view;
  }

  /** Where it came from and which way; `undefined` for an address of another family than IP. */
  from(i: number, table: EndpointTable, sourceEpoch: number): LinuxUdpEndpoint | undefined {
    const { names, headers } = this.#messages;
    const { u32 } = headers;
    const name = names + (i * NAME_BYTES) / WORD;
    const family = u32[name] & 0xffff;
    // Family and port share a word; the port is in network order there as it is in an endpoint's words.
    if (family === AF_INET) {
      const words = this.#v4;
      words[0] = u32[name + 1];
      words[V4_PORT] = u32[name] >>> 16;
      const info = this.#findControl(i, IPPROTO_IP, IP_PKTINFO, IN_PKTINFO_BYTES);
      words[V4_INTERFACE] = info < 0 ? 0 : u32[info];
      words[V4_LOCAL] = info < 0 ? 0 : u32[info + 1];
      return table.get(words, sourceEpoch);
    }
    if (family !== AF_INET6) return undefined;
    const words = this.#v6;
    for (let k = 0; k < 4; k++) words[k] = u32[name + 2 + k];
    words[V6_PORT] = u32[name] >>> 16;
    words[V6_SCOPE] = u32[name + 6];
    const info = this.#findControl(i, IPPROTO_IPV6, IPV6_PKTINFO, IN6_PKTINFO_BYTES);
    for (let k = 0; k < 4; k++) words[V6_LOCAL + k] = info < 0 ? 0 : u32[info + k];
    words[V6_INTERFACE] = info < 0 ? 0 : u32[info + 4];
    return table.get(words, sourceEpoch);
  }

  /** The word at which the data of a control message begins, or -1. */
  #findControl(i: number, level: number, type: number, bytes: number): number {
    const { headers, controls } = this.#messages;
    const { u32 } = headers;
    const start = controls + (i * CONTROL_BYTES) / WORD;
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

/** Datagrams of one family that wait to be sent, in order. */
export class SendBatch {
  readonly #messages: Messages;
  readonly #targets: (LinuxUdpEndpoint | undefined)[];
  // A ring: `#pending` slots from `#head` on wait, and those behind the end go on at 0.
  #head = 0;
  #pending = 0;

  constructor(libc: Libc, count: number, slotBytes: number = SLOT_BYTES) {
    this.#messages = new Messages(libc, count, slotBytes);
    this.#targets = Array.from<LinuxUdpEndpoint | undefined>({ length: count }).fill(undefined);
  }

  get pending(): number {
    return this.#pending;
  }

  get full(): boolean {
    return this.#pending === this.#messages.count;
  }

  /** Bytes of a datagram at most. */
  get slotBytes(): number {
    return this.#messages.slotBytes;
  }

  /** Copies a datagram into the next slot. `sticky`: by the way on which the target's own datagrams came. Not when full. */
  push(datagram: Uint8Array, to: LinuxUdpEndpoint, sticky: boolean): void {
    const { headers, slots, slotBytes, names, controls, iovecs, count } = this.#messages;
    const { u32 } = headers;
    const { words } = to;
    const i = (this.#head + this.#pending++) % count;
    this.#targets[i] = to;
    slots.bytes.set(datagram, i * slotBytes);
    u32[iovecs + (i * IOVEC_BYTES) / WORD + 2] = datagram.length;
    const header = i * MESSAGE_WORDS;
    const name = names + (i * NAME_BYTES) / WORD;
    const control = controls + (i * CONTROL_BYTES) / WORD;
    u32[header + FLAGS] = 0;
    if (words.length === V4_WORDS) {
      u32[header + NAME_LENGTH] = SOCKADDR_IN_BYTES;
      u32[name] = AF_INET | (words[V4_PORT] << 16);
      u32[name + 1] = words[0];
      if (sticky && words[V4_INTERFACE] !== 0) {
        const data = this.#control(header, control, IPPROTO_IP, IP_PKTINFO, IN_PKTINFO_BYTES);
        u32[data] = words[V4_INTERFACE];
        u32[data + 1] = words[V4_LOCAL];
        u32[data + 2] = 0;
      } else u32[header + CONTROL_LENGTH] = 0;
      return;
    }
    u32[header + NAME_LENGTH] = SOCKADDR_IN6_BYTES;
    u32[name] = AF_INET6 | (words[V6_PORT] << 16);
    u32[name + 1] = 0;
    for (let k = 0; k < 4; k++) u32[name + 2 + k] = words[k];
    u32[name + 6] = words[V6_SCOPE];
    if (sticky && words[V6_INTERFACE] !== 0) {
      const data = this.#control(header, control, IPPROTO_IPV6, IPV6_PKTINFO, IN6_PKTINFO_BYTES);
      for (let k = 0; k < 4; k++) u32[data + k] = words[V6_LOCAL + k];
      u32[data + 4] = words[V6_INTERFACE];
    } else u32[header + CONTROL_LENGTH] = 0;
  }

  /** One sendmmsg for those that wait, up to the ring's end. How many of them went, or `-errno` of the first. */
  send(fd: number): number {
    const { libc, headers, count } = this.#messages;
    const adjacent = Math.min(this.#pending, count - this.#head);
    const address = headers.address + this.#head * MMSGHDR_BYTES;
    const sent = libc.sendmmsg(fd, address, adjacent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) this.#advance(sent);
    return sent;
  }

  /** Has the first go by whichever way the kernel takes. Returns its target if it had a source to lose. */
  forgetSource(): LinuxUdpEndpoint | undefined {
    const { u32 } = this.#messages.headers;
    const at = this.#head * MESSAGE_WORDS + CONTROL_LENGTH;
    if (u32[at] === 0) return undefined;
    u32[at] = 0;
    return this.#targets[this.#head];
  }

  /** Gives the first up. */
  drop(): void {
    this.#advance(1);
  }

  #advance(count: number): void {
    this.#pending -= count;
    // Back to the start when all have gone: so the next ones lie side by side.
    this.#head = this.#pending === 0 ? 0 : (this.#head + count) % this.#messages.count;
  }

  #control(header: number, control: number, level: number, type: number, bytes: number): number {
    const { u32 } = this.#messages.headers;
    u32[header + CONTROL_LENGTH] = Math.ceil((CMSGHDR_BYTES + bytes) / CMSG_ALIGN) * CMSG_ALIGN;
    u32[control] = CMSGHDR_BYTES + bytes;
    u32[control + 1] = 0;
    u32[control + CMSG_LEVEL] = level;
    u32[control + CMSG_TYPE] = type;
    return control + CMSG_DATA;
  }
}
