// Buffers for datagrams on their way out: sealed where the kernel takes them from, so that nothing is copied in between.
// Promises: taking and giving back allocate nothing; a buffer never moves; no two holders have the same one.
// Read on: send-batch.ts (who lets the kernel read them); sessions/ports.ts (Outbox).

import type { Libc, NativeMemory } from './libc.js';

/** Holds what a tunnel over Ethernet sends. Not a power of two: such buffers would compete for the same cache lines. */
const SMALL_BYTES = 2_112;
const SMALL_COUNT = 256;
/** Holds the longest datagram. Its memory is fetched when the first such comes along. */
const LARGE_BYTES = 65_600;
const LARGE_COUNT = 64;

class Slab {
  readonly #memory: NativeMemory;
  /** The buffers that nobody holds, as views of the length that each had last. */
  readonly #free: Uint8Array[] = [];

  constructor(libc: Libc, bufferBytes: number, count: number) {
    this.#memory = libc.alloc(bufferBytes * count);
    // The last one put here is the first one taken, and the likeliest to be in a cache: so backwards.
    for (let i = count - 1; i >= 0; i--) this.#free.push(this.#view(i * bufferBytes, bufferBytes));
  }

  owns(bytes: Uint8Array): boolean {
    return bytes.buffer === this.#memory.bytes.buffer;
  }

  take(length: number): Uint8Array | undefined {
    const last = this.#free.pop();
    // Datagrams of one length tend to follow each other: the view of the last one mostly fits.
    return last === undefined || last.length === length ? last : this.#view(last.byteOffset, length);
  }

  give(bytes: Uint8Array): void {
    this.#free.push(bytes);
  }

  addressOf(bytes: Uint8Array): number {
    return this.#memory.address + bytes.byteOffset;
  }

  #view(start: number, length: number): Uint8Array {
    return this.#memory.bytes.subarray(start, start + length);
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
  take(length: number): Uint8Array | undefined {
    if (length <= SMALL_BYTES) return this.#small.take(length);
    if (length > LARGE_BYTES) return undefined;
    this.#large ??= new Slab(this.#libc, LARGE_BYTES, LARGE_COUNT);
    return this.#large.take(length);
  }

  /** Takes back what `take` has returned, once. */
  give(bytes: Uint8Array): void {
    this.#slab(bytes).give(bytes);
  }

  /** Where something lies that `take` has returned. */
  addressOf(bytes: Uint8Array): number {
    return this.#slab(bytes).addressOf(bytes);
  }

  #slab(bytes: Uint8Array): Slab {
    return this.#small.owns(bytes) ? this.#small : (this.#large as Slab);
  }
}
