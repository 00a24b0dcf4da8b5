// From decrypted packets, in the order of their arrival, to as few writes to a TUN device with offloads as may be.
// Promises: what the kernel makes of the writes is the same packets; those of one flow keep their order. Nothing is
// copied: a write is a list of pieces of the packets, which must stay as they are until `flush` has returned.
// Read on: Linux net/ipv4/tcp_offload.c tcp_gro_receive, udp_offload.c udp_gro_receive_segment.

/*
 * Checksums of TCP and UDP are not verified before packets are joined, though a joined packet gets a new one. Linux
 * does the same for its own WireGuard (drivers/net/wireguard/receive.c, CHECKSUM_UNNECESSARY): the Poly1305 tag has
 * just shown that the packet is as its sender sealed it. Packets that stay alone keep theirs, and the kernel looks.
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

/** One write to the TUN device. All of it is good until the callback that got it returns. */
export interface TunWrite {
  /** 10 bytes. */
  readonly vnetHeader: Uint8Array;
  /** The whole first packet comes first; of each of the others, what lies behind `headersLength`. */
  readonly packets: readonly Uint8Array[];
  /** Where each of them lies. */
  readonly addresses: readonly number[];
  /** How many of `packets` count. */
  readonly count: number;
  readonly headersLength: number;
  /** Of a write with several packets: whether they are TCP's; else they are UDP's. */
  readonly isTcp: boolean;
}

/** A packet, and those that were joined to it. Reused. */
class Run implements TunWrite {
  readonly vnetHeader = new Uint8Array(VNET_HEADER_BYTES);
  readonly packets: Uint8Array[] = [];
  readonly addresses: number[] = [];
  count = 0;
  headersLength = 0;
  length = 0;
  isIpv4 = false;
  isTcp = false;
  transport = 0;
  /** Source and destination port. */
  ports = 0;
  segmentBytes = 0;
  nextSequence = 0;
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
   * Takes a packet, whose headers may be changed; `address`, where it lies, is handed on. A packet of another length than
   * it claims is written as it is.
   */
  push(packet: Uint8Array, address: number): void {
    if (!this.#parse(packet)) {
      // A fragment or something unknown might belong to any flow: none may pass it.
      this.#openCount = 0;
      this.#add(packet, address);
      return;
    }
    const place = this.#find(packet);
    if (place >= 0) {
      const run = this.#open[place];
      if (this.#joinable && this.#continues(run, packet)) {
        this.#join(run, packet, address);
        if (this.#ends(run, packet)) this.#close(place);
        return;
      }
      this.#close(place);
    }
    const run = this.#add(packet, address);
    if (!this.#joinable) return;
    this.#describe(run, packet);
    if ((this.#flags & TCP_ENDS) !== 0) return;
    if (this.#openCount === MAX_OPEN) this.#close(0);
    this.#open[this.#openCount++] = run;
  }

  /** Writes everything, in the order in which each write's first packet came. */
  flush(): void {
    const { write } = this.#options;
    this.#openCount = 0;
    for (let i = 0; i < this.#count; i++) {
      const run = this.#runs[i];
      this.#finish(run);
      write(run);
      for (let k = 0; k < run.count; k++) run.packets[k] = EMPTY;
    }
    this.#count = 0;
  }

  #add(packet: Uint8Array, address: number): Run {
    if (this.#count === this.#runs.length) this.#runs.push(new Run());
    const run = this.#runs[this.#count++];
    run.packets[0] = packet;
    run.addresses[0] = address;
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
  #parse(packet: Uint8Array): boolean {
    const { length } = packet;
    const version = packet[0] >> 4;
    let protocol: number;
    if (version === 4 && length >= IPV4_HEADER_BYTES) {
      // The lower 14 bits at IPV4_FRAGMENT: more fragments, and the offset.
      if ((u16be(packet, IPV4_FRAGMENT) & 0x3fff) !== 0) return false;
      if (u16be(packet, IPV4_TOTAL_LENGTH) !== length) return false;
      protocol = packet[IPV4_PROTOCOL];
      this.#isIpv4 = true;
      this.#transport = (packet[0] & 0x0f) * 4;
      if (this.#transport < IPV4_HEADER_BYTES) return false;
    } else if (version === 6 && length >= IPV6_HEADER_BYTES) {
      if (u16be(packet, IPV6_PAYLOAD_LENGTH) + IPV6_HEADER_BYTES !== length) return false;
      protocol = packet[IPV6_NEXT_HEADER];
      this.#isIpv4 = false;
      this.#transport = IPV6_HEADER_BYTES;
    } else return false;
    if (protocol === PROTOCOL_TCP) return this.#parseTcp(packet);
    return protocol === PROTOCOL_UDP && this.#parseUdp(packet);
  }

  #parseTcp(packet: Uint8Array): boolean {
    const transport = this.#transport;
    if (packet.length < transport + TCP_HEADER_BYTES) return false;
    const headersLength = transport + (packet[transport + TCP_DATA_OFFSET] >> 4) * 4;
    this.#isTcp = true;
    this.#ports = u32be(packet, transport);
    this.#headersLength = headersLength;
    this.#flags = packet[transport + TCP_FLAGS];
    this.#joinable =
      this.#options.joins.tcp &&
      (this.#flags & (TCP_ACK | TCP_ALONE)) === TCP_ACK &&
      headersLength >= transport + TCP_HEADER_BYTES &&
      headersLength < packet.length &&
      this.#hasNoOptions();
    return true;
  }

  #parseUdp(packet: Uint8Array): boolean {
    const transport = this.#transport;
    if (packet.length < transport + UDP_HEADER_BYTES) return false;
    this.#isTcp = false;
    this.#ports = u32be(packet, transport);
    this.#headersLength = transport + UDP_HEADER_BYTES;
    this.#flags = 0;
    this.#joinable =
      this.#options.joins.udp &&
      u16be(packet, transport + UDP_LENGTH) === packet.length - transport &&
      // Without a checksum none may be put in.
      wordAt(packet, transport + UDP_CHECKSUM) !== 0 &&
      this.#headersLength < packet.length &&
      this.#hasNoOptions();
    return true;
  }

  // As in the kernel (inet_gro_receive): IPv4 options are rare, and some are not for every segment.
  #hasNoOptions(): boolean {
    return !this.#isIpv4 || this.#transport === IPV4_HEADER_BYTES;
  }

  /** The open run of the packet's flow, or -1. The last one is the likeliest. */
  #find(packet: Uint8Array): number {
    const open = this.#open;
    for (let i = this.#openCount - 1; i >= 0; i--) {
      const run = open[i];
      if (run.ports !== this.#ports || run.isTcp !== this.#isTcp || run.isIpv4 !== this.#isIpv4) continue;
      const source = run.isIpv4 ? IPV4_SOURCE : IPV6_SOURCE;
      if (sameBytes(run.packets[0], packet, source, source + (run.isIpv4 ? 8 : 32))) return i;
    }
    return -1;
  }

  #describe(run: Run, packet: Uint8Array): void {
    run.headersLength = this.#headersLength;
    run.length = packet.length;
    run.isIpv4 = this.#isIpv4;
    run.isTcp = this.#isTcp;
    run.transport = this.#transport;
    run.ports = this.#ports;
    run.segmentBytes = packet.length - this.#headersLength;
    run.firstId = this.#isIpv4 ? u16be(packet, IPV4_ID) : 0;
    run.idStep = 0;
    run.endFlags = 0;
    if (this.#isTcp) {
      run.nextSequence = (u32be(packet, this.#transport + TCP_SEQUENCE) + run.segmentBytes) >>> 0;
    }
  }

  /** Whether the packet is what would come next if the run was one packet that is being split. */
  #continues(run: Run, packet: Uint8Array): boolean {
    const first = run.packets[0];
    const { headersLength, transport } = run;
    const payload = packet.length - headersLength;
    return (
      headersLength === this.#headersLength &&
      payload <= run.segmentBytes &&
      run.length + payload <= MAX_PACKET_BYTES &&
      (run.isIpv4 ? this.#continuesIpv4(run, first, packet) : continuesIpv6(first, packet)) &&
      (!run.isTcp || this.#continuesTcp(run, first, packet, transport))
    );
  }

  #continuesTcp(run: Run, first: Uint8Array, packet: Uint8Array, transport: number): boolean {
    const acknowledgement = transport + TCP_ACKNOWLEDGEMENT;
    const flags = transport + TCP_FLAGS;
    return (
      u32be(packet, transport + TCP_SEQUENCE) === run.nextSequence &&
      sameBytes(first, packet, acknowledgement, flags) &&
      // A first segment may say CWR, no other; the last may say FIN and PSH.
      ((first[flags] & ~TCP_CWR) ^ (packet[flags] & ~TCP_ENDS)) === 0 &&
      sameBytes(first, packet, transport + TCP_WINDOW, transport + TCP_CHECKSUM) &&
      sameBytes(first, packet, transport + TCP_URGENT_AND_OPTIONS, run.headersLength)
    );
  }

  #continuesIpv4(run: Run, first: Uint8Array, packet: Uint8Array): boolean {
    if (first[IPV4_TOS] !== packet[IPV4_TOS] || first[IPV4_TTL] !== packet[IPV4_TTL]) return false;
    if (first[IPV4_FRAGMENT] !== packet[IPV4_FRAGMENT]) return false;
    const distance = (u16be(packet, IPV4_ID) - run.firstId) & 0xffff;
    if (run.count > 1) return distance === run.count * run.idStep;
    // The kernel will count up. Where nothing may be fragmented the ID says nothing, and must be ignored (RFC 6864).
    if (distance === 1) run.idStep = 1;
    else if (distance !== 0 || (first[IPV4_FRAGMENT] & IPV4_DF) === 0) return false;
    return true;
  }

  #join(run: Run, packet: Uint8Array, address: number): void {
    const payload = packet.length - run.headersLength;
    run.addresses[run.count] = address;
    run.packets[run.count++] = packet;
    run.length += payload;
    run.nextSequence = (run.nextSequence + payload) >>> 0;
    run.endFlags = this.#flags & TCP_ENDS;
  }

  #ends(run: Run, last: Uint8Array): boolean {
    const isShort = last.length - run.headersLength < run.segmentBytes;
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
      const first = run.packets[0];
      vnet.flags = VNET_NEEDS_CHECKSUM;
      vnet.gsoType = this.#gsoType(run, first);
      vnet.headerLength = run.headersLength;
      vnet.gsoSize = run.segmentBytes;
      vnet.checksumStart = run.transport;
      vnet.checksumOffset = run.isTcp ? TCP_CHECKSUM : UDP_CHECKSUM;
      patchHeaders(run, first);
    }
    vnet.write(run.vnetHeader, 0);
  }

  #gsoType(run: Run, first: Uint8Array): number {
    if (!run.isTcp) return VNET_GSO_UDP;
    const ecn = (first[run.transport + TCP_FLAGS] & TCP_CWR) === 0 ? 0 : VNET_GSO_ECN;
    return (run.isIpv4 ? VNET_GSO_TCPV4 : VNET_GSO_TCPV6) | ecn;
  }
}

/** Behind the checksum of TCP, up to the end of its header. */
const TCP_URGENT_AND_OPTIONS = TCP_CHECKSUM + 2;

function continuesIpv6(first: Uint8Array, packet: Uint8Array): boolean {
  // Version, traffic class and flow label; the addresses are known to be the same.
  return sameBytes(first, packet, 0, 4) && first[IPV6_HOP_LIMIT] === packet[IPV6_HOP_LIMIT];
}

function patchHeaders(run: Run, first: Uint8Array): void {
  const { transport, length, isIpv4, isTcp } = run;
  const transportLength = length - transport;
  if (isIpv4) {
    putU16be(first, IPV4_TOTAL_LENGTH, length);
    putIpv4Checksum(first, 0, transport);
  } else putU16be(first, IPV6_PAYLOAD_LENGTH, transportLength);
  if (isTcp) first[transport + TCP_FLAGS] |= run.endFlags;
  else putU16be(first, transport + UDP_LENGTH, transportLength);
  const source = isIpv4 ? IPV4_SOURCE : IPV6_SOURCE;
  const fixed = swap16(isTcp ? PROTOCOL_TCP : PROTOCOL_UDP) + swap16(transportLength);
  const pseudo = sumWords(first, source, source + (isIpv4 ? 8 : 32), fixed);
  putWord(first, transport + (isTcp ? TCP_CHECKSUM : UDP_CHECKSUM), fold(pseudo));
}
