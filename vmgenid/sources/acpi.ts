// The generation-ID page: 16 bytes of guest memory that the hypervisor has rewritten before a clone's first instruction.
// Promises: a check reads the page itself, with no system call and no allocation, and the engine may not remember an
// earlier reading; where the page cannot be had, the reason is said.
// Read on: Microsoft "Virtual Machine Generation ID"; ../acpi-tables.ts, which finds it.

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type AcpiTable, type TableNumber, findGenerationId } from '../acpi-tables.js';
import { VmGenIdError } from '../errors.js';
import { GENERATION_WORDS } from '../generation.js';
import { type Mapping, mapWords } from '../mapping.js';
import type { GenerationSource, SourceListener } from '../source.js';

/** Where the ACPI tables and the memory of the machine are. */
export interface AcpiSourceOptions {
  /** The folder that holds the tables as files. Default `/sys/firmware/acpi/tables`. */
  readonly tables?: string | undefined;
  /** Physical memory as a file. Default `/dev/mem`. */
  readonly memory?: string | undefined;
  /** A descriptor of it, for who may not open it any more: used at the first reading alone, and not closed here. */
  readonly memoryFd?: number | undefined;
  /** Milliseconds between looks at the page, for programs that send nothing and still want to know. Default 100; 0 is never. */
  readonly pollMs?: number | undefined;
}

const TABLES = '/sys/firmware/acpi/tables';
export const ACPI_MEMORY = '/dev/mem';
/** Says `none`, or how far the kernel is locked down against its own administrator. */
const LOCKDOWN = '/sys/kernel/security/lockdown';
/** Tables with code, also those that were loaded later. */
const CODE_TABLE = /^(DSDT|SSDT\d*)$/;
/** The specification's: the ID lies on a multiple of 8. */
const ALIGNMENT = 8;
/** QEMU's table adds to a zero as long as the firmware has not placed the page; the first one is the firmware's own. */
const LOWEST_ADDRESS = 4_096;

/** Immediate and unique: the best there is. Needs root, and the optional package koffi. */
export class AcpiSource implements GenerationSource {
  readonly name: string;
  readonly timing = 'immediate';
  readonly uniqueness = 'unique';
  readonly #tables: string;
  readonly #memory: string;
  #memoryFd: number | undefined;
  readonly #pollMs: number;
  #mapping: Mapping | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: AcpiSourceOptions = {}) {
    this.#tables = options.tables ?? TABLES;
    this.#memory = options.memory ?? ACPI_MEMORY;
    this.#memoryFd = options.memoryFd;
    this.#pollMs = options.pollMs ?? 100;
    this.name = this.#tables === TABLES ? 'acpi' : `acpi:${this.#tables}`;
  }

  // Four loads of 32 bits: wider ones would allocate. The engine may keep what it loaded plainly; an atomic load it must
  // make. The hypervisor writes while no processor of the machine runs, so that four of them are never torn.
  read(into: Uint32Array): void {
    const { words } = this.#mapping ?? this.#firstOpened();
    into[0] = Atomics.load(words, 0);
    into[1] = Atomics.load(words, 1);
    into[2] = Atomics.load(words, 2);
    into[3] = Atomics.load(words, 3);
  }

  start(listener: SourceListener): void {
    if (this.#pollMs > 0) this.#timer = setInterval(() => listener.changed(), this.#pollMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#mapping?.close();
    this.#mapping = undefined;
  }

  // Whether it works or not: the next time the number may be another's.
  #firstOpened(): Mapping {
    try {
      return this.#open();
    } finally {
      this.#memoryFd = undefined;
    }
  }

  #open(): Mapping {
    const { table, low, high } = findGenerationId(this.#readTables());
    const address = this.#number(low) + this.#number(high) * 2 ** 32;
    if (address < LOWEST_ADDRESS || address % ALIGNMENT !== 0 || !Number.isSafeInteger(address)) {
      throw new VmGenIdError(
        'ERR_SOURCE_FORMAT',
        `ACPI table ${table} has a generation ID at 0x${address.toString(16)}, which is no place for one`,
      );
    }
    const mapping = this.#map(address, GENERATION_WORDS);
    // All zeros is what memory holds that nobody has written an ID to: it would never change.
    if (mapping.words.every(word => word === 0)) {
      mapping.close();
      throw new VmGenIdError(
        'ERR_SOURCE_FORMAT',
        `there is no generation ID at 0x${address.toString(16)}, where ACPI table ${table} has it: 16 zeros`,
      );
    }
    this.#mapping = mapping;
    return mapping;
  }

  #number({ plus, from }: TableNumber): number {
    if (from === undefined) return plus;
    // Firmware fields need not lie on a multiple of 4.
    const mapping = this.#map(from - (from % 4), 2);
    try {
      const bytes = new DataView(mapping.words.buffer, mapping.words.byteOffset + (from % 4), 4);
      return plus + bytes.getUint32(0, true);
    } finally {
      mapping.close();
    }
  }

  #readTables(): AcpiTable[] {
    try {
      return codeTables(this.#tables);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') throw unavailable(`this machine shows no ACPI tables (${this.#tables})`, error);
      if (code === 'EACCES') throw unavailable(`reading ${this.#tables} needs root`, error);
      throw unavailable(message, error);
    }
  }

  #map(address: number, words: number): Mapping {
    try {
      return mapWords(this.#memory, address, words, this.#memoryFd);
    } catch (error) {
      if (error instanceof VmGenIdError) throw error;
      throw unavailable(this.#refusal(error as NodeJS.ErrnoException), error);
    }
  }

  #refusal({ code, syscall, message }: NodeJS.ErrnoException): string {
    if (code === 'ENOENT')
      return `${this.#memory} is not there: the kernel has none, or this container does not`;
    if (code === 'EACCES') return `opening ${this.#memory} needs root`;
    if (code !== 'EPERM') return message;
    if (syscall === 'mmap') return `the kernel does not let the page be mapped from ${this.#memory}`;
    const lockdown = lockdownMode();
    return lockdown === undefined || lockdown === 'none'
      ? `opening ${this.#memory} needs CAP_SYS_RAWIO`
      : `the kernel is locked down (${lockdown}): ${this.#memory} stays closed`;
  }
}

function codeTables(folder: string): AcpiTable[] {
  const loadedLater = join(folder, 'dynamic');
  const folders = existsSync(loadedLater) ? [folder, loadedLater] : [folder];
  return folders.flatMap(from =>
    readdirSync(from)
      .filter(name => CODE_TABLE.test(name))
      .map(name => ({ name, bytes: readFileSync(join(from, name)) })),
  );
}

/** `none`, `integrity`, `confidentiality`; undefined where the kernel does not say. */
function lockdownMode(): string | undefined {
  try {
    return /\[(\w+)\]/.exec(readFileSync(LOCKDOWN, 'latin1'))?.[1];
  } catch {
    return undefined;
  }
}

function unavailable(reason: string, cause: unknown): VmGenIdError {
  return new VmGenIdError('ERR_SOURCE_UNAVAILABLE', reason, { cause });
}
