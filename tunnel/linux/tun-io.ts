// The packets of a TUN device, with offloads or without: whoever reads gets them one by one, whoever writes gives them so.
// Promises: nothing is copied and nothing allocated for usual traffic; packets of one flow are written in their order.
// Read on: offload/segmenter.ts, offload/coalescer.ts.

import { Coalescer, type TunWrite } from './offload/coalescer.js';
import { packetMemory } from './offload/packet-memory.js';
import { Segmenter } from './offload/segmenter.js';
import { type LinuxTun, tunOutcome } from './tun.js';
import { ViewCache } from './view-cache.js';

/** A packet of 64 KiB and what the kernel puts in front. */
const MAX_READ_BYTES = 65_536 + 64;
/** Where a read begins. With the 10 bytes of a virtio-net header packets begin at a multiple of 8, where sums are fast. */
const READ_AT = 6;

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

export interface TunIoOptions {
  readonly tun: LinuxTun;
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
  readonly #tun: LinuxTun;
  readonly #buffer: Uint8Array;
  readonly #views: ViewCache;
  readonly #segmenter: Segmenter | undefined;
  readonly #coalescer: Coalescer | undefined;

  constructor(options: TunIoOptions) {
    const { tun } = options;
    this.#options = options;
    this.#tun = tun;
    const memory = packetMemory();
    this.#buffer = memory.bytes;
    this.#views = new ViewCache(memory.bytes);
    if (tun.vnetHeaderBytes === 0) return;
    this.#segmenter = new Segmenter(memory);
    this.#coalescer = new Coalescer({
      // A kernel that gives us datagrams to split takes joined ones, and no other does.
      udp: tun.offloads.includes('TUN_USO'),
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
   * Takes a packet to write, which lies at `address`. With offloads it must stay as it is until `flush`, and its headers
   * may be changed.
   */
  write(packet: Uint8Array, address: number): void {
    if (this.#coalescer) this.#coalescer.push(packet, address);
    else this.#written(this.#tun.write(packet, 0, packet.length), 1);
  }

  /** Writes what was taken. Call before the memory of any such packet is used again. */
  flush(): void {
    if (this.#coalescer?.isEmpty === false) this.#coalescer.flush();
  }

  #writeJoined(write: TunWrite): void {
    this.#written(this.#tun.writeJoined(write), write.count);
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
