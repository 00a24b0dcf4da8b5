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
  readonly bufferBytes: number;
  readonly #memory: NativeMemory;
  readonly #free: Uint8Array[] = [];

  constructor(libc: Libc, bufferBytes: number, count: number) {
    this.bufferBytes = bufferBytes;
    this.#memory = libc.alloc(bufferBytes * count);
    // The last one put here is the first one taken, and the likeliest to be in a cache: so backwards.
    for (let i = count - 1; i >= 0; i--) {
      this.#free.push(this.#memory.bytes.subarray(i * bufferBytes, (i + 1) * bufferBytes));
    }
  }

  owns(buffer: Uint8Array): boolean {
    return buffer.buffer === this.#memory.bytes.buffer;
  }

  take(): Uint8Array | undefined {
    return this.#free.pop();
  }

  give(buffer: Uint8Array): void {
    this.#free.push(buffer);
  }

  addressOf(buffer: Uint8Array): number {
    return this.#memory.address + buffer.byteOffset;
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

  /** A buffer of `length` bytes or more, the taker's until it is given back; `undefined` when all of them are out. */
  take(length: number): Uint8Array | undefined {
    if (length <= SMALL_BYTES) return this.#small.take();
    if (length > LARGE_BYTES) return undefined;
    this.#large ??= new Slab(this.#libc, LARGE_BYTES, LARGE_COUNT);
    return this.#large.take();
  }

  /** Takes a buffer back: one that `take` has returned, whole, once. */
  give(buffer: Uint8Array): void {
    this.#slab(buffer).give(buffer);
  }

  /** Whether a buffer is one of these. */
  owns(buffer: Uint8Array): boolean {
    return this.#small.owns(buffer) || this.#large?.owns(buffer) === true;
  }

  /** Where one of these buffers lies. */
  addressOf(buffer: Uint8Array): number {
    return this.#slab(buffer).addressOf(buffer);
  }

  #slab(buffer: Uint8Array): Slab {
    return this.#small.owns(buffer) ? this.#small : (this.#large as Slab);
  }
}
