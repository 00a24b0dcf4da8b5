// A file that holds the generation: written by a guest agent or a broker, or shared with the hypervisor itself.
// Promises: a value is taken only whole, and only when two reads agree; anything else throws, with path and reason.
// Read on: the SysGenID proposal for Linux (a u32 counter in a file that can be mapped).

import {
  type BigIntStats,
  type FSWatcher,
  closeSync,
  constants,
  fstatSync,
  openSync,
  readSync,
  statSync,
  watch,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { VmGenIdError, systemReason } from '../errors.js';
import { GENERATION_VARIABLE, variableOf } from '../environ.js';
import { GENERATION_WORDS, VM_GEN_ID_BYTES, generationWords, parseGuid } from '../generation.js';
import type { GenerationSource, SourceListener, Timing, Uniqueness } from '../source.js';

/** How the file is read and watched. */
export interface FileSourceOptions {
  /** `immediate` only for a file whose memory the hypervisor writes before the clone runs. Default `delayed`. */
  readonly timing?: Timing | undefined;
  /** Default: `unique` for an id, `counter` for a counter. */
  readonly uniqueness?: Uniqueness | undefined;
  /**
   * `id` (default): exactly 16 raw bytes, or a GUID as text, in any spelling of `parseGuid`. `counter32`: an unsigned
   * 32-bit little-endian counter at offset 0, whatever follows. `environ`: variables, each ended by a zero, of which
   * `WIREONCE_GENERATION_ID` is a GUID: what gVisor shows a container in `/proc/gvisor/spec_environ`.
   */
  readonly format?: 'id' | 'counter32' | 'environ' | undefined;
  /** Milliseconds between looks at the file. Default 100. */
  readonly pollMs?: number | undefined;
  /** Also ask the system to be told of changes in the folder. Default true. */
  readonly watch?: boolean | undefined;
}

/** No number of bytes. */
const NOTHING = -1;
/** Reads until two in a row agree: this many before the file counts as torn. */
const READS_MAX = 8;
const COUNTER_BYTES = 4;
/** A GUID takes 36 characters, and may have braces, blanks and line ends around it: nothing else is so long. */
const TEXT_BYTES = 64;
/** More than any container is given as its environment. */
const ENVIRON_BYTES = 1 << 18;
/** What may become a GUID: its beginning, in any spelling. */
const BEGUN = /^\s*\{?[0-9a-f-]+$/i;

/**
 * Write such a file under another name and rename it: then it is never seen half written. A file that is missing,
 * torn or malformed makes the source fail until it is back; the driver lets nothing out meanwhile.
 */
export class FileSource implements GenerationSource {
  readonly name: string;
  readonly path: string;
  readonly timing: Timing;
  readonly uniqueness: Uniqueness;
  readonly #format: NonNullable<FileSourceOptions['format']>;
  readonly #pollMs: number;
  readonly #watch: boolean;
  readonly #wanted: number;
  #one: Buffer;
  #two: Buffer;
  /** Bytes at the beginning of `#two` that were taken for `#words`. */
  #taken = NOTHING;
  readonly #words = new Uint32Array(GENERATION_WORDS);
  #fd: number | undefined;
  #held: BigIntStats | undefined;
  #timer: NodeJS.Timeout | undefined;
  #watcher: FSWatcher | undefined;

  constructor(path: string, options: FileSourceOptions = {}) {
    this.name = `file:${path}`;
    this.path = path;
    this.#format = options.format ?? 'id';
    this.#wanted = { id: TEXT_BYTES + 1, counter32: COUNTER_BYTES, environ: ENVIRON_BYTES }[this.#format];
    this.#one = Buffer.alloc(this.#wanted);
    this.#two = Buffer.alloc(this.#wanted);
    this.timing = options.timing ?? 'delayed';
    this.uniqueness = options.uniqueness ?? (this.#format === 'counter32' ? 'counter' : 'unique');
    this.#pollMs = options.pollMs ?? 100;
    this.#watch = options.watch ?? true;
  }

  read(into: Uint32Array): void {
    try {
      const fd = this.#open();
      if (!this.#isAsTaken(fd)) this.#take(fd);
      into.set(this.#words);
    } catch (error) {
      this.#release();
      if (error instanceof VmGenIdError) throw error;
      throw new VmGenIdError('ERR_SOURCE_UNREADABLE', `${this.path}: ${systemReason(error)}`, {
        cause: error,
      });
    }
  }

  start(listener: SourceListener): void {
    const look = () => listener.changed();
    this.#timer = setInterval(look, this.#pollMs).unref();
    if (!this.#watch) return;
    // Where the folder cannot be watched (missing, too many watches), the timer alone does it.
    try {
      this.#watcher = watch(dirname(this.path), { persistent: false }, (_event, name) => {
        if (name === null || name === basename(this.path)) look();
      });
      this.#watcher.on('error', () => this.#watcher?.close());
    } catch {
      this.#watcher = undefined;
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#watcher?.close();
    this.#release();
  }

  // The descriptor is kept for as long as the path leads to the same file. Kept open, its inode is not used again.
  #open(): number {
    const there = statSync(this.path, { bigint: true });
    if (this.#fd !== undefined && there.ino === this.#held?.ino && there.dev === this.#held.dev)
      return this.#fd;
    this.#release();
    // Without waiting: there may be a pipe in its place, to which nobody writes.
    this.#fd = openSync(this.path, constants.O_RDONLY | constants.O_NONBLOCK);
    this.#held = fstatSync(this.#fd, { bigint: true });
    if (!this.#held.isFile() && !this.#held.isCharacterDevice()) throw new Error('not a regular file');
    return this.#fd;
  }

  #release(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    this.#taken = NOTHING;
  }

  // All that a check costs, as a rule. That nothing was written is not to be had for less: gVisor exchanges
  // an environment for another of the same size, times and inode.
  #isAsTaken(fd: number): boolean {
    const length = readSync(fd, this.#one, 0, this.#wanted, 0);
    return length === this.#taken && this.#one.compare(this.#two, 0, length, 0, length) === 0;
  }

  #take(fd: number): void {
    this.#taken = NOTHING;
    const length = this.#readSettled(fd);
    if (this.#format === 'counter32') this.#takeCounter(length, this.#words);
    else if (this.#format === 'id') this.#takeId(length, this.#words);
    else this.#takeVariable(length, this.#words);
    this.#taken = length;
  }

  /** The length of what is now in `#one`, read twice in a row with the same outcome. */
  #readSettled(fd: number): number {
    let before = -1;
    for (let reads = 0; reads < READS_MAX; reads++) {
      const length = readSync(fd, this.#one, 0, this.#wanted, 0);
      if (length === before && this.#one.compare(this.#two, 0, length, 0, length) === 0) return length;
      before = length;
      [this.#one, this.#two] = [this.#two, this.#one];
    }
    throw new VmGenIdError(
      'ERR_SOURCE_TORN',
      `${this.path}: is being written; ${READS_MAX} reads did not agree`,
    );
  }

  #takeCounter(length: number, into: Uint32Array): void {
    if (length < COUNTER_BYTES) throw this.#malformed(`too short for a 32-bit counter: ${length} bytes`);
    into.fill(0);
    into[0] = this.#one.readUInt32LE(0);
  }

  #takeId(length: number, into: Uint32Array): void {
    const text = this.#one.toString('latin1', 0, length);
    if (length === VM_GEN_ID_BYTES) {
      // The head of a GUID that is still being written has this length too.
      if (BEGUN.test(text)) throw this.#malformed('16 characters of a GUID, the rest is missing');
      generationWords(this.#one.subarray(0, length), into);
      return;
    }
    if (length > TEXT_BYTES) throw this.#malformed('too long for 16 bytes or a GUID');
    try {
      // No spelling is the beginning of another: what is cut off is none.
      generationWords(parseGuid(text), into);
    } catch (error) {
      throw this.#malformed(`${length} bytes, and ${(error as Error).message}`);
    }
  }

  #takeVariable(length: number, into: Uint32Array): void {
    if (length === ENVIRON_BYTES) throw this.#malformed('too long for an environment');
    const value = variableOf(this.#one.toString('latin1', 0, length));
    if (value === undefined) throw this.#malformed(`has no ${GENERATION_VARIABLE}`);
    try {
      generationWords(parseGuid(value), into);
    } catch (error) {
      throw this.#malformed(`${GENERATION_VARIABLE} is ${(error as Error).message}`);
    }
  }

  #malformed(reason: string): VmGenIdError {
    return new VmGenIdError('ERR_SOURCE_FORMAT', `${this.path}: ${reason}`);
  }
}
