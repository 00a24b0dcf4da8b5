// Cuts a stream of bytes into lines, for either end of the UAPI.
// Promises: never holds more than one unfinished line of `maxBytes` beside the last chunk; erases what it has given
// out, since lines carry keys.
// Read on: parse.ts, client.ts.

import { secretBytes } from '../../../native/secret-bytes.js';

const LF = 0x0a;
const CR = 0x0d;
const NOTHING = Buffer.alloc(0);

export class LineReader {
  readonly #maxBytes: number;
  #held: Buffer = NOTHING;
  #start = 0;
  #given = 0;

  /** `maxBytes`: the longest line, without its end. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Adds bytes, which are copied. Take every line that `next` has before the next push. */
  push(chunk: Uint8Array): void {
    const rest = this.#held.subarray(this.#start);
    const joined = Buffer.from(secretBytes(rest.length + chunk.length).buffer);
    joined.set(rest);
    joined.set(chunk, rest.length);
    this.#held.fill(0);
    this.#held = joined;
    this.#start = this.#given = 0;
  }

  /**
   * The next line, without `\n` or `\r\n`, valid until the next call; `undefined` when none is whole, `'tooLong'`
   * when it exceeds the limit, now and ever after.
   */
  next(): Buffer | 'tooLong' | undefined {
    this.#held.fill(0, this.#given, this.#start);
    this.#given = this.#start;
    const end = this.#held.indexOf(LF, this.#start);
    const length = (end < 0 ? this.#held.length : end) - this.#start;
    if (length > this.#maxBytes) return 'tooLong';
    if (end < 0) return undefined;
    const line = this.#held.subarray(this.#start, end);
    this.#start = end + 1;
    return line.at(-1) === CR ? line.subarray(0, -1) : line;
  }

  /** Bytes that wait for `next`. */
  get waiting(): number {
    return this.#held.length - this.#start;
  }

  /** Erases and forgets everything. */
  clear(): void {
    this.#held.fill(0);
    this.#held = NOTHING;
    this.#start = this.#given = 0;
  }
}
