// One page of memory in a file, for every program that wants to know whether its machine was forked: map it, or read it.
// Promises: the counter changes with every fork, never goes back, and is never half written; a fork that fell into a time
// when nobody wrote the page shows when somebody does again.
// Read on: page-lock.ts for who may write it; the SysGenID proposal for Linux (2021), whose /dev/sysgenid had a u32
// counter at offset 0 of one page.

import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { blake2s } from '@noble/hashes/blake2.js';
import { equalBytes, isZero } from '../../native/bytes.js';
import { VmGenIdError } from '../errors.js';

/*
 *    0  counter   u32 LE  grows with every fork
 *    4  reseeded  u32 LE  the counter for which /dev/urandom is this clone's own
 *    8  done      u32 LE  the counter for which the command has done all it is to do
 *   16  mark      16 B    hash of what differs after a fork, such as the generation ID, which need not be
 *                         public; zeros: not known
 */
const COUNTER_AT = 0;
const RESEEDED_AT = 4;
const DONE_AT = 8;
const MARK_AT = 16;
const MARK_BYTES = 16;
export const PAGE_BYTES = 4_096;

/** What the page said when it was opened, about the time in which nobody wrote it. */
export type PageHistory =
  /** It is new. */
  | 'new'
  /** It bears the mark of now: nothing has happened. */
  | 'same'
  /** It bears another: a fork was missed, and the counter has moved. */
  | 'forked'
  /** The mark of then or of now is not known. A fork may have been missed: the counter has moved. */
  | 'unknown';

export class CounterPage {
  readonly path: string;
  readonly history: PageHistory;
  readonly #fd: number;
  readonly #word = Buffer.alloc(4);
  #counter: number;
  #closed = false;

  /**
   * Opens the page at `path`, or makes it, readable for all. `mark`: bytes that
   * differ after a fork, where any are known.
   * Throws `ERR_BROKER_FILE` for a file that is not such a page, and where the file cannot be had.
   */
  constructor(path: string, mark: Uint8Array | undefined) {
    this.path = path;
    try {
      this.#fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o644);
    } catch (error) {
      throw unusable(path, (error as Error).message, error);
    }
    try {
      const stats = fstatSync(this.#fd);
      if (!stats.isFile()) throw new Error('not a regular file');
      if (stats.size !== 0 && stats.size !== PAGE_BYTES) {
        throw new Error(`has ${stats.size} bytes, so it is no counter page, and is left alone`);
      }
      const page = Buffer.alloc(PAGE_BYTES);
      if (stats.size === 0) {
        // Whatever the umask says: the page is there to be read.
        fchmodSync(this.#fd, 0o644);
        writeSync(this.#fd, page, 0, PAGE_BYTES, 0);
      } else {
        readSync(this.#fd, page, 0, PAGE_BYTES, 0);
      }
      const before = page.subarray(MARK_AT, MARK_AT + MARK_BYTES);
      this.#counter = page.readUInt32LE(COUNTER_AT);
      this.history = stats.size === 0 ? 'new' : compare(before, hashed(mark));
      if (this.history === 'forked' || this.history === 'unknown') this.bump(mark);
      else this.#writeMark(mark);
    } catch (error) {
      closeSync(this.#fd);
      throw unusable(path, (error as Error).message, error);
    }
  }

  get counter(): number {
    return this.#counter;
  }

  /** Whether `/dev/urandom` was this clone's own when the page was last written. */
  get isReseeded(): boolean {
    return this.#read(RESEEDED_AT) === this.#counter;
  }

  /** A fork: moves the counter on, from where it stands or from where we left it, whichever is later. */
  bump(mark: Uint8Array | undefined): void {
    const there = this.#read(COUNTER_AT);
    // They count modulo 2^32: later is what is less than half of that ahead.
    const latest = ((there - this.#counter) | 0) > 0 ? there : this.#counter;
    this.#counter = (latest + 1) >>> 0;
    // The counter first: whoever dies in between finds the old mark when it comes back, and moves the
    // counter once more.
    this.#write(COUNTER_AT, this.#counter);
    this.#writeMark(mark);
  }

  /** The kernel has reseeded its generator since the fork that the counter stands for. */
  reseeded(): void {
    this.#write(RESEEDED_AT, this.#counter);
  }

  /** Whether the command has done what a fork asks of it, for every fork that the counter has seen. */
  get isCommandDone(): boolean {
    return this.#read(DONE_AT) === this.#counter;
  }

  /** The command has done all it is to do, for the fork of this counter. */
  commandDone(counter: number): void {
    this.#write(DONE_AT, counter);
  }

  /** The page stays where it is, for those who have mapped it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#fd);
  }

  // One aligned word in one write, into the page that mappers see. Were it ever seen half written, it would differ from
  // the old value all the same, which is all that a reader looks at.
  #write(at: number, value: number): void {
    this.#word.writeUInt32LE(value);
    writeSync(this.#fd, this.#word, 0, 4, at);
  }

  // What is missing of a page that somebody has cut off reads as zeros, and is there again.
  #read(at: number): number {
    const { size } = fstatSync(this.#fd);
    if (size < PAGE_BYTES) ftruncateSync(this.#fd, PAGE_BYTES);
    readSync(this.#fd, this.#word, 0, 4, at);
    return this.#word.readUInt32LE();
  }

  #writeMark(mark: Uint8Array | undefined): void {
    writeSync(this.#fd, hashed(mark), 0, MARK_BYTES, MARK_AT);
  }
}

function hashed(mark: Uint8Array | undefined): Uint8Array {
  return mark ? blake2s(mark, { dkLen: MARK_BYTES }) : new Uint8Array(MARK_BYTES);
}

function compare(before: Uint8Array, now: Uint8Array): PageHistory {
  if (isZero(before) || isZero(now)) return 'unknown';
  return equalBytes(before, now) ? 'same' : 'forked';
}

function unusable(path: string, reason: string, cause: unknown): VmGenIdError {
  return new VmGenIdError('ERR_BROKER_FILE', `counter page ${path}: ${reason}`, { cause });
}
