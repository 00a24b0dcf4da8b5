// Shared memory for key material: fixed blocks, one per peer, in large pieces.
// Promises: erasing every session of a device is one fill per piece; a freed block is zero. No key has a second home.

/** Blocks in one piece of shared memory. A piece is never given back, but for the end of the slab. */
const BLOCKS_PER_PIECE = 1024;

export class KeySlab {
  readonly #blockBytes: number;
  readonly #pieces: SharedArrayBuffer[] = [];
  readonly #free: Uint8Array[] = [];

  constructor(blockBytes: number) {
    this.#blockBytes = blockBytes;
  }

  /** Bytes of shared memory held. */
  get bytes(): number {
    return this.#pieces.length * BLOCKS_PER_PIECE * this.#blockBytes;
  }

  /** A zeroed block, for the owner alone until it is freed. */
  allocate(): Uint8Array {
    const freed = this.#free.pop();
    if (freed) return freed;
    const piece = new SharedArrayBuffer(BLOCKS_PER_PIECE * this.#blockBytes);
    this.#pieces.push(piece);
    for (let i = BLOCKS_PER_PIECE - 1; i >= 0; i--) {
      this.#free.push(new Uint8Array(piece, i * this.#blockBytes, this.#blockBytes));
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
    for (const piece of this.#pieces) new BigUint64Array(piece).fill(0n);
  }
}
