// Many datagrams by one system call: runs of one size to one peer as one message, which the kernel splits (UDP_SEGMENT).
// Promises: datagrams leave in the order in which they were pushed; nothing is copied and nothing allocated. A run that
// the kernel refuses can be sent again datagram by datagram.
// Read on: man 7 udp (UDP_SEGMENT); Linux net/ipv4/udp.c udp_send_skb() (what is refused, and how).

import type { NativeMemory } from '../../../native/native-memory.js';
import type { DatagramPool, DatagramSlot } from './datagram-pool.js';
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
  MSG_NOSIGNAL,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_IN_BYTES,
  UDP_SEGMENT,
} from '../libc.js';
import type { LinuxUdpEndpoint } from './udp-endpoint.js';
import {
  CMSG_DATA,
  CMSG_LEVEL,
  CMSG_TYPE,
  CONTROL_LENGTH,
  CONTROL_POINTER,
  FLAGS,
  IN6_PKTINFO_BYTES,
  IN_PKTINFO_BYTES,
  IOVECS_COUNT,
  IOVECS_POINTER,
  MESSAGE_WORDS,
  NAME_BYTES,
  NAME_LENGTH,
  NAME_POINTER,
  SEGMENT_SENT_BYTES,
  WORD,
  controlBytes,
} from './udp-message.js';

/** Datagrams of one run at most (UDP_MAX_SEGMENTS of the kernels that have fewest). */
const MAX_RUN = 64;
/** Bytes of one run: what an IPv4 packet holds besides its headers. */
const MAX_RUN_BYTES = 65_507;
/** The control message with the segment size stands first, so that it can be left out; behind it the source. */
const SEGMENT_CONTROL_BYTES = controlBytes(SEGMENT_SENT_BYTES);
const CONTROL_BYTES = SEGMENT_CONTROL_BYTES + controlBytes(IN6_PKTINFO_BYTES);

/** Datagrams of one family that wait to be sent, in order. */
export class SendBatch {
  /**
   * Runs of datagrams of up to so many bytes are sent as one message; of longer ones each alone. 0 where the kernel
   * knows no such thing.
   */
  segmentLimit = Number.POSITIVE_INFINITY;
  readonly #libc: Libc;
  readonly #pool: DatagramPool;
  readonly #count: number;
  /** Headers, and behind them addresses, control messages, iovecs, and headers for the datagrams of one run. */
  readonly #headers: NativeMemory;
  /** Where each of them begins, in bytes. */
  readonly #names: number;
  readonly #controls: number;
  readonly #iovecs: number;
  readonly #singles: number;
  /** What the iovecs of each message point to. */
  readonly #slots: (DatagramSlot | undefined)[];
  readonly #targets: (LinuxUdpEndpoint | undefined)[];
  /** Of each message: datagrams, bytes of the first one, and of the control message that tells the source. */
  readonly #lengths: Uint32Array;
  readonly #segments: Uint32Array;
  readonly #sources: Uint32Array;
  // A ring: `#messages` from `#head` on wait, and those behind the end go on at 0.
  #head = 0;
  #messages = 0;
  #pending = 0;
  /** Whether the last message may still grow, and how. */
  #growing = false;
  #runBytes = 0;
  #runSticky = false;
  /** The first message is being sent datagram by datagram; so many of them have gone. */
  #broken = false;
  #gone = 0;

  constructor(libc: Libc, pool: DatagramPool, count: number) {
    this.#libc = libc;
    this.#pool = pool;
    this.#count = count;
    this.#names = count * MMSGHDR_BYTES;
    this.#controls = this.#names + count * NAME_BYTES;
    this.#iovecs = this.#controls + count * CONTROL_BYTES;
    this.#singles = this.#iovecs + count * MAX_RUN * IOVEC_BYTES;
    this.#headers = libc.alloc(this.#singles + MAX_RUN * MMSGHDR_BYTES);
    const { address } = this.#headers;
    for (let i = 0; i < count; i++) {
      const header = i * MMSGHDR_BYTES;
      this.#headers.setU64(header + NAME_POINTER * WORD, address + this.#names + i * NAME_BYTES);
      this.#headers.setU64(header + IOVECS_POINTER * WORD, this.#iovecAddress(i, 0));
    }
    this.#slots = Array.from<DatagramSlot | undefined>({ length: count * MAX_RUN }).fill(undefined);
    this.#targets = Array.from<LinuxUdpEndpoint | undefined>({ length: count }).fill(undefined);
    this.#lengths = new Uint32Array(count);
    this.#segments = new Uint32Array(count);
    this.#sources = new Uint32Array(count);
  }

  /** Datagrams that wait. */
  get pending(): number {
    return this.#pending;
  }

  get full(): boolean {
    return this.#messages === this.#count;
  }

  /** Bytes of a datagram of the first message, if that is a run which the kernel has to split; else 0. */
  get firstRun(): number {
    const isRun = this.#messages > 0 && this.#lengths[this.#head] > 1 && !this.#isBroken(this.#head);
    return isRun ? this.#segments[this.#head] : 0;
  }

  /**
   * Takes a datagram in a slot of the pool, which goes back there when it has been sent or dropped. `sticky`: by the
   * way on which the target's own datagrams came. Not when full.
   */
  push(slot: DatagramSlot, to: LinuxUdpEndpoint, sticky: boolean): void {
    const { length } = slot.bytes;
    this.#pending++;
    if (this.#growing && this.#grow(slot, to, sticky)) return;
    const i = (this.#head + this.#messages++) % this.#count;
    this.#targets[i] = to;
    this.#lengths[i] = 1;
    this.#segments[i] = length;
    this.#headers.u32[i * MESSAGE_WORDS + IOVECS_COUNT] = 1;
    this.#headers.u32[i * MESSAGE_WORDS + FLAGS] = 0;
    this.#putIovec(i, 0, slot);
    this.#putTarget(i, to, sticky);
    this.#putControl(i);
    this.#growing = length <= this.segmentLimit;
    this.#runBytes = length;
    this.#runSticky = sticky;
  }

  /** One sendmmsg for those that wait, up to the ring's end. How many datagrams went, or `-errno` of the first. */
  send(fd: number): number {
    if (this.#messages === 0) return 0;
    this.#growing = false;
    if (this.#isBroken(this.#head)) return this.#sendSingles(fd);
    const adjacent = Math.min(this.#messages, this.#count - this.#head);
    let count = 1;
    while (count < adjacent && !this.#isBroken(this.#head + count)) count++;
    const address = this.#headers.address + this.#head * MMSGHDR_BYTES;
    const sent = this.#libc.sendmmsg(fd, address, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent <= 0) return sent;
    let datagrams = 0;
    for (let i = 0; i < sent; i++) datagrams += this.#finish();
    return datagrams;
  }

  /** Has the first message go by whichever way the kernel takes. Returns its target if it had a source to lose. */
  forgetSource(): LinuxUdpEndpoint | undefined {
    const i = this.#head;
    if (this.#messages === 0 || this.#sources[i] === 0) return undefined;
    this.#sources[i] = 0;
    this.#putControl(i);
    if (this.#broken) this.#prepareSingles(i);
    return this.#targets[i];
  }

  /** Gives up what was refused: the first datagram, or the first run. Returns how many datagrams that were. */
  drop(): number {
    if (!this.#isBroken(this.#head)) return this.#finish();
    this.#goneSingles(1);
    return 1;
  }

  /** Gives up everything that waits, and its slots back. */
  clear(): void {
    while (this.#messages > 0) this.#finish();
  }

  /** Whether a message is a run that is sent datagram by datagram. */
  #isBroken(i: number): boolean {
    return (
      (i === this.#head && this.#broken) || (this.#lengths[i] > 1 && this.#segments[i] > this.segmentLimit)
    );
  }

  #grow(slot: DatagramSlot, to: LinuxUdpEndpoint, sticky: boolean): boolean {
    const { length } = slot.bytes;
    const i = (this.#head + this.#messages - 1) % this.#count;
    const segment = this.#segments[i];
    if (to !== this.#targets[i] || sticky !== this.#runSticky) return false;
    if (length > segment || this.#runBytes + length > MAX_RUN_BYTES) return false;
    const k = this.#lengths[i]++;
    this.#putIovec(i, k, slot);
    this.#runBytes += length;
    this.#headers.u32[i * MESSAGE_WORDS + IOVECS_COUNT] = k + 1;
    if (k === 1) this.#putControl(i);
    // A shorter one is the last.
    this.#growing = length === segment && k + 1 < MAX_RUN;
    return true;
  }

  /** Frees the first message, with what of it has not gone. Returns how many datagrams that were. */
  #finish(): number {
    const i = this.#head;
    const datagrams = this.#lengths[i] - this.#gone;
    for (let k = this.#gone; k < this.#lengths[i]; k++) this.#giveBack(i, k);
    this.#pending -= datagrams;
    this.#targets[i] = undefined;
    this.#broken = false;
    this.#gone = 0;
    this.#messages--;
    this.#growing &&= this.#messages > 0;
    // Back to the start when all have gone: so the next ones lie side by side.
    this.#head = this.#messages === 0 ? 0 : (i + 1) % this.#count;
    return datagrams;
  }

  #giveBack(i: number, k: number): void {
    const place = i * MAX_RUN + k;
    this.#pool.give(this.#slots[place] as DatagramSlot);
    this.#slots[place] = undefined;
  }

  #sendSingles(fd: number): number {
    const i = this.#head;
    if (!this.#broken) {
      this.#broken = true;
      this.#prepareSingles(i);
    }
    const address = this.#headers.address + this.#singles + this.#gone * MMSGHDR_BYTES;
    const count = this.#lengths[i] - this.#gone;
    const sent = this.#libc.sendmmsg(fd, address, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) this.#goneSingles(sent);
    return sent;
  }

  #goneSingles(count: number): void {
    const i = this.#head;
    for (let n = 0; n < count; n++) this.#giveBack(i, this.#gone++);
    this.#pending -= count;
    if (this.#gone === this.#lengths[i]) this.#finish();
  }

  /** A header for every datagram of a run: what they share is that of the run, without the segment size. */
  #prepareSingles(i: number): void {
    const { u32 } = this.#headers;
    const run = i * MESSAGE_WORDS;
    for (let k = 0; k < this.#lengths[i]; k++) {
      const at = this.#singles + k * MMSGHDR_BYTES;
      const header = at / WORD;
      for (let word = NAME_POINTER; word <= NAME_LENGTH; word++) u32[header + word] = u32[run + word];
      this.#headers.setU64(at + IOVECS_POINTER * WORD, this.#iovecAddress(i, k));
      u32[header + IOVECS_COUNT] = 1;
      this.#headers.setU64(at + CONTROL_POINTER * WORD, this.#controlAddress(i) + SEGMENT_CONTROL_BYTES);
      u32[header + CONTROL_LENGTH] = this.#sources[i];
      u32[header + FLAGS] = 0;
    }
  }

  #putIovec(i: number, k: number, slot: DatagramSlot): void {
    const place = i * MAX_RUN + k;
    const at = this.#iovecs + place * IOVEC_BYTES;
    this.#headers.setU64(at, slot.address);
    this.#headers.u32[at / WORD + 2] = slot.bytes.length;
    this.#slots[place] = slot;
  }

  /** Points to the control messages that count: the segment size for a run, the source if there is one. */
  #putControl(i: number): void {
    const isRun = this.#lengths[i] > 1;
    const at = this.#controlAddress(i);
    const header = i * MMSGHDR_BYTES;
    this.#headers.setU64(header + CONTROL_POINTER * WORD, isRun ? at : at + SEGMENT_CONTROL_BYTES);
    this.#headers.u32[header / WORD + CONTROL_LENGTH] =
      this.#sources[i] + (isRun ? SEGMENT_CONTROL_BYTES : 0);
    if (!isRun) return;
    const data = this.#controlMessage(i, 0, IPPROTO_UDP, UDP_SEGMENT, SEGMENT_SENT_BYTES);
    this.#headers.u32[data] = this.#segments[i];
  }

  #putTarget(i: number, to: LinuxUdpEndpoint, sticky: boolean): void {
    const { u32 } = this.#headers;
    const header = i * MESSAGE_WORDS;
    const name = (this.#names + i * NAME_BYTES) / WORD;
    const { isV4, interfaceIndex } = to;
    this.#sources[i] = 0;
    u32[header + NAME_LENGTH] = isV4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
    u32[name] = (isV4 ? AF_INET : AF_INET6) | (to.portWord << 16);
    if (isV4) {
      u32[name + 1] = to.remote0;
      if (!sticky || interfaceIndex === 0) return;
      const data = this.#sourceMessage(i, IPPROTO_IP, IP_PKTINFO, IN_PKTINFO_BYTES);
      u32[data] = interfaceIndex;
      u32[data + 1] = to.local0;
      u32[data + 2] = 0;
      return;
    }
    u32[name + 1] = 0;
    u32[name + 2] = to.remote0;
    u32[name + 3] = to.remote1;
    u32[name + 4] = to.remote2;
    u32[name + 5] = to.remote3;
    u32[name + 6] = to.scopeId;
    if (!sticky || interfaceIndex === 0) return;
    const data = this.#sourceMessage(i, IPPROTO_IPV6, IPV6_PKTINFO, IN6_PKTINFO_BYTES);
    u32[data] = to.local0;
    u32[data + 1] = to.local1;
    u32[data + 2] = to.local2;
    u32[data + 3] = to.local3;
    u32[data + 4] = interfaceIndex;
  }

  #sourceMessage(i: number, level: number, type: number, bytes: number): number {
    this.#sources[i] = controlBytes(bytes);
    return this.#controlMessage(i, SEGMENT_CONTROL_BYTES, level, type, bytes);
  }

  /** Writes the head of a control message, and returns the word at which its data begins. */
  #controlMessage(i: number, offset: number, level: number, type: number, bytes: number): number {
    const { u32 } = this.#headers;
    const at = (this.#controls + i * CONTROL_BYTES + offset) / WORD;
    u32[at] = CMSGHDR_BYTES + bytes;
    u32[at + 1] = 0;
    u32[at + CMSG_LEVEL] = level;
    u32[at + CMSG_TYPE] = type;
    return at + CMSG_DATA;
  }

  #iovecAddress(i: number, k: number): number {
    return this.#headers.address + this.#iovecs + (i * MAX_RUN + k) * IOVEC_BYTES;
  }

  #controlAddress(i: number): number {
    return this.#headers.address + this.#controls + i * CONTROL_BYTES;
  }
}
