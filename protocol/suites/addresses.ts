// Where the bytes of an array lie, remembered: asking koffi costs more than all other work around a short message.
// Promises: right as long as the array is not detached, which its length tells (0 then); the last array asked for is
// kept alive, so that its address holds through the native call that follows.
// Read on: docs/performance.md.

/*
 * Memory behind an array never moves, once it was asked for: a small array that the engine still keeps in its own heap
 * then gets memory outside.
 */

import type { Koffi } from '../../native/koffi.js';

interface Addresses {
  of(bytes: Uint8Array): number;
}

/** For a few hundred arrays that are used again and again, such as buffers that packets are sealed in: a few nanoseconds. */
export class ArrayAddresses implements Addresses {
  readonly #koffi: Koffi;
  readonly #known = new WeakMap<Uint8Array, number>();
  #bytes: Uint8Array | undefined;
  #address = 0;

  constructor(koffi: Koffi) {
    this.#koffi = koffi;
  }

  of(bytes: Uint8Array): number {
    if (bytes !== this.#bytes) {
      this.#address = this.#known.get(bytes) ?? this.#find(bytes);
      this.#bytes = bytes;
    }
    return this.#address;
  }

  #find(bytes: Uint8Array): number {
    const address = Number(this.#koffi.address(bytes));
    this.#known.set(bytes, address);
    return address;
  }
}

/**
 * For very many arrays on a few pieces of memory, such as the keys of 50,000 peers, or what the kernel has joined to one
 * datagram: looking at an array's `buffer` and `byteOffset` costs 22 ns more, but a new array costs no more than a known
 * one, and the collector of garbage has no entries to look after.
 */
export class MemoryAddresses implements Addresses {
  readonly #koffi: Koffi;
  readonly #known = new WeakMap<ArrayBufferLike, number>();
  #bytes: Uint8Array | undefined;
  #address = 0;

  constructor(koffi: Koffi) {
    this.#koffi = koffi;
  }

  of(bytes: Uint8Array): number {
    if (bytes !== this.#bytes) {
      const start = this.#known.get(bytes.buffer) ?? this.#find(bytes);
      this.#address = start + bytes.byteOffset;
      this.#bytes = bytes;
    }
    return this.#address;
  }

  #find(bytes: Uint8Array): number {
    const start = Number(this.#koffi.address(bytes)) - bytes.byteOffset;
    this.#known.set(bytes.buffer, start);
    return start;
  }
}
