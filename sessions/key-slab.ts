// Shared memory for key material: fixed blocks, one per peer, in large pieces.
// Promises: erasing every session of a device is one fill per piece; a freed block is zero. No key has a second home.

import { sharedMemory } from '../native/shared-memory.js';
import type { KeyMemory } from './ports.js';

/** Blocks in one piece of shared memory. A piece is never given back, but for the end of the slab. */
const BLOCKS_PER_PIECE = 1024;

/** Shared memory as the engine gives it: it may be swapped out, and stands in a core dump. */
const plainMemory: KeyMemory = {
  allocate: byteLength => new Uint8Array(sharedMemory(byteLength)),
  release: () => {},
};

export class KeySlab {
  readonly #blockBytes: number;
  readonly #memory: KeyMemory;
  readonly #pieces: Uint8Array[] = [];
  readonly #free: Uint8Array[] = [];

  constructor(blockBytes: number, memory: KeyMemory = plainMemory) {
    this.#blockBytes = blockBytes;
    this.#memory = memory;
  }

  /** Bytes of shared memory held. */
  get bytes(): number {
    return this.#pieces.length * BLOCKS_PER_PIECE * this.#blockBytes;
  }

  /** A zeroed block, for the owner alone until it is freed. */
  allocate(): Uint8Array {
    const freed = this.#free.pop();
    if (freed) return freed;
    const piece = this.#memory.allocate(BLOCKS_PER_PIECE * this.#blockBytes);
    this.#pieces.push(piece);
    for (let i = BLOCKS_PER_PIECE - 1; i >= 0; i--) {
      this.#free.push(piece.subarray(i * this.#blockBytes, (i + 1) * this.#blockBytes));
    }
    return this.allocate();
  }

  free(block: Uint8Array): void {
    block.fill(0);
    this.#free.push(block);
  }

  /** Zeroes every block, in use or not. */
  eraseAll(): void {
    // Shared memory is filled element by element: wide ones are four times as fast. A piece has 1024 blocks, so it divides.
    for (const { buffer, byteOffset, length } of this.#pieces) {
      new BigUint64Array(buffer, byteOffset, length / BigUint64Array.BYTES_PER_ELEMENT).fill(0n);
    }
  }

  /** The end: zeroes every block, and gives all memory back. Blocks that are still held must not be used again. */
  release(): void {
    this.eraseAll();
    this.#free.length = 0;
    for (const piece of this.#pieces.splice(0)) this.#memory.release(piece);
  }
}
