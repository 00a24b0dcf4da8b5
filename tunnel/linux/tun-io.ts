// The packets of a TUN device, with offloads or without: whoever reads gets them one by one, whoever writes gives them so.
// Promises: nothing is copied and nothing allocated for usual traffic; packets of one flow are written in their order.
// Read on: offload/segmenter.ts, offload/coalescer.ts.

import { Coalescer, type Joins, type TunWrite } from './offload/coalescer.js';
import { packetMemory } from './offload/packet-memory.js';
import { Segmenter } from './offload/segmenter.js';
import { type LinuxTun, tunOutcome } from './tun.js';
import { ViewCache } from './view-cache.js';

/** A packet of 64 KiB and what the kernel puts in front. */
const MAX_READ_BYTES = 65_536 + 64;
/** Where a read begins. With the 10 bytes of a virtio-net header packets begin at a multiple of 8, where sums are fast. */
const READ_AT = 6;
const JOINED_TRIALS = 4;

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

export interface TunIoOptions {
  readonly tun: PacketDevice;
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
  readonly #options: TunIoOptions;
  readonly #tun: PacketDevice;
  readonly #buffer: Uint8Array;
  readonly #views: ViewCache;
  readonly #segmenter: Segmenter | undefined;
  readonly #coalescer: Coalescer | undefined;
  readonly #joins: Joins;
  /** Joined writes that may yet be refused before no more are made; without end once one was taken. */
  readonly #patience = { tcp: JOINED_TRIALS, udp: JOINED_TRIALS };

  constructor(options: TunIoOptions) {
    const { tun } = options;
    this.#options = options;
    this.#tun = tun;
    const memory = packetMemory();
    this.#buffer = memory.bytes;
    this.#views = new ViewCache(memory.bytes);
    // A kernel that gives us datagrams to split takes joined ones, and no other does.
    this.#joins = { tcp: true, udp: tun.offloads.includes('TUN_USO') };
    if (tun.vnetHeaderBytes === 0) return;
    this.#segmenter = new Segmenter(memory);
    this.#coalescer = new Coalescer({
      joins: this.#joins,
      write: write => this.#writeJoined(write),
    });
  }

  /**
   * Reads once and hands every packet on; each is good until `handle` returns. Returns how many packets that were,
   * or `-errno`.
   */
  read(handle: (packet: Uint8Array) => void): number {
    const length = this.#tun.read(this.#buffer, READ_AT, MAX_READ_BYTES);
    if (length <= 0) return length;
    const { counters } = this;
    counters.reads++;
    const segmenter = this.#segmenter;
    if (!segmenter) {
      counters.packetsIn++;
      handle(this.#views.get(READ_AT, length));
      return 1;
    }
    let packets = 0;
    let packet = segmenter.first(READ_AT, length);
    if (!packet) counters.unsplittable++;
    for (; packet; packet = segmenter.next()) {
      packets++;
      handle(packet);
    }
    counters.packetsIn += packets;
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
