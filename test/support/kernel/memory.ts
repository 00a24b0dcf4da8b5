// The memory of a process as its kernel sees it: bytes at addresses. These are numbers and nothing else: nobody but the
// fake kernel may follow them.

interface Region {
  readonly start: number;
  readonly bytes: Uint8Array;
}

const PAGE_BYTES = 4_096;
/** No true memory lies so low: whoever follows such an address stops at once. */
const LOWEST = 0x1000;

export class AddressSpace {
  readonly #regions: Region[] = [];
  readonly #starts = new WeakMap<ArrayBufferLike, number>();
  #next = LOWEST;

  /** Where the first byte of a view lies: for each buffer always the same, and none is another's neighbour. */
  addressOf(view: Uint8Array): number {
    const { buffer, byteOffset } = view;
    let start = this.#starts.get(buffer);
    if (start === undefined) {
      start = this.#next;
      this.#next += (Math.ceil(buffer.byteLength / PAGE_BYTES) + 1) * PAGE_BYTES;
      this.#starts.set(buffer, start);
      this.#regions.push({ start, bytes: new Uint8Array(buffer) });
    }
    return start + byteOffset;
  }

  /** `length` bytes at an address, to read or to change; `undefined` where not all of them are there. */
  at(address: number, length: number): Uint8Array | undefined {
    const region = this.#regions.findLast(({ start }) => start <= address);
    if (!region) return undefined;
    const offset = address - region.start;
    return offset + length <= region.bytes.length
      ? region.bytes.subarray(offset, offset + length)
      : undefined;
  }
}
