// The kernel's log: a line tells that the kernel saw a fork and has reseeded its own generator.
// Promises: only the kernel's own line counts, never one that a program wrote; lines from before the start do not.
// Read on: Linux Documentation/ABI/testing/dev-kmsg; random.c add_vmfork_randomness().

import { closeSync, constants, openSync, readSync } from 'node:fs';
import { VmGenIdError, systemReason } from '../errors.js';
import type { GenerationSource, SourceListener } from '../source.js';

/** Where the kernel's log is, and how it is read. */
export interface KmsgSourceOptions {
  /** Default `/dev/kmsg`. */
  readonly path?: string;
  /** A descriptor of it, for who may not open it any more: opened without waiting, and the source's from here on. */
  readonly fd?: number | undefined;
  /** Milliseconds between looks at the log. Default 10: the line itself comes 2 to 200 ms after the change. 0 is never. */
  readonly pollMs?: number;
  /**
   * Reads one record in place of the device: the record, or null when there is none. Throws an error with the
   * `code` EPIPE when records were lost: a fork, unless an immediate source shows that there was none.
   */
  readonly readRecord?: () => string | null;
}

export const KMSG_PATH = '/dev/kmsg';

/** What the kernel prints (random.c, under its prefix), whole. */
export const FORK_LINE = 'random: crng reseeded due to virtual machine fork';
/** Larger than any record the kernel hands out. */
const RECORD_BYTES = 8_192;
/** Records taken in one go, so that a flood of lines cannot hold the thread. */
const DRAIN_MAX = 65_536;

/** Delayed; it announces and has no value to read. Needs CAP_SYSLOG where `kernel.dmesg_restrict` is set. */
export class KmsgSource implements GenerationSource {
  readonly name: string;
  readonly path: string;
  readonly timing = 'delayed';
  readonly uniqueness = 'counter';
  readonly #pollMs: number;
  readonly #readRecord: () => string | null;
  readonly #buffer = Buffer.alloc(RECORD_BYTES);
  #listener: SourceListener | undefined;
  /**
   * The sequence of the last line on a fork, `none` in a log that has had no such line; undefined where it
   * may be lost.
   */
  #lastFork: string | undefined;
  #isBegun = false;
  #isRead = false;
  #fd: number | undefined;
  #failed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: KmsgSourceOptions = {}) {
    this.path = options.path ?? KMSG_PATH;
    this.name = this.path === KMSG_PATH ? 'kmsg' : `kmsg:${this.path}`;
    this.#fd = options.fd;
    this.#pollMs = options.pollMs ?? 10;
    this.#readRecord = options.readRecord ?? (() => this.#readDevice());
  }

  get history(): Uint8Array | undefined {
    return this.#isRead && this.#lastFork !== undefined ? Buffer.from(this.#lastFork) : undefined;
  }

  /** Goes to the end of the log (by reading: Node has no seek) and begins to watch. */
  start(listener: SourceListener): void {
    for (let n = 0; n < DRAIN_MAX && !this.#isRead; n++) this.#isRead = this.#next() === 'end';
    this.#listener = listener;
    if (this.#pollMs > 0) this.#timer = setInterval(() => this.poll(), this.#pollMs).unref();
  }

  poll(): void {
    try {
      for (let n = 0; n < DRAIN_MAX && this.#listener; n++) {
        const record = this.#next();
        if (record === 'end') break;
        // It may have been the line, or any other: no proof of a reseed, and of a fork only where nothing shows it sooner.
        if (record === 'lost') this.#listener.missed();
        else if (record === 'fork') this.#listener.announce({ kernelReseeded: true });
      }
      if (this.#failed) this.#listener?.recovered();
      this.#failed = false;
    } catch (error) {
      this.#failed = true;
      this.#listener?.failed(error as Error);
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#listener = undefined;
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #next(): 'end' | 'lost' | 'fork' | 'other' {
    try {
      const record = this.#readRecord();
      if (record === null) return 'end';
      const isFork = isForkRecord(record);
      const sequence = sequenceOf(record);
      if (isFork) this.#lastFork = sequence;
      // What was there before the first that is still there may have been the line.
      else if (!this.#isBegun && sequence === '0') this.#lastFork = 'none';
      this.#isBegun = true;
      return isFork ? 'fork' : 'other';
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EAGAIN') return 'end';
      // Overwritten before it was read, or longer than the buffer: the kernel has moved on to the next one.
      if (code === 'EPIPE' || code === 'EINVAL') {
        this.#lastFork = undefined;
        this.#isBegun = true;
        return 'lost';
      }
      if (error instanceof VmGenIdError) throw error;
      throw new VmGenIdError('ERR_SOURCE_UNREADABLE', `${this.path}: ${systemReason(error)}`, {
        cause: error,
      });
    }
  }

  // One read gives one record.
  #readDevice(): string | null {
    this.#fd ??= openKmsg(this.path);
    const length = readSync(this.#fd, this.#buffer, 0, RECORD_BYTES, null);
    return length === 0 ? null : this.#buffer.toString('latin1', 0, length);
  }
}

/** Opens the log for reading without waiting. Throws `ERR_SOURCE_UNAVAILABLE` with the reason. */
export function openKmsg(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason =
      code === 'EPERM' || code === 'EACCES'
        ? `${code}: reading the kernel log needs CAP_SYSLOG here (see kernel.dmesg_restrict)`
        : systemReason(error);
    throw new VmGenIdError('ERR_SOURCE_UNAVAILABLE', `${path}: ${reason}`, { cause: error });
  }
}

/** The second field: records are counted from 0, from the boot on. */
function sequenceOf(record: string): string | undefined {
  return /^\d+,(\d+)[,;]/.exec(record)?.[1];
}

/**
 * Is this record, `priority,sequence,time,flags[,...];message`, the kernel's word on a fork? The kernel gives its
 * own lines facility 0 and forces another on whatever programs write to the device.
 */
function isForkRecord(record: string): boolean {
  const semicolon = record.indexOf(';');
  if (semicolon === -1 || !/^\d+,/.test(record)) return false;
  const facility = Number.parseInt(record, 10) >> 3;
  // Lines after the first carry the record's dictionary.
  const message = record.slice(semicolon + 1).split('\n', 1)[0];
  return facility === 0 && message === FORK_LINE;
}
