// The vmclock page: among times, it holds a counter that the hypervisor raises whenever a machine starts a copy.
// Promises: never a half-written value; a live migration, which moves the disruption marker alone, is no fork.
// Read on: Linux include/uapi/linux/vmclock-abi.h, drivers/ptp/ptp_vmclock.c.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { VmGenIdError, systemReason } from '../errors.js';
import type { GenerationSource, SourceListener } from '../source.js';

/** Where the vmclock page is. */
export interface VmclockSourceOptions {
  /** Default `/dev/vmclock0`. */
  readonly path?: string;
  /** Milliseconds between looks at the page, for programs that send nothing and still want to know. Default 100. */
  readonly pollMs?: number;
}

export const VMCLOCK_PATH = '/dev/vmclock0';

/** `VCLK`, little-endian. */
const MAGIC = 0x4b4c4356;
const SEQ_AT = 12;
/** Bit 8 of the 64 flags: the page holds a generation counter. */
const FLAGS_AT = 24;
const HAS_GENERATION_COUNTER = 1 << 8;
const GENERATION_AT = 104;
const PAGE_BYTES = 112;
/** Attempts at a settled page. A writer needs microseconds. */
const READS_MAX = 1_000;

/** Immediate, and a counter: all clones of one snapshot see the same new value. */
export class VmclockSource implements GenerationSource {
  readonly name: string;
  readonly path: string;
  readonly timing = 'immediate';
  readonly uniqueness = 'counter';
  readonly #pollMs: number;
  readonly #page = Buffer.alloc(PAGE_BYTES);
  readonly #seqAfter = Buffer.alloc(4);
  #fd: number | undefined;
  #isDevice = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: VmclockSourceOptions = {}) {
    this.path = options.path ?? VMCLOCK_PATH;
    this.name = this.path === VMCLOCK_PATH ? 'vmclock' : `vmclock:${this.path}`;
    this.#pollMs = options.pollMs ?? 100;
  }

  read(into: Uint32Array): void {
    try {
      this.#readSettled(this.#fd ?? this.#open());
    } catch (error) {
      this.#release();
      if (error instanceof VmGenIdError) throw error;
      throw new VmGenIdError('ERR_SOURCE_UNREADABLE', `${this.path}: ${systemReason(error)}`, {
        cause: error,
      });
    }
    into[0] = this.#page.readUInt32LE(GENERATION_AT);
    into[1] = this.#page.readUInt32LE(GENERATION_AT + 4);
    into[2] = 0;
    into[3] = 0;
  }

  start(listener: SourceListener): void {
    this.#timer = setInterval(() => listener.changed(), this.#pollMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#release();
  }

  #open(): number {
    this.#fd = openSync(this.path, 'r');
    this.#isDevice = fstatSync(this.#fd).isCharacterDevice();
    return this.#fd;
  }

  #release(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  // A sequence lock: odd while the hypervisor writes, another even number when it has written meanwhile.
  #readSettled(fd: number): void {
    for (let reads = 0; reads < READS_MAX; reads++) {
      const length = readSync(fd, this.#page, 0, PAGE_BYTES, 0);
      if (length < PAGE_BYTES) throw this.#malformed(`short read: ${length} of ${PAGE_BYTES} bytes`);
      if (this.#page.readUInt32LE(0) !== MAGIC) throw this.#malformed('not a vmclock page: wrong magic');
      const seq = this.#page.readUInt32LE(SEQ_AT);
      if (seq % 2 === 1 || !this.#stillAt(fd, seq)) continue;
      if ((this.#page.readUInt32LE(FLAGS_AT) & HAS_GENERATION_COUNTER) === 0) {
        throw this.#malformed('this hypervisor offers no generation counter (flag bit 8 is not set)');
      }
      return;
    }
    throw new VmGenIdError(
      'ERR_SOURCE_TORN',
      `${this.path}: the page is being written; the sequence never settled in ${READS_MAX} reads`,
    );
  }

  // The kernel's device hands out settled pages only; in a plain file the sequence must be looked at again.
  #stillAt(fd: number, seq: number): boolean {
    if (this.#isDevice) return true;
    return readSync(fd, this.#seqAfter, 0, 4, SEQ_AT) === 4 && this.#seqAfter.readUInt32LE(0) === seq;
  }

  #malformed(reason: string): VmGenIdError {
    return new VmGenIdError('ERR_SOURCE_FORMAT', `${this.path}: ${reason}`);
  }
}
