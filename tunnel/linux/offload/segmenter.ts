// From one read of a TUN device with offloads to the packets that go on the wire.
// Promises: every packet is what the kernel would have made by itself: lengths, IPv4 IDs, sequence numbers, flags and
// checksums. Nothing is copied but headers: a packet is built where its payload lies, and is good until the next one of
// the same read.
// Read on: Linux net/ipv4/tcp_offload.c tcp_gso_segment, udp_offload.c __udp_gso_segment, af_inet.c inet_gso_segment.

import { ViewCache } from '../view-cache.js';
import { fold, putChecksum, putWord, sumWords, swap16, wordAt } from './checksum.js';
import {
  IPV4_CHECKSUM,
  IPV4_HEADER_BYTES,
  IPV4_ID,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
  IPV6_HEADER_BYTES,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  TCP_CHECKSUM,
  TCP_CWR,
  TCP_DATA_OFFSET,
  TCP_FIN,
  TCP_FLAGS,
  TCP_HEADER_BYTES,
  TCP_PSH,
  TCP_SEQUENCE,
  UDP_CHECKSUM,
  UDP_HEADER_BYTES,
  UDP_LENGTH,
  putU16be,
  putU32be,
  u16be,
  u32be,
} from './ip-fields.js';
import type { PacketMemory } from './packet-memory.js';
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

/** IPv6 extension headers and all. The kernel's own limit is lower. */
const MAX_HEADERS_BYTES = 1024;

export class Segmenter {
  readonly #memory: PacketMemory;
  readonly #bytes: Uint8Array;
  readonly #views: ViewCache<Uint8Array>;
  readonly #vnet = new VnetHeader();
  /** The headers of the whole, from which those of every segment are made. */
  readonly #headers = new Uint8Array(MAX_HEADERS_BYTES);
  // They are written word by word, which takes a third of the time that bytes take; a view writes words anywhere.
  readonly #headerWords = new Uint32Array(this.#headers.buffer);
  readonly #view: DataView;
  #headersLength = 0;
  #isIpv4 = false;
  #isTcp = false;
  /** In the headers: where the transport header begins. */
  #transport = 0;
  #sequence = 0;
  #id = 0;
  /** The sum of the IPv4 header but for length and ID, and that of the pseudo-header but for the length. */
  #ipv4 = 0;
  #pseudo = 0;
  #segmentBytes = 0;
  /** In the memory: the payload that no segment has yet. */
  #next = 0;
  #end = 0;
  #isFirst = false;

  /** `memory`: what the TUN device is read into. */
  constructor(memory: PacketMemory) {
    this.#memory = memory;
    this.#bytes = memory.bytes;
    this.#views = new ViewCache((start, length) => memory.bytes.subarray(start, start + length));
    this.#view = new DataView(memory.bytes.buffer, memory.bytes.byteOffset, memory.bytes.length);
  }

  /**
   * Takes what was read to `bytes[at, at + length)`, virtio-net header in front. Returns the first packet, `undefined`
   * if it is none that a kernel writes with the offloads that we ask for.
   */
  first(at: number, length: number): Uint8Array | undefined {
    const vnet = this.#vnet;
    const packet = at + VNET_HEADER_BYTES;
    const packetLength = length - VNET_HEADER_BYTES;
    this.#next = 0;
    this.#end = 0;
    if (packetLength < IPV4_HEADER_BYTES) return undefined;
    vnet.read(this.#bytes, at);
    if (vnet.gsoType === VNET_GSO_NONE) {
      if ((vnet.flags & VNET_NEEDS_CHECKSUM) !== 0 && !this.#complete(packet, packetLength)) return undefined;
      return this.#views.get(packet, packetLength);
    }
    return this.#split(packet, packetLength) ? this.next() : undefined;
  }

  /** Whether `next` has one. */
  get hasNext(): boolean {
    return this.#next !== this.#end;
  }

  /** The next packet of the same read, `undefined` after the last. The one before is no more. */
  next(): Uint8Array | undefined {
    const payload = this.#next;
    if (payload === this.#end) return undefined;
    const payloadLength = Math.min(this.#segmentBytes, this.#end - payload);
    this.#next = payload + payloadLength;
    const bytes = this.#bytes;
    const headersLength = this.#headersLength;
    const start = payload - headersLength;
    // Over the end of the segment before this one, which has been sent.
    this.#putHeaders(start, headersLength);
    const transport = start + this.#transport;
    const length = headersLength + payloadLength;
    if (this.#isIpv4) {
      putU16be(bytes, start + IPV4_TOTAL_LENGTH, length);
      putU16be(bytes, start + IPV4_ID, this.#id);
      putWord(bytes, start + IPV4_CHECKSUM, ~fold(this.#ipv4 + swap16(length) + swap16(this.#id)) & 0xffff);
      this.#id = (this.#id + 1) & 0xffff;
    } else putU16be(bytes, start + IPV6_PAYLOAD_LENGTH, length - IPV6_HEADER_BYTES);
    if (this.#isTcp) this.#putTcp(transport, payloadLength);
    else putU16be(bytes, transport + UDP_LENGTH, UDP_HEADER_BYTES + payloadLength);
    const field = transport + (this.#isTcp ? TCP_CHECKSUM : UDP_CHECKSUM);
    const transportLength = length - this.#transport;
    putWord(bytes, field, fold(this.#pseudo + swap16(transportLength)));
    putChecksum(bytes, field, this.#memory.sum(transport, start + length));
    this.#isFirst = false;
    return this.#views.get(start, length);
  }

  #putHeaders(start: number, length: number): void {
    const words = this.#headerWords;
    const whole = length >>> 2;
    for (let i = 0; i < whole; i++) this.#view.setUint32(start + 4 * i, words[i], true);
    for (let i = 4 * whole; i < length; i++) this.#bytes[start + i] = this.#headers[i];
  }

  #putTcp(transport: number, payloadLength: number): void {
    const bytes = this.#bytes;
    putU32be(bytes, transport + TCP_SEQUENCE, this.#sequence);
    this.#sequence = (this.#sequence + payloadLength) >>> 0;
    if (this.#next !== this.#end) bytes[transport + TCP_FLAGS] &= ~(TCP_FIN | TCP_PSH);
    if (!this.#isFirst) bytes[transport + TCP_FLAGS] &= ~TCP_CWR;
  }

  #complete(packet: number, length: number): boolean {
    const { checksumStart, checksumOffset } = this.#vnet;
    const field = checksumStart + checksumOffset;
    if (field + 2 > length) return false;
    // What stands in the field, the sum of the pseudo-header, is a part of the sum.
    putChecksum(this.#bytes, packet + field, this.#memory.sum(packet + checksumStart, packet + length));
    return true;
  }

  /** Learns from the whole what its segments have in common. */
  #split(packet: number, length: number): boolean {
    const bytes = this.#bytes;
    const { gsoType, gsoSize } = this.#vnet;
    const type = gsoType & ~VNET_GSO_ECN;
    const isIpv4 = bytes[packet] >> 4 === 4;
    const isTcp = type === (isIpv4 ? VNET_GSO_TCPV4 : VNET_GSO_TCPV6);
    if (!isTcp && type !== VNET_GSO_UDP) return false;
    if (!isIpv4 && (bytes[packet] >> 4 !== 6 || length < IPV6_HEADER_BYTES)) return false;
    const transport = this.#findTransport(packet, isIpv4, isTcp);
    const ipBytes = isIpv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    const fixed = isTcp ? TCP_HEADER_BYTES : UDP_HEADER_BYTES;
    if (transport < ipBytes || transport + fixed > length) return false;
    const transportBytes = isTcp ? (bytes[packet + transport + TCP_DATA_OFFSET] >> 4) * 4 : fixed;
    const headersLength = transport + transportBytes;
    if (transportBytes < fixed || headersLength >= length || headersLength > MAX_HEADERS_BYTES) return false;
    if (gsoSize === 0) return false;

    for (let i = 0; i < headersLength; i++) this.#headers[i] = bytes[packet + i];
    this.#headersLength = headersLength;
    this.#isIpv4 = isIpv4;
    this.#isTcp = isTcp;
    this.#transport = transport;
    this.#sequence = isTcp ? u32be(bytes, packet + transport + TCP_SEQUENCE) : 0;
    this.#id = isIpv4 ? u16be(bytes, packet + IPV4_ID) : 0;
    this.#ipv4 = isIpv4 ? this.#ipv4Sum(transport) : 0;
    this.#pseudo = this.#pseudoSum(packet, length);
    this.#segmentBytes = gsoSize;
    this.#next = packet + headersLength;
    this.#end = packet + length;
    this.#isFirst = true;
    return true;
  }

  // Extension headers are no concern of ours where the kernel says how far they reach.
  #findTransport(packet: number, isIpv4: boolean, isTcp: boolean): number {
    const { flags, checksumStart } = this.#vnet;
    if ((flags & VNET_NEEDS_CHECKSUM) !== 0) return checksumStart;
    const protocol = this.#bytes[packet + (isIpv4 ? IPV4_PROTOCOL : IPV6_NEXT_HEADER)];
    if (protocol !== (isTcp ? PROTOCOL_TCP : PROTOCOL_UDP)) return -1;
    return isIpv4 ? (this.#bytes[packet] & 0x0f) * 4 : IPV6_HEADER_BYTES;
  }

  #ipv4Sum(headerLength: number): number {
    const headers = this.#headers;
    putWord(headers, IPV4_TOTAL_LENGTH, 0);
    putWord(headers, IPV4_ID, 0);
    putWord(headers, IPV4_CHECKSUM, 0);
    return sumWords(headers, 0, headerLength);
  }

  #pseudoSum(packet: number, length: number): number {
    const transport = packet + this.#transport;
    if ((this.#vnet.flags & VNET_NEEDS_CHECKSUM) !== 0) {
      // The kernel's own sum, which knows of routing headers: but for the length of the whole it is that of each part.
      const field = transport + (this.#isTcp ? TCP_CHECKSUM : UDP_CHECKSUM);
      const whole = swap16((length - this.#transport) & 0xffff);
      return wordAt(this.#bytes, field) + (~whole & 0xffff);
    }
    const addresses = packet + (this.#isIpv4 ? IPV4_SOURCE : IPV6_SOURCE);
    const protocol = swap16(this.#isTcp ? PROTOCOL_TCP : PROTOCOL_UDP);
    return sumWords(this.#bytes, addresses, addresses + (this.#isIpv4 ? 8 : 32), protocol);
  }
}
