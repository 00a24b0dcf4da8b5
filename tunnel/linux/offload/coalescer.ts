// From decrypted packets, in the order of their arrival, to as few writes to a TUN device with offloads as may be.
// Promises: what the kernel makes of the writes is the same packets; those of one flow keep their order. Nothing is
// copied: a write is a list of pieces of the packets, which must stay as they are until `flush` has returned.
// Read on: Linux net/ipv4/tcp_offload.c tcp_gro_receive, udp_offload.c udp_gro_receive_segment.

/*
 * A joined packet gets new checksums, so those of its parts are verified first: what was damaged behind the peer that
 * sealed it stays alone, keeps its wrong checksum, and is refused by whoever it is for. The tag does not show that: it
 * says that a packet is as the peer had it, who may have forwarded it without a look. (Linux joins such packets for its own
 * WireGuard: drivers/net/wireguard/receive.c, CHECKSUM_UNNECESSARY; wireguard-go, tun/offload_linux.go, verifies.)
 */

import { fold, putIpv4Checksum, putWord, sumWords, swap16, wordAt } from './checksum.js';
import {
  IPV4_DF,
  IPV4_FRAGMENT,
  IPV4_HEADER_BYTES,
  IPV4_ID,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TOS,
  IPV4_TOTAL_LENGTH,
  IPV4_TTL,
  IPV6_HEADER_BYTES,
  IPV6_HOP_LIMIT,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  MAX_PACKET_BYTES,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  TCP_ACK,
  TCP_ACKNOWLEDGEMENT,
  TCP_CHECKSUM,
  TCP_CWR,
  TCP_DATA_OFFSET,
  TCP_FIN,
  TCP_FLAGS,
  TCP_HEADER_BYTES,
  TCP_PSH,
  TCP_RST,
  TCP_SEQUENCE,
  TCP_SYN,
  TCP_URG,
  TCP_WINDOW,
  UDP_CHECKSUM,
  UDP_HEADER_BYTES,
  UDP_LENGTH,
  putU16be,
  sameBytes,
  u16be,
  u32be,
} from './ip-fields.js';
import type { PacketSum } from './packet-memory.js';
import {
  VNET_GSO_ECN,
  VNET_GSO_NONE,
  VNET_GSO_TCPV4,
  VNET_GSO_TCPV6,
  VNET_GSO_UDP,
  VNET_HEADER_BYTES,
  VNET_NEEDS_CHECKSUM,
  VnetHeader,
} from './vnet-header.js';

/** The kernel's limit for UDP (UDP_MAX_SEGMENTS), and enough for TCP: 64 of 1,000 bytes fill a packet. */
export const MAX_JOINED = 64;
/** Flows that can grow at the same time. */
const MAX_OPEN = 16;
/** Flags under which a segment stands for itself. */
const TCP_ALONE = TCP_SYN | TCP_RST | TCP_URG;
const TCP_ENDS = TCP_FIN | TCP_PSH;
const EMPTY = new Uint8Array(0);
/** What words with the right checksum among them add up to. */
const ALL_ONES = 0xffff;

/** One write to the TUN device. All of it is good until the callback that got it returns. */
export interface TunWrite {
  /** 10 bytes. */
  readonly vnetHeader: Uint8Array;
  /** Where in memory the packets lie: the whole first one comes first; of each of the others, what lies behind `headersLength`. */
  readonly addresses: readonly number[];
  readonly lengths: readonly number[];
  /** How many packets there are. */
  readonly count: number;
  readonly headersLength: number;
  /** Of a write with several packets: whether they are TCP's; else they are UDP's. */
  readonly isTcp: boolean;
}

/** A packet, and those that were joined to it. Reused. */
class Run implements TunWrite {
  readonly vnetHeader = new Uint8Array(VNET_HEADER_BYTES);
  readonly addresses: number[] = [];
  readonly lengths: number[] = [];
  count = 0;
  /** The first packet: `first[at, at + lengths[0])`. */
  first: Uint8Array = EMPTY;
  at = 0;
  headersLength = 0;
  length = 0;
  isIpv4 = false;
  isTcp = false;
  transport = 0;
  /** Source and destination port. */
  ports = 0;
  segmentBytes = 0;
  nextSequence = 0;
  /** The sum of the pseudo-header but for the length; known once there are two packets. */
  pseudo = 0;
  firstId = 0;
  /** How the IPv4 ID goes on from packet to packet, 0 or 1, once there are two of them. */
  idStep = 0;
  /** Flags of the last packet that become those of the whole. */
  endFlags = 0;
}

/** Which packets are joined. */
export interface Joins {
  tcp: boolean;
  udp: boolean;
}

export interface CoalescerOptions {
  /** May change between two packets. */
  readonly joins: Readonly<Joins>;
  readonly sum: PacketSum;
  readonly write: (write: TunWrite) => void;
}

export class Coalescer {
  readonly #options: CoalescerOptions;
  readonly #vnet = new VnetHeader();
  readonly #runs: Run[] = [];
  #count = 0;
  /** Runs that may still grow: each the last of its flow. The first `#openCount` count. */
  readonly #open: Run[] = Array.from<Run>({ length: MAX_OPEN });
  #openCount = 0;
  // What `#parse` learns of a packet.
  #isIpv4 = false;
  #isTcp = false;
  #transport = 0;
  #headersLength = 0;
  #ports = 0;
  #flags = 0;
  #joinable = false;

  constructor(options: CoalescerOptions) {
    this.#options = options;
  }

  /** Whether a flush would write anything. */
  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /**
   * Takes the packet `bytes[at, at + length)`, whose headers may be changed; `address`, where the packet lies in memory,
   * is handed on: the caller holds its memory until `flush`. A packet of another length than it claims is written as it is.
   */
  push(bytes: Uint8Array, at: number, length: number, address: number): void {
    if (!this.#parse(bytes, at, length)) {
      // A fragment or something unknown might belong to any flow: none may pass it.
      this.#openCount = 0;
      this.#add(bytes, at, length, address);
      return;
    }
    const place = this.#find(bytes, at);
    if (place >= 0) {
      const run = this.#open[place];
      if (
        this.#joinable &&
        this.#continues(run, bytes, at, length) &&
        this.#isFirstIntact(run) &&
        this.#isIntact(run, bytes, at, length, address)
      ) {
        this.#join(run, length, address);
        if (this.#ends(run, length)) this.#close(place);
        return;
      }
      this.#close(place);
    }
    const run = this.#add(bytes, at, length, address);
    if (!this.#joinable) return;
    this.#describe(run, bytes, at, length);
    if ((this.#flags & TCP_ENDS) !== 0) return;
    if (this.#openCount === MAX_OPEN) this.#close(0);
    this.#open[this.#openCount++] = run;
  }

  /** Writes everything, in the order in which each write's first packet came. */
  flush(): void {
    const { write } = this.#options;
    const count = this.#count;
    this.#openCount = 0;
    // Before anything is written: if that fails, the rest is lost, and not written later from memory that others use.
    this.#count = 0;
    for (let i = 0; i < count; i++) {
      const run = this.#runs[i];
      this.#finish(run);
      write(run);
      run.first = EMPTY;
    }
  }

  #add(bytes: Uint8Array, at: number, length: number, address: number): Run {
    if (this.#count === this.#runs.length) this.#runs.push(new Run());
    const run = this.#runs[this.#count++];
    run.first = bytes;
    run.at = at;
    run.addresses[0] = address;
    run.lengths[0] = length;
    run.count = 1;
    run.headersLength = 0;
    return run;
  }

  #close(place: number): void {
    const open = this.#open;
    this.#openCount--;
    for (let i = place; i < this.#openCount; i++) open[i] = open[i + 1];
  }

  /** Whether it is a TCP or UDP packet whose flow can be told, and which; `#joinable`: whether it may be joined. */
  #parse(bytes: Uint8Array, at: number, length: number): boolean {
    const version = bytes[at] >> 4;
    let protocol: number;
    if (version === 4 && length >= IPV4_HEADER_BYTES) {
      // The lower 14 bits at IPV4_FRAGMENT: more fragments, and the offset.
      if ((u16be(bytes, at + IPV4_FRAGMENT) & 0x3fff) !== 0) return false;
      if (u16be(bytes, at + IPV4_TOTAL_LENGTH) !== length) return false;
      protocol = bytes[at + IPV4_PROTOCOL];
      this.#isIpv4 = true;
      this.#transport = (bytes[at] & 0x0f) * 4;
      if (this.#transport < IPV4_HEADER_BYTES) return false;
    } else if (version === 6 && length >= IPV6_HEADER_BYTES) {
      if (u16be(bytes, at + IPV6_PAYLOAD_LENGTH) + IPV6_HEADER_BYTES !== length) return false;
      protocol = bytes[at + IPV6_NEXT_HEADER];
      this.#isIpv4 = false;
      this.#transport = IPV6_HEADER_BYTES;
    } else return false;
    if (protocol === PROTOCOL_TCP) return this.#parseTcp(bytes, at, length);
    return protocol === PROTOCOL_UDP && this.#parseUdp(bytes, at, length);
  }

  #parseTcp(bytes: Uint8Array, at: number, length: number): boolean {
    const transport = this.#transport;
    if (length < transport + TCP_HEADER_BYTES) return false;
    const header = at + transport;
    const headersLength = transport + (bytes[header + TCP_DATA_OFFSET] >> 4) * 4;
    this.#isTcp = true;
    this.#ports = u32be(bytes, header);
    this.#headersLength = headersLength;
    this.#flags = bytes[header + TCP_FLAGS];
    this.#joinable =
      this.#options.joins.tcp &&
      (this.#flags & (TCP_ACK | TCP_ALONE)) === TCP_ACK &&
      headersLength >= transport + TCP_HEADER_BYTES &&
      headersLength < length &&
      this.#hasNoOptions();
    return true;
  }

  #parseUdp(bytes: Uint8Array, at: number, length: number): boolean {
    const transport = this.#transport;
    if (length < transport + UDP_HEADER_BYTES) return false;
    const header = at + transport;
    this.#isTcp = false;
    this.#ports = u32be(bytes, header);
    this.#headersLength = transport + UDP_HEADER_BYTES;
    this.#flags = 0;
    this.#joinable =
      this.#options.joins.udp &&
      u16be(bytes, header + UDP_LENGTH) === length - transport &&
      // Without a checksum none may be put in.
      wordAt(bytes, header + UDP_CHECKSUM) !== 0 &&
      this.#headersLength < length &&
      this.#hasNoOptions();
    return true;
  }

  // As in the kernel (inet_gro_receive): IPv4 options are rare, and some are not for every segment.
  #hasNoOptions(): boolean {
    return !this.#isIpv4 || this.#transport === IPV4_HEADER_BYTES;
  }

  /** The open run of the packet's flow, or -1. The last one is the likeliest. */
  #find(bytes: Uint8Array, at: number): number {
    const open = this.#open;
    for (let i = this.#openCount - 1; i >= 0; i--) {
      const run = open[i];
      if (run.ports !== this.#ports || run.isTcp !== this.#isTcp || run.isIpv4 !== this.#isIpv4) continue;
      const source = run.isIpv4 ? IPV4_SOURCE : IPV6_SOURCE;
      if (sameBytes(run.first, run.at + source, bytes, at + source, run.isIpv4 ? 8 : 32)) return i;
    }
    return -1;
  }

  #describe(run: Run, bytes: Uint8Array, at: number, length: number): void {
    run.headersLength = this.#headersLength;
    run.length = length;
    run.isIpv4 = this.#isIpv4;
    run.isTcp = this.#isTcp;
    run.transport = this.#transport;
    run.ports = this.#ports;
    run.segmentBytes = length - this.#headersLength;
    run.firstId = this.#isIpv4 ? u16be(bytes, at + IPV4_ID) : 0;
    run.idStep = 0;
    run.endFlags = 0;
    if (this.#isTcp) {
      run.nextSequence = (u32be(bytes, at + this.#transport + TCP_SEQUENCE) + run.segmentBytes) >>> 0;
    }
  }

  /** Whether the packet is what would come next if the run was one packet that is being split. */
  #continues(run: Run, bytes: Uint8Array, at: number, length: number): boolean {
    const { headersLength } = run;
    const payload = length - headersLength;
    return (
      headersLength === this.#headersLength &&
      payload <= run.segmentBytes &&
      run.length + payload <= MAX_PACKET_BYTES &&
      (run.isIpv4 ? continuesIpv4(run, bytes, at) : continuesIpv6(run, bytes, at)) &&
      (!run.isTcp || continuesTcp(run, bytes, at))
    );
  }

  /** Whether the first packet has the checksums that it should: looked at when a second one comes. */
  #isFirstIntact(run: Run): boolean {
    if (run.count > 1) return true;
    const { first, at, isIpv4, isTcp } = run;
    const source = at + (isIpv4 ? IPV4_SOURCE : IPV6_SOURCE);
    const protocol = swap16(isTcp ? PROTOCOL_TCP : PROTOCOL_UDP);
    run.pseudo = sumWords(first, source, source + (isIpv4 ? 8 : 32), protocol);
    return this.#isIntact(run, first, at, run.lengths[0], run.addresses[0]);
  }

  /** Whether a packet of the run's flow has the checksums that it should. */
  #isIntact(run: Run, bytes: Uint8Array, at: number, length: number, address: number): boolean {
    const { sum } = this.#options;
    const { transport } = run;
    if (run.isIpv4 && sum(bytes, at, at + transport, address) !== ALL_ONES) return false;
    const pseudo = run.pseudo + swap16(length - transport);
    return fold(pseudo + sum(bytes, at + transport, at + length, address + transport)) === ALL_ONES;
  }

  #join(run: Run, length: number, address: number): void {
    const payload = length - run.headersLength;
    run.addresses[run.count] = address;
    run.lengths[run.count++] = length;
    run.length += payload;
    run.nextSequence = (run.nextSequence + payload) >>> 0;
    run.endFlags = this.#flags & TCP_ENDS;
  }

  #ends(run: Run, lastLength: number): boolean {
    const isShort = lastLength - run.headersLength < run.segmentBytes;
    return isShort || run.endFlags !== 0 || run.count === MAX_JOINED;
  }

  /** Makes one packet of the run: the first packet's headers, and a virtio-net header that tells how to split it. */
  #finish(run: Run): void {
    const vnet = this.#vnet;
    vnet.flags = 0;
    vnet.gsoType = VNET_GSO_NONE;
    vnet.headerLength = 0;
    vnet.gsoSize = 0;
    vnet.checksumStart = 0;
    vnet.checksumOffset = 0;
    if (run.count > 1) {
      vnet.flags = VNET_NEEDS_CHECKSUM;
      vnet.gsoType = gsoType(run);
      vnet.headerLength = run.headersLength;
      vnet.gsoSize = run.segmentBytes;
      vnet.checksumStart = run.transport;
      vnet.checksumOffset = run.isTcp ? TCP_CHECKSUM : UDP_CHECKSUM;
      patchHeaders(run);
    }
    vnet.write(run.vnetHeader, 0);
  }
}

/** Behind the checksum of TCP, up to the end of its header. */
const TCP_URGENT_AND_OPTIONS = TCP_CHECKSUM + 2;

function gsoType({ first, at, transport, isTcp, isIpv4 }: Run): number {
  if (!isTcp) return VNET_GSO_UDP;
  const ecn = (first[at + transport + TCP_FLAGS] & TCP_CWR) === 0 ? 0 : VNET_GSO_ECN;
  return (isIpv4 ? VNET_GSO_TCPV4 : VNET_GSO_TCPV6) | ecn;
}

function continuesTcp(run: Run, bytes: Uint8Array, at: number): boolean {
  const { first, transport, headersLength } = run;
  const ours = run.at + transport;
  const theirs = at + transport;
  return (
    u32be(bytes, theirs + TCP_SEQUENCE) === run.nextSequence &&
    sameFields(first, ours, bytes, theirs, TCP_ACKNOWLEDGEMENT, TCP_FLAGS) &&
    // A first segment may say CWR, no other; the last may say FIN and PSH.
    ((first[ours + TCP_FLAGS] & ~TCP_CWR) ^ (bytes[theirs + TCP_FLAGS] & ~TCP_ENDS)) === 0 &&
    sameFields(first, ours, bytes, theirs, TCP_WINDOW, TCP_CHECKSUM) &&
    sameFields(first, ours, bytes, theirs, TCP_URGENT_AND_OPTIONS, headersLength - transport)
  );
}

/** Whether two headers are the same in their bytes [from, end). */
function sameFields(
  a: Uint8Array,
  aAt: number,
  b: Uint8Array,
  bAt: number,
  from: number,
  end: number,
): boolean {
  return sameBytes(a, aAt + from, b, bAt + from, end - from);
}

function continuesIpv4(run: Run, bytes: Uint8Array, at: number): boolean {
  const { first } = run;
  const ours = run.at;
  if (first[ours + IPV4_TOS] !== bytes[at + IPV4_TOS]) return false;
  if (first[ours + IPV4_TTL] !== bytes[at + IPV4_TTL]) return false;
  if (first[ours + IPV4_FRAGMENT] !== bytes[at + IPV4_FRAGMENT]) return false;
  const distance = (u16be(bytes, at + IPV4_ID) - run.firstId) & 0xffff;
  if (run.count > 1) return distance === run.count * run.idStep;
  // The kernel will count up. Where nothing may be fragmented the ID says nothing, and must be ignored (RFC 6864).
  if (distance === 1) run.idStep = 1;
  else if (distance !== 0 || (first[ours + IPV4_FRAGMENT] & IPV4_DF) === 0) return false;
  return true;
}

function continuesIpv6(run: Run, bytes: Uint8Array, at: number): boolean {
  // Version, traffic class and flow label; the addresses are known to be the same.
  return (
    sameBytes(run.first, run.at, bytes, at, 4) &&
    run.first[run.at + IPV6_HOP_LIMIT] === bytes[at + IPV6_HOP_LIMIT]
  );
}

function patchHeaders(run: Run): void {
  const { first, at, transport, length, isIpv4, isTcp, pseudo } = run;
  const transportLength = length - transport;
  const header = at + transport;
  if (isIpv4) {
    putU16be(first, at + IPV4_TOTAL_LENGTH, length);
    putIpv4Checksum(first, at, header);
  } else putU16be(first, at + IPV6_PAYLOAD_LENGTH, transportLength);
  if (isTcp) first[header + TCP_FLAGS] |= run.endFlags;
  else putU16be(first, header + UDP_LENGTH, transportLength);
  const field = header + (isTcp ? TCP_CHECKSUM : UDP_CHECKSUM);
  putWord(first, field, fold(pseudo + swap16(transportLength)));
}
