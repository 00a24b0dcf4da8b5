// Memory for keys that the kernel keeps out of swap and out of core dumps.
// Promises: keys have pages to themselves; where the kernel refuses, the memory is given all the same, and the reason said.
// Read on: man 2 mlock, man 2 madvise (MADV_DONTDUMP); sessions/key-slab.ts, which lives in it.

import type { KeyMemory } from '../../sessions/ports.js';
import { errnoName } from './errno.js';
import { type Libc, MADV_DODUMP, MADV_DONTDUMP } from './libc.js';

/** How the keys of a device lie. */
export interface KeyMemoryReport {
  /** Bytes in use, and how many of them cannot be swapped out. */
  readonly bytes: number;
  readonly lockedBytes: number;
  /** What the kernel refused, and why. Null: nothing. */
  readonly refused: string | null;
}

interface Pages {
  readonly address: number;
  readonly length: number;
  readonly locked: boolean;
}

export class LockedKeyMemory implements KeyMemory {
  readonly #libc: Libc;
  readonly #pages = new Map<SharedArrayBuffer, Pages>();
  #refused: string | null = null;

  constructor(libc: Libc) {
    this.#libc = libc;
  }

  get report(): KeyMemoryReport {
    const pages = [...this.#pages.values()];
    const sum = (of: readonly Pages[]) => of.reduce((bytes, { length }) => bytes + length, 0);
    return {
      bytes: sum(pages),
      lockedBytes: sum(pages.filter(({ locked }) => locked)),
      refused: this.#refused,
    };
  }

  allocate(byteLength: number): Uint8Array<SharedArrayBuffer> {
    const { pageBytes } = this.#libc;
    const length = Math.ceil(byteLength / pageBytes) * pageBytes;
    // The engine begins where it likes: whole pages fit in when there is one more.
    const buffer = new SharedArrayBuffer(length + pageBytes);
    const start = this.#libc.addressOf(new Uint8Array(buffer));
    const offset = (pageBytes - (start % pageBytes)) % pageBytes;
    const address = start + offset;
    const locked = this.#succeeded('mlock', this.#libc.mlock(address, length));
    this.#succeeded('madvise MADV_DONTDUMP', this.#libc.madvise(address, length, MADV_DONTDUMP));
    this.#pages.set(buffer, { address, length, locked });
    return new Uint8Array(buffer, offset, byteLength);
  }

  release({ buffer }: Uint8Array<SharedArrayBuffer>): void {
    const pages = this.#pages.get(buffer);
    if (!pages) return;
    this.#pages.delete(buffer);
    // The engine hands the pages to others, for whom they are to be as all others are.
    this.#libc.munlock(pages.address, pages.length);
    this.#libc.madvise(pages.address, pages.length, MADV_DODUMP);
  }

  #succeeded(call: string, result: number): boolean {
    if (result >= 0) return true;
    this.#refused ??= `${call}: ${errnoName(result)}${call === 'mlock' ? ' (see RLIMIT_MEMLOCK)' : ''}`;
    return false;
  }
}
