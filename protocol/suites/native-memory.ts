// Memory that a native library is given by its address.
// Promises: it never moves, and begins where the library wants it to.

import type { Koffi } from '../../vmgenid/koffi.js';

/** Zeroed memory that stays where it is, for what is handed over again and again. */
export class NativeMemory {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly address: number;

  /** `alignment`: its address is a multiple of this power of two; a multiple of 8 it is anyway. */
  constructor(koffi: Koffi, length: number, alignment = 1) {
    // On a buffer of its own: the engine keeps small arrays in its heap, where it may move them.
    const memory = new ArrayBuffer(length + alignment - 1);
    const start = Number(koffi.address(new Uint8Array(memory)));
    this.address = Math.ceil(start / alignment) * alignment;
    this.bytes = new Uint8Array(memory, this.address - start, length);
    this.view = new DataView(memory, this.address - start, length);
  }
}
