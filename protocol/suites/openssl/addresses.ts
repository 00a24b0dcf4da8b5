// Where the bytes of an array lie, remembered: asking koffi costs more than all other work around a short message.
// Promises: right as long as the array is not detached, which its length tells (0 then); the last array asked for is
// kept alive, so that its address holds through the native call that follows.

import type { Koffi } from '../../../vmgenid/koffi.js';

/*
 * Memory behind an ArrayBuffer or SharedArrayBuffer never moves. A small array that the engine still keeps in its own
 * heap gets such memory the moment its `buffer` is looked at.
 */
export class Addresses {
  readonly #koffi: Koffi;
  readonly #known = new WeakMap<ArrayBufferLike, number>();
  #bytes: Uint8Array | undefined;
  #address = 0;

  constructor(koffi: Koffi) {
    this.#koffi = koffi;
  }

  of(bytes: Uint8Array): number {
    if (bytes !== this.#bytes) {
      const memory = bytes.buffer;
      let base = this.#known.get(memory);
      if (base === undefined) {
        base = Number(this.#koffi.address(bytes)) - bytes.byteOffset;
        this.#known.set(memory, base);
      }
      this.#address = base + bytes.byteOffset;
      this.#bytes = bytes;
    }
    return this.#address;
  }
}
