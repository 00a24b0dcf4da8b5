// The packets of a TUN device, with offloads or without: whoever reads gets them one by one, whoever writes gives them so.
// Promises: nothing is copied and nothing allocated for usual traffic; packets are handed on as they were read, and those of
// one flow are written in their order.
// Read on: ../offload/segmenter.ts, ../offload/coalescer.ts.

import { Coalescer, type Joins, type TunWrite } from '../offload/coalescer.js';
import { type PacketSum, packetMemory, sumAnywhere } from '../offload/packet-memory.js';
import { Segmenter } from '../offload/segmenter.js';
import { type LinuxTun, tunOutcome } from './tun.js';
import { ViewCache } from '../view-cache.js';

/** A packet of 64 KiB and what the kernel puts in front. */
const MAX_READ_BYTES = 65_536 + 64;
/** Where a read begins. With the 10 bytes of a virtio-net header packets begin at a multiple of 8, where sums are fast. */
const READ_AT = 6;
/** From one read to the next: a packet that fits a common MTU. Not a power of two: such places compete for cache lines. */
const SLOT_BYTES = 2_176;
/** What comes behind them has room for the longest read too. */
const MAX_READS = 24;
const JOINED_TRIALS = 4;
/** Slots, and behind the last of them the longest read. */
const MEMORY_BYTES = READ_AT + (MAX_READS - 1) * SLOT_BYTES + MAX_READ_BYTES;

export interface TunCounters {
  /** Packets read from the interface, and written to it. */
  packetsIn: number;
  packetsOut: number;
  /** Reads and writes that carried them. */
  reads: number;
  writes: number;
  /** Read, and no packet that we know how to split. */
  unsplittable: number;
  /** Not delivered: the interface was down or took no such packet. */
  undeliverable: number;
}

/** What is used of a TUN device. */
export type PacketDevice = Pick<LinuxTun, 'vnetHeaderBytes' | 'offloads' | 'read' | 'write' | 'writeJoined'>;

/** Whoever wants the packets that are read. */
export interface PacketTaker {
  /** Hears of `packets[0, count)`, which `take` is about to get one by one. */
  expect(packets: readonly Uint8Array[], count: number): void;
  /** The packet is good until this returns. If this throws, those that were read with it are lost. */
  take(packet: Uint8Array): void;
}

export interface TunIoOptions {
  readonly tun: PacketDevice;
  /** Sums the packets that are to be written. Default: `sumAnywhere`. */
  readonly sum?: PacketSum;
  /** A write found the interface gone. */
  readonly onGone: () => void;
}

export class TunIo {
  readonly counters: TunCounters = {
    packetsIn: 0,
    packetsOut: 0,
    reads: 0,
    writes: 0,
    unsplittable: 0,
    undeliverable: 0,
  };
  /** What the last read of the device gave: bytes, 0 or `-errno`. */
  lastRead = 0;
  readonly #options: TunIoOptions;
  readonly #tun: PacketDevice;
  readonly #buffer: Uint8Array;
  /** Packets that were read one after the other, each in a slot of its own. */
  readonly #gathered: Uint8Array[] = [];
  readonly #views: ViewCache<Uint8Array>;
  readonly #segmenter: Segmenter | undefined;
  readonly #coalescer: Coalescer | undefined;
  readonly #joins: Joins;
  /** Joined writes that may yet be refused before no more are made; without end once one was taken. */
  readonly #patience = { tcp: JOINED_TRIALS, udp: JOINED_TRIALS };

  constructor(options: TunIoOptions) {
    const { tun, sum = sumAnywhere } = options;
    this.#options = options;
    this.#tun = tun;
    const memory = packetMemory(MEMORY_BYTES);
    this.#buffer = memory.bytes;
    this.#views = new ViewCache((start, length) => memory.bytes.subarray(start, start + length));
    // A kernel that gives us datagrams to split takes joined ones, and no other does.
    this.#joins = { tcp: true, udp: tun.offloads.includes('TUN_USO') };
    if (tun.vnetHeaderBytes === 0) return;
    this.#segmenter = new Segmenter(memory);
    this.#coalescer = new Coalescer({
      joins: this.#joins,
      sum,
      write: write => this.#writeJoined(write),
    });
  }

  /**
   * Reads until nothing waits, but some times at most, and hands every packet on. Returns how many packets that were;
   * `lastRead` tells whether there may be more.
   */
  read(taker: PacketTaker): number {
    let packets = 0;
    let gathered = 0;
    for (let reads = 0; reads < MAX_READS; reads++) {
      const at = READ_AT + gathered * SLOT_BYTES;
      const length = this.#tun.read(this.#buffer, at, MAX_READ_BYTES);
      this.lastRead = length;
      if (length <= 0) break;
      this.counters.reads++;
      const packet = this.#segmenter ? this.#segmenter.first(at, length) : this.#views.get(at, length);
      if (!packet) this.counters.unsplittable++;
      else if (length <= SLOT_BYTES && !this.#segmenter?.hasNext) this.#gathered[gathered++] = packet;
      else {
        // It lies where the next one would be read to, or its segments do. Those before it go first.
        packets += this.#handOn(gathered, taker);
        gathered = 0;
        packets += this.#handOnSegments(packet, taker);
        break;
      }
    }
    return packets + this.#handOn(gathered, taker);
  }

  #handOn(count: number, taker: PacketTaker): number {
    if (count > 1) taker.expect(this.#gathered, count);
    for (let i = 0; i < count; i++) {
      this.counters.packetsIn++;
      taker.take(this.#gathered[i]);
    }
    return count;
  }

  #handOnSegments(first: Uint8Array, taker: PacketTaker): number {
    let packets = 0;
    for (let packet: Uint8Array | undefined = first; packet; packet = this.#segmenter?.next()) {
      this.counters.packetsIn++;
      packets++;
      taker.take(packet);
    }
    return packets;
  }

  /**
   * Takes the packet `bytes[at, at + length)` to write, which lies at `address` in memory. With offloads it must stay as it
   * is until `flush`, its memory held by the caller, and its headers may be changed.
   */
  write(bytes: Uint8Array, at: number, length: number, address: number): void {
    if (this.#coalescer) this.#coalescer.push(bytes, at, length, address);
    else this.#written(this.#tun.write(bytes, at, length), 1);
  }

  /** Writes what was taken. Call before the memory of any such packet is used again. */
  flush(): void {
    if (this.#coalescer?.isEmpty === false) this.#coalescer.flush();
  }

  #writeJoined(write: TunWrite): void {
    const result = this.#tun.writeJoined(write);
    this.#written(result, write.count);
    if (write.count > 1) this.#learn(write.isTcp ? 'tcp' : 'udp', result);
  }

  // What was refused is lost, as on a wire. A kernel that has taken such a write will take others: what it refuses then is
  // some peer's strange packet.
  #learn(kind: keyof Joins, result: number): void {
    if (result > 0) this.#patience[kind] = Number.POSITIVE_INFINITY;
    else if (tunOutcome(result) === 'refused' && --this.#patience[kind] === 0) this.#joins[kind] = false;
  }

  #written(result: number, packets: number): void {
    const { counters } = this;
    counters.writes++;
    if (result > 0) counters.packetsOut += packets;
    else {
      counters.undeliverable += packets;
      if (tunOutcome(result) === 'gone') this.#options.onGone();
    }
  }
}
