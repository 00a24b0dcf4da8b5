// The vmclock page: among times, it holds a counter that the hypervisor raises whenever a machine starts a copy.
// Promises: a check reads the page itself, with no system call and no allocation, and never a half-written value; a live
// migration, which moves the disruption marker alone, is no fork; where the page cannot be had, the reason is said.
// Read on: Linux include/uapi/linux/vmclock-abi.h, drivers/ptp/ptp_vmclock.c.

import { VmGenIdError, systemReason } from '../errors.js';
import { type Mapping, mapWords } from '../mapping.js';
import type { GenerationSource, SourceListener } from '../source.js';

/** Where the vmclock page is. */
export interface VmclockSourceOptions {
  /** Default `/dev/vmclock0`. A file in its place must stay as long as it is. */
  readonly path?: string;
  /** Milliseconds between looks at the page, for programs that send nothing and still want to know. Default 100. */
  readonly pollMs?: number;
}

export const VMCLOCK_PATH = '/dev/vmclock0';

// In words of 32 bits, little-endian.
const MAGIC_AT = 0;
/** Bytes of the page that mean anything, as its maker says. */
const SIZE_AT = 1;
const SEQUENCE_AT = 3;
const FLAGS_AT = 6;
const GENERATION_AT = 26;
const WORDS = 28;
/** No sequence of a settled page, as it is odd. */
const UNSETTLED = 1;
/** `VCLK`. */
const MAGIC = 0x4b4c4356;
/** Bit 8 of the flags: the page holds a generation counter. */
const HAS_GENERATION_COUNTER = 1 << 8;
/** Looks at a page that is being written. A writer needs microseconds. */
const LOOKS_MAX = 10_000;

/** Immediate, and a counter: all clones of one snapshot see the same new value. Needs the optional package koffi. */
export class VmclockSource implements GenerationSource {
  readonly name: string;
  readonly path: string;
  readonly timing = 'immediate';
  readonly uniqueness = 'counter';
  readonly #pollMs: number;
  #mapping: Mapping | undefined;
  /** Of the last settled reading, and what it found. */
  #sequence = UNSETTLED;
  #low = 0;
  #high = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: VmclockSourceOptions = {}) {
    this.path = options.path ?? VMCLOCK_PATH;
    this.name = this.path === VMCLOCK_PATH ? 'vmclock' : `vmclock:${this.path}`;
    this.#pollMs = options.pollMs ?? 100;
  }

  // While neither the sequence nor the counter has moved, the page is as it was: two loads. The engine may keep what it
  // loaded plainly; an atomic load it must make.
  read(into: Uint32Array): void {
    const { words } = this.#mapping ?? this.#open();
    const sequence = Atomics.load(words, SEQUENCE_AT);
    if (sequence !== this.#sequence || Atomics.load(words, GENERATION_AT) !== this.#low)
      this.#readSettled(words);
    into[0] = this.#low;
    into[1] = this.#high;
    into[2] = 0;
    into[3] = 0;
  }

  start(listener: SourceListener): void {
    this.#timer = setInterval(() => listener.changed(), this.#pollMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#mapping?.close();
    this.#mapping = undefined;
    this.#sequence = UNSETTLED;
  }

  // A sequence lock: odd while the hypervisor writes, another even number when it has written meanwhile.
  #readSettled(words: Int32Array): void {
    this.#sequence = UNSETTLED;
    for (let looks = 0; looks < LOOKS_MAX; looks++) {
      const sequence = Atomics.load(words, SEQUENCE_AT);
      const flags = Atomics.load(words, FLAGS_AT);
      const low = Atomics.load(words, GENERATION_AT);
      const high = Atomics.load(words, GENERATION_AT + 1);
      if ((sequence & 1) !== 0 || Atomics.load(words, SEQUENCE_AT) !== sequence) continue;
      if ((flags & HAS_GENERATION_COUNTER) === 0) throw this.#noCounter();
      this.#low = low;
      this.#high = high;
      this.#sequence = sequence;
      return;
    }
    throw new VmGenIdError(
      'ERR_SOURCE_TORN',
      `${this.path}: the page is being written; the sequence never settled in ${LOOKS_MAX} looks`,
    );
  }

  #open(): Mapping {
    const mapping = this.#map();
    const { words } = mapping;
    const size = words[SIZE_AT] >>> 0;
    let problem: VmGenIdError | undefined;
    if (words[MAGIC_AT] !== MAGIC) problem = this.#malformed('not a vmclock page: wrong magic');
    else if ((words[FLAGS_AT] & HAS_GENERATION_COUNTER) === 0) problem = this.#noCounter();
    else if (size < WORDS * 4) {
      problem = this.#malformed(
        `its page says that it has ${size} bytes, and the generation counter lies behind`,
      );
    }
    if (problem) {
      mapping.close();
      throw problem;
    }
    this.#mapping = mapping;
    return mapping;
  }

  #map(): Mapping {
    try {
      return mapWords(this.path, 0, WORDS);
    } catch (error) {
      if (error instanceof VmGenIdError) throw error;
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EOVERFLOW') throw this.#malformed(`shorter than ${WORDS * 4} bytes`);
      const reason = code === 'EACCES' ? 'this user may not read it' : systemReason(error);
      throw new VmGenIdError('ERR_SOURCE_UNREADABLE', `${this.path}: ${reason}`, { cause: error });
    }
  }

  #noCounter(): VmGenIdError {
    return this.#malformed('this hypervisor offers no generation counter (flag bit 8 is not set)');
  }

  #malformed(reason: string): VmGenIdError {
    return new VmGenIdError('ERR_SOURCE_FORMAT', `${this.path}: ${reason}`);
  }
}
