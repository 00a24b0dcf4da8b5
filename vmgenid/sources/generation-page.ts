// The generation-ID page: 16 bytes of guest memory that the hypervisor has rewritten before a clone's first instruction.
// Promises: a check reads the page itself, with no system call and no allocation, and the engine may not remember an
// earlier reading; where the page cannot be had, the reason is said.
// Read on: Microsoft "Virtual Machine Generation ID"; acpi.ts and devicetree.ts, which know where it lies.

import { VmGenIdError } from '../errors.js';
import { GENERATION_WORDS } from '../generation.js';
import type { Mapping } from '../mapping.js';
import { PhysicalMemory, type PhysicalMemoryOptions } from '../physical-memory.js';
import type { GenerationSource, SourceListener } from '../source.js';

/** How the page is read. */
export interface GenerationPageOptions extends PhysicalMemoryOptions {
  /** Milliseconds between looks at the page, for programs that send nothing and still want to know. Default 100; 0 is never. */
  readonly pollMs?: number | undefined;
}

/** Where it lies, and who says so: `ACPI table SSDT1`. */
export interface PagePlace {
  readonly teller: string;
  readonly address: number;
}

/** The specification's: the ID lies on a multiple of 8. */
const ALIGNMENT = 8;
/** QEMU's table adds to a zero as long as the firmware has not placed the page; the first one is the firmware's own. */
const LOWEST_ADDRESS = 4_096;

/** Immediate and unique: the best there is. Needs root, and the optional package koffi. */
export abstract class GenerationPageSource implements GenerationSource {
  readonly name: string;
  readonly timing = 'immediate';
  readonly uniqueness = 'unique';
  readonly #memory: PhysicalMemory;
  readonly #pollMs: number;
  #mapping: Mapping | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(name: string, options: GenerationPageOptions) {
    this.name = name;
    this.#memory = new PhysicalMemory(options);
    this.#pollMs = options.pollMs ?? 100;
  }

  /** Finds the page, by numbers in memory where it must. Throws a `VmGenIdError` with the reason why there is none. */
  protected abstract find(memory: PhysicalMemory): PagePlace;

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

  #firstOpened(): Mapping {
    try {
      return this.#open();
    } finally {
      this.#memory.forget();
    }
  }

  #open(): Mapping {
    const { teller, address } = this.find(this.#memory);
    if (address < LOWEST_ADDRESS || address % ALIGNMENT !== 0 || !Number.isSafeInteger(address)) {
      throw new VmGenIdError(
        'ERR_SOURCE_FORMAT',
        `${teller} has a generation ID at 0x${address.toString(16)}, which is no place for one`,
      );
    }
    const mapping = this.#memory.map(address, GENERATION_WORDS);
    // All zeros is what memory holds that nobody has written an ID to: it would never change.
    if (mapping.words.every(word => word === 0)) {
      mapping.close();
      throw new VmGenIdError(
        'ERR_SOURCE_FORMAT',
        `there is no generation ID at 0x${address.toString(16)}, where ${teller} has it: 16 zeros`,
      );
    }
    this.#mapping = mapping;
    return mapping;
  }
}
