// Views of a piece of memory, remembered by place and length.
// Promises: whoever asks for the same few hundred views again and again has nothing allocated.

/** More than the segments of a full read together with the lengths of usual single packets. */
const PLACES = 1024;

export class ViewCache<V> {
  readonly #cut: (start: number, length: number) => V;
  readonly #views: V[];
  // Beside the views: to ask one for its `byteOffset` is a call into the engine, which costs more than all else here.
  readonly #starts: Int32Array;
  readonly #lengths: Int32Array;
  readonly #shift: number;

  /** `cut` makes a view of `length` bytes from `start` on. `places`: views that are remembered, a power of two. */
  constructor(cut: (start: number, length: number) => V, places = PLACES) {
    this.#cut = cut;
    this.#starts = new Int32Array(places).fill(-1);
    this.#lengths = new Int32Array(places);
    this.#views = Array.from<V>({ length: places }).fill(cut(0, 0));
    this.#shift = 32 - Math.log2(places);
  }

  get(start: number, length: number): V {
    // Segments lie one length apart, which is mostly even: a multiplication spreads them.
    const place = Math.imul(start * 2 + length, 0x9e37_79b1) >>> this.#shift;
    if (this.#starts[place] === start && this.#lengths[place] === length) return this.#views[place];
    this.#starts[place] = start;
    this.#lengths[place] = length;
    return (this.#views[place] = this.#cut(start, length));
  }
}
