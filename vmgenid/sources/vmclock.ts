// The vmclock page: among times, it holds a counter that the hypervisor raises whenever a machine starts a copy.
// Promises: a check reads the page itself, with no system call and no allocation, and never a half-written value; a live
// migration, which moves the disruption marker alone, is no fork; where the page cannot be had, the reason is said.
// Read on: Linux include/uapi/linux/vmclock-abi.h, drivers/ptp/ptp_vmclock.c; ../acpi-tables.ts and ../devicetree.ts, which
// find it where the kernel has no driver; vmclock-notice.ts, how one is told.

import { existsSync } from 'node:fs';
import { ACPI_TABLES, readTables } from '../acpi-files.js';
import { findVmclock } from '../acpi-tables.js';
import { DEVICE_TREE, findNode } from '../devicetree.js';
import { VmGenIdError, systemReason, unavailable } from '../errors.js';
import { type Mapping, mapWords } from '../mapping.js';
import { PhysicalMemory, type PhysicalMemoryOptions } from '../physical-memory.js';
import type { ChangeNotice, GenerationSource, SourceListener } from '../source.js';
import { VmclockNotice } from './vmclock-notice.js';

/** Where the vmclock page is. */
export interface VmclockSourceOptions extends PhysicalMemoryOptions {
  /**
   * The device, or a file in its place, which must stay as long as it is. Default: `/dev/vmclock0`, and where the kernel has no
   * such driver the page that the ACPI tables or the device tree name, in the memory of the machine.
   */
  readonly path?: string | undefined;
  /** The folder that holds the tables as files. Default `/sys/firmware/acpi/tables`. */
  readonly tables?: string | undefined;
  /** The folder that holds the device tree. Default `/sys/firmware/devicetree/base`. */
  readonly tree?: string | undefined;
  /** Milliseconds between looks at the page, for programs that send nothing and still want to know. Default 100. */
  readonly pollMs?: number | undefined;
  /** Somebody waits for `notice`: where there is one, nobody looks by a timer. Default false. */
  readonly watchedElsewhere?: boolean | undefined;
}

export const VMCLOCK_PATH = '/dev/vmclock0';
const COMPATIBLE = 'amazon,vmclock';

// In words of 32 bits, little-endian.
const MAGIC_AT = 0;
/** Bytes of the page that mean anything, as its maker says. */
const SIZE_AT = 1;
const SEQUENCE_AT = 3;
const FLAGS_AT = 6;
const GENERATION_AT = 26;
const WORDS = 28;
/** No sequence of a settled page, as it is odd; a page that is being written may have it. */
const UNSETTLED = 1;
/** `VCLK`. */
const MAGIC = 0x4b4c4356;
/** Bit 8 of the flags: the page holds a generation counter. */
const HAS_GENERATION_COUNTER = 1 << 8;
/** Bit 9: the hypervisor tells the kernel when it has written. */
const NOTIFIES = 1 << 9;
/** Looks at a page that is being written. A writer needs microseconds. */
const LOOKS_MAX = 10_000;

/** Immediate, and a counter: all clones of one snapshot see the same new value. Needs the optional package koffi. */
export class VmclockSource implements GenerationSource {
  readonly name: string;
  readonly timing = 'immediate';
  readonly uniqueness = 'counter';
  readonly #options: VmclockSourceOptions;
  readonly #memory: PhysicalMemory;
  #mapping: Mapping | undefined;
  #notice: VmclockNotice | undefined;
  /** By which it was mapped, if not in the memory of the machine. */
  #device: string | undefined;
  /** What the page was last opened by, for messages. */
  #place: string;
  /** Of the last settled reading, and what it found. */
  #sequence = UNSETTLED;
  #low = 0;
  #high = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: VmclockSourceOptions = {}) {
    this.#options = options;
    this.#memory = new PhysicalMemory(options);
    this.#place = options.path ?? VMCLOCK_PATH;
    this.name = this.#place === VMCLOCK_PATH ? 'vmclock' : `vmclock:${this.#place}`;
  }

  // While neither the sequence nor the counter has moved, the page is as it was: two loads. The engine may keep what it
  // loaded plainly; an atomic load it must make.
  read(into: Uint32Array): void {
    const { words } = this.#mapping ?? this.#open();
    const sequence = Atomics.load(words, SEQUENCE_AT);
    const isSettled = sequence === this.#sequence && (sequence & 1) === 0;
    if (!isSettled || Atomics.load(words, GENERATION_AT) !== this.#low) this.#readSettled(words);
    into[0] = this.#low;
    into[1] = this.#high;
    into[2] = 0;
    into[3] = 0;
  }

  /** Where the hypervisor notifies, and the page is the kernel's device. */
  get notice(): ChangeNotice | undefined {
    const { words } = this.#mapping ?? this.#open();
    if ((Atomics.load(words, FLAGS_AT) & NOTIFIES) === 0) return undefined;
    if (this.#device !== undefined) this.#notice ??= VmclockNotice.open(this.#device);
    return this.#notice;
  }

  start(listener: SourceListener): void {
    const { watchedElsewhere = false, pollMs = 100 } = this.#options;
    if (watchedElsewhere && this.#hasNotice()) return;
    this.#timer = setInterval(() => listener.changed(), pollMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#notice?.close();
    this.#notice = undefined;
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
      `${this.#place}: the page is being written; the sequence never settled in ${LOOKS_MAX} looks`,
    );
  }

  /** A page that cannot be read now tells nobody either: the driver says so at every look. */
  #hasNotice(): boolean {
    try {
      return this.notice !== undefined;
    } catch {
      return false;
    }
  }

  #open(): Mapping {
    let mapping: Mapping;
    try {
      mapping = this.#map();
    } finally {
      this.#memory.forget();
    }
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
    const { path } = this.#options;
    if (path !== undefined || existsSync(VMCLOCK_PATH)) return this.#mapDevice(path ?? VMCLOCK_PATH);
    const { teller, address, bytes } = this.#find();
    this.#place = teller;
    this.#device = undefined;
    if (bytes < WORDS * 4)
      throw this.#malformed(`a vmclock page of ${bytes} bytes has no generation counter`);
    if (address === 0 || address % 4 !== 0) {
      throw this.#malformed(`its vmclock page lies at 0x${address.toString(16)}, which is no place for one`);
    }
    return this.#memory.map(address, WORDS);
  }

  #mapDevice(path: string): Mapping {
    this.#place = path;
    this.#device = path;
    try {
      return mapWords(path, 0, WORDS);
    } catch (error) {
      if (error instanceof VmGenIdError) throw error;
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EOVERFLOW') throw this.#malformed(`shorter than ${WORDS * 4} bytes`);
      const reason = code === 'EACCES' ? 'this user may not read it' : systemReason(error);
      throw new VmGenIdError('ERR_SOURCE_UNREADABLE', `${path}: ${reason}`, { cause: error });
    }
  }

  /** Where the firmware says that the page lies: by ACPI, or else by the device tree. */
  #find(): { teller: string; address: number; bytes: number } {
    const { tables = ACPI_TABLES, tree = DEVICE_TREE } = this.#options;
    const ofTables = existsSync(tables) ? findVmclock(readTables(tables)) : undefined;
    if (ofTables) return { teller: `ACPI table ${ofTables.table}`, ...ofTables };
    const ofTree = existsSync(tree) ? findNode(tree, COMPATIBLE) : undefined;
    if (ofTree) return { teller: `device tree ${ofTree.node}`, ...ofTree };
    throw unavailable(
      `${VMCLOCK_PATH} is not there, and neither ACPI nor a device tree names a vmclock page: this hypervisor offers none`,
    );
  }

  #noCounter(): VmGenIdError {
    return this.#malformed('this hypervisor offers no generation counter (flag bit 8 is not set)');
  }

  #malformed(reason: string): VmGenIdError {
    return new VmGenIdError('ERR_SOURCE_FORMAT', `${this.#place}: ${reason}`);
  }
}
