// Where the bytes of an array lie, remembered: asking koffi costs more than all other work around a short message.
// Promises: right as long as the array is not detached, which its length tells (0 then); the last array asked for is
// kept alive, so that its address holds through the native call that follows.

import type { Koffi } from '../../../vmgenid/koffi.js';

/*
 * Memory behind an array never moves, once it was asked for: a small array that the engine still keeps in its own heap
 * then gets memory outside. The key is the array itself: looking at its `buffer` and `byteOffset` would cost more than
 * the look-up. Whoever uses the same few hundred arrays again and again pays a few nanoseconds.
 */
export class Addresses {
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
