// Views of a piece of memory, remembered by place and length.
// Promises: whoever asks for the same few hundred views again and again has nothing allocated.

/** More than the segments of a full read together with the lengths of usual single packets. */
const PLACES = 1024;

export class ViewCache {
  readonly #bytes: Uint8Array;
  readonly #views: Uint8Array[];
  // Beside the views: to ask one for its `byteOffset` is a call into the engine, which costs more than all else here.
  readonly #starts: Int32Array;
  readonly #shift: number;

  /** `places`: views that are remembered, a power of two. */
  constructor(bytes: Uint8Array, places = PLACES) {
    this.#bytes = bytes;
    this.#starts = new Int32Array(places).fill(-1);
    this.#views = Array.from<Uint8Array>({ length: places }).fill(bytes.subarray(0, 0));
    this.#shift = 32 - Math.log2(places);
  }

  /** `bytes[start, start + length)`, which lies within the bytes. */
  get(start: number, length: number): Uint8Array {
    // Segments lie one length apart, which is mostly even: a multiplication spreads them.
    const place = Math.imul(start * 2 + length, 0x9e37_79b1) >>> this.#shift;
    const known = this.#views[place];
    if (this.#starts[place] === start && known.length === length) return known;
    const view = this.#bytes.subarray(start, start + length);
    this.#views[place] = view;
    this.#starts[place] = start;
    return view;
  }
}
