// The memory of the machine as a file, from which pages are mapped that a hypervisor writes.
// Promises: read-only; where it cannot be had, or not this page, the reason is said in one line.
// Read on: Linux drivers/char/mem.c mmap_mem(), kernel/resource.c iomem_is_exclusive().

import { VmGenIdError, unavailable } from './errors.js';
import { lockdownMode } from './lockdown.js';
import { type Mapping, mapWords } from './mapping.js';

/** Where the memory of the machine is. */
export interface PhysicalMemoryOptions {
  /** Physical memory as a file. Default `/dev/mem`. */
  readonly memory?: string | undefined;
  /** A descriptor of it, for who may not open it any more: used at the first reading alone, and not closed here. */
  readonly memoryFd?: number | undefined;
}

export const MEMORY_PATH = '/dev/mem';

export class PhysicalMemory {
  readonly #path: string;
  #fd: number | undefined;

  constructor({ memory, memoryFd }: PhysicalMemoryOptions = {}) {
    this.#path = memory ?? MEMORY_PATH;
    this.#fd = memoryFd;
  }

  /** Maps 32-bit words from a physical address on, a multiple of 4. Throws `ERR_SOURCE_UNAVAILABLE`. */
  map(address: number, words: number): Mapping {
    try {
      return mapWords(this.#path, address, words, this.#fd);
    } catch (error) {
      if (error instanceof VmGenIdError) throw error;
      throw unavailable(this.#refusal(error as NodeJS.ErrnoException), error);
    }
  }

  /** Forgets the descriptor: by the next time its number may be another file's. */
  forget(): void {
    this.#fd = undefined;
  }

  #refusal({ code, syscall, message }: NodeJS.ErrnoException): string {
    const path = this.#path;
    if (code === 'ENOENT') return `${path} is not there: the kernel has none, or this container does not`;
    if (code === 'EACCES') return `opening ${path} needs root`;
    if (code !== 'EPERM') return message;
    if (syscall === 'mmap') {
      return `the kernel does not let the page be mapped from ${path} (a driver of its own may hold it: see iomem=relaxed)`;
    }
    const lockdown = lockdownMode();
    return lockdown === undefined || lockdown === 'none'
      ? `opening ${path} needs CAP_SYS_RAWIO`
      : `the kernel is locked down (${lockdown}): ${path} stays closed`;
  }
}
