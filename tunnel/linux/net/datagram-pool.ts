// Buffers for datagrams on their way out: sealed where the kernel takes them from, so that nothing is copied in between.
// Promises: taking and giving back allocate nothing; a slot never moves; no two holders have the same one.
// Read on: send-batch.ts (who lets the kernel read them); sessions/ports.ts (Outbox).

import { Room } from '../../../native/room.js';
import type { OutboxSlot } from '../../../sessions/ports.js';
import type { Libc } from '../libc.js';

/** Holds what a tunnel over Ethernet sends. Not a power of two: such buffers would compete for the same cache lines. */
const SMALL_BYTES = 2_112;
const SMALL_COUNT = 256;
/** Holds the longest datagram. Its memory is fetched when the first such comes along. */
const LARGE_BYTES = 65_600;
const LARGE_COUNT = 64;

/**
 * Room for one datagram. Its address is kept here, not asked of the view: a view's `buffer` and `byteOffset` are calls
 * into the engine, which cost more than all else that is done here.
 */
export class DatagramSlot extends Room implements OutboxSlot {
  readonly slab: Slab;
  readonly #memory: Uint8Array;

  constructor(slab: Slab, { bytes, address }: Room) {
    super(bytes, address);
    this.slab = slab;
    this.#memory = bytes;
  }

  /** Datagrams of one length tend to follow each other: the view of the last one mostly fits. */
  resize(length: number): this {
    if (this.held.length !== length) this.held = this.#memory.subarray(0, length);
    return this;
  }
}

class Slab {
  readonly #free: DatagramSlot[] = [];

  constructor(libc: Libc, bufferBytes: number, count: number) {
    const memory = libc.alloc(bufferBytes * count);
    // The last one put here is the first one taken, and the likeliest to be in a cache: so backwards.
    for (let i = count - 1; i >= 0; i--) {
      this.#free.push(new DatagramSlot(this, memory.part(i * bufferBytes, bufferBytes)));
    }
  }

  take(length: number): DatagramSlot | undefined {
    return this.#free.pop()?.resize(length);
  }

  give(slot: DatagramSlot): void {
    this.#free.push(slot);
  }
}

export class DatagramPool {
  readonly #libc: Libc;
  readonly #small: Slab;
  #large: Slab | undefined;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#small = new Slab(libc, SMALL_BYTES, SMALL_COUNT);
  }

  /** Room for `length` bytes, the taker's until it is given back; `undefined` when all of it is out. */
  take(length: number): DatagramSlot | undefined {
    if (length <= SMALL_BYTES) return this.#small.take(length);
    if (length > LARGE_BYTES) return undefined;
    this.#large ??= new Slab(this.#libc, LARGE_BYTES, LARGE_COUNT);
    return this.#large.take(length);
  }

  /** Takes back what `take` has returned, once. */
  give(slot: DatagramSlot): void {
    slot.slab.give(slot);
  }
}
