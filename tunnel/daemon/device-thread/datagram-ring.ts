// Datagrams on their way from one thread to another: a ring in shared memory, which one fills and the other empties.
// Promises: bounded in bytes; a record is seen whole or not at all; neither side waits for the other, and none sleeps
// while something is there for it.
// Read on: ../device-thread.ts (two of them), Lamport, "Specifying Concurrent Program Modules" (1983).

/** Bytes of a ring by default: a few milliseconds of the fastest traffic. A power of two. */
export const RING_BYTES = 1024 * 1024;
/** A ring with so little in it, of 16 parts, has room again for whoever waited for it. */
const LOW_WATER = 1 / 16;

/** Words of the header, each on a cache line of its own: bytes ever put in, and ever taken out, modulo 2^32. */
const HEAD = 0;
const TAIL = 16;
/** Where the writer has drawn a line, and whether the reader has still to look: what is before it is not to be read. */
const LINE = 32;
const LINE_DRAWN = 33;
/** Whether the writer waits for room. */
const ROOM_WANTED = 48;
const HEADER_WORDS = 64;

/** A record: length of the datagram, number, port and bytes of the address, the address; then the datagram. */
const RECORD_BYTES = 32;
const ADDRESS_AT = 12;
const ALIGNMENT = 8;
/** In place of a length: the next record begins at the start of the ring. */
const TURN_OVER = 0xffff_ffff;

const NO_ADDRESS = new Uint8Array(0);

/** Memory for a ring of so many bytes, a power of two; both ends are made over it. */
export function ringMemory(bytes = RING_BYTES): SharedArrayBuffer {
  return new SharedArrayBuffer(HEADER_WORDS * 4 + bytes);
}

/** What both ends know of the memory. */
class RingEnd {
  protected readonly header: Int32Array;
  protected readonly words: Uint32Array;
  protected readonly bytes: Uint8Array;
  protected readonly mask: number;
  readonly capacity: number;

  constructor(memory: SharedArrayBuffer) {
    const at = HEADER_WORDS * 4;
    this.capacity = memory.byteLength - at;
    this.mask = this.capacity - 1;
    this.header = new Int32Array(memory, 0, HEADER_WORDS);
    this.words = new Uint32Array(memory, at);
    this.bytes = new Uint8Array(memory, at);
  }

  protected load(word: number): number {
    return Atomics.load(this.header, word) >>> 0;
  }
}

export class RingWriter extends RingEnd {
  readonly #wake: () => void;
  #head: number;

  /** `wake` is called when the reader may have found nothing and gone to sleep. */
  constructor(memory: SharedArrayBuffer, wake: () => void) {
    super(memory);
    this.#wake = wake;
    this.#head = this.load(HEAD);
  }

  /** Bytes that are in it. */
  get used(): number {
    return (this.#head - this.load(TAIL)) >>> 0;
  }

  /**
   * Copies a datagram behind the others, with the number of a connection and where it came from. False when there would
   * be more than `limit` bytes in the ring, its whole length by default.
   */
  push(
    datagram: Uint8Array,
    number: number,
    ip: Uint8Array = NO_ADDRESS,
    port = 0,
    limit = this.capacity,
  ): boolean {
    const head = this.#head;
    let at = head & this.mask;
    const size = RECORD_BYTES + roundUp(datagram.length);
    const gap = this.capacity - at < size ? this.capacity - at : 0;
    if (this.used + gap + size > limit) return false;
    if (gap > 0) {
      this.words[at / 4] = TURN_OVER;
      at = 0;
    }
    const word = at / 4;
    this.words[word] = datagram.length;
    this.words[word + 1] = number;
    this.words[word + 2] = (ip.length << 16) | port;
    this.bytes.set(ip, at + ADDRESS_AT);
    this.bytes.set(datagram, at + RECORD_BYTES);
    this.#head = (head + gap + size) >>> 0;
    // The reader does it the other way round: first it tells what it took, then it looks for more.
    Atomics.store(this.header, HEAD, this.#head | 0);
    if (this.load(TAIL) === head) this.#wake();
    return true;
  }

  /** Has the reader say when the ring is nearly empty. False when it is. */
  wantRoom(): boolean {
    Atomics.store(this.header, ROOM_WANTED, 1);
    if (this.used > this.capacity * LOW_WATER) return true;
    return Atomics.exchange(this.header, ROOM_WANTED, 0) === 0;
  }

  /** What is in it now will not be read any more. */
  drawLine(): void {
    Atomics.store(this.header, LINE, this.#head | 0);
    Atomics.store(this.header, LINE_DRAWN, 1);
  }
}

export class RingReader extends RingEnd {
  /** Of the record that `next` found: the connection's number, and the port of its far end. */
  number = 0;
  port = 0;
  /** Where its datagram lies in the memory. */
  start = 0;
  length = 0;
  readonly memory: Uint8Array;
  readonly #onRoom: () => void;
  #cursor: number;
  #ipLength = 0;

  /** `onRoom` is called when a writer that waited has room again. */
  constructor(memory: SharedArrayBuffer, onRoom: () => void) {
    super(memory);
    this.memory = new Uint8Array(memory);
    this.#onRoom = onRoom;
    this.#cursor = this.load(TAIL);
  }

  get isEmpty(): boolean {
    return this.load(HEAD) === this.#cursor;
  }

  /** Goes on to the next record; false when there is none. What has been read stays as it is until `release`. */
  next(): boolean {
    this.#heedLine();
    if (this.isEmpty) return false;
    let at = this.#cursor & this.mask;
    if (this.words[at / 4] === TURN_OVER) {
      this.#cursor = (this.#cursor + this.capacity - at) >>> 0;
      at = 0;
    }
    const word = at / 4;
    this.length = this.words[word];
    this.number = this.words[word + 1];
    this.port = this.words[word + 2] & 0xffff;
    this.#ipLength = this.words[word + 2] >>> 16;
    this.start = HEADER_WORDS * 4 + at + RECORD_BYTES;
    this.#cursor = (this.#cursor + RECORD_BYTES + roundUp(this.length)) >>> 0;
    return true;
  }

  /** The datagram of the record, where it lies. */
  datagram(): Uint8Array {
    return this.memory.subarray(this.start, this.start + this.length);
  }

  /** Where it came from, as it lies there. */
  ip(): Uint8Array {
    const at = this.start - RECORD_BYTES + ADDRESS_AT;
    return this.memory.subarray(at, at + this.#ipLength);
  }

  /** Passes over all that is in it. */
  skip(): void {
    this.#cursor = this.load(HEAD);
  }

  /** Gives the writer the room of all that has been read. */
  release(): void {
    if (this.load(TAIL) === this.#cursor) return;
    Atomics.store(this.header, TAIL, this.#cursor | 0);
    if (Atomics.load(this.header, ROOM_WANTED) === 0) return;
    if ((this.load(HEAD) - this.#cursor) >>> 0 > this.capacity * LOW_WATER) return;
    if (Atomics.exchange(this.header, ROOM_WANTED, 0) === 1) this.#onRoom();
  }

  #heedLine(): void {
    if (Atomics.load(this.header, LINE_DRAWN) === 0 || Atomics.exchange(this.header, LINE_DRAWN, 0) === 0)
      return;
    const line = this.load(LINE);
    // One that has been passed already lies a ring behind at most, or as much of 2^32 ahead.
    if ((line - this.#cursor) >>> 0 <= this.capacity) this.#cursor = line;
  }
}

function roundUp(bytes: number): number {
  return (bytes + ALIGNMENT - 1) & -ALIGNMENT;
}
