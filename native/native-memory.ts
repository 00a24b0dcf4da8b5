// Memory that a library or the kernel is given by its address.
// Promises: zeroed at first; it never moves, and begins where they want it to. It lives as long as its object is held.
// Read on: koffi.ts, through which they are called.

import type { Koffi } from './koffi.js';
import { Room } from './room.js';

const WORD = 4;
const HIGH = 2 ** 32;
/** What the engine gives memory of its own. */
const ALIGNMENT = 8;

export class NativeMemory extends Room {
  readonly view: DataView;
  /** The same memory as words, little-endian; they may reach beyond the bytes, to a multiple of 8. */
  readonly u32: Uint32Array;

  /** `alignment`: its address is a multiple of this power of two, 8 or more. */
  constructor(koffi: Pick<Koffi, 'address'>, length: number, alignment = ALIGNMENT) {
    const whole = Math.ceil(length / ALIGNMENT) * ALIGNMENT;
    // On a buffer of its own: the engine keeps small arrays in its heap, where it may move them.
    const memory = new ArrayBuffer(whole + alignment - ALIGNMENT);
    const start = Number(koffi.address(new Uint8Array(memory)));
    const address = Math.ceil(start / alignment) * alignment;
    const at = address - start;
    super(new Uint8Array(memory, at, length), address);
    this.view = new DataView(memory, at, length);
    this.u32 = new Uint32Array(memory, at, whole / WORD);
  }

  /** Writes a pointer, or any other 64-bit number below 2^53, at a byte offset that is a multiple of 4. */
  setU64(offset: number, value: number): void {
    // What an array of words is given is cut to the lower 32 bits.
    this.u32[offset / WORD] = value;
    this.u32[offset / WORD + 1] = value / HIGH;
  }
}
