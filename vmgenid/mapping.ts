// A piece of a file, or of physical memory, that lies in this process's own memory: read without a system call.
// Promises: read-only; what cannot be mapped throws with the system's reason; nothing is left open.
// Read on: man 2 mmap; Linux drivers/char/mem.c mmap_mem().

import { closeSync, constants as fileConstants, fstatSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { VmGenIdError } from './errors.js';
import { type Koffi, loadKoffi } from '../native/koffi.js';

const PROT_READ = 1;
const MAP_SHARED = 1;
const SC_PAGESIZE = 30;
const FAILED = -1;

interface MemoryCalls {
  readonly koffi: Koffi;
  mmap(
    address: number,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ): number;
  munmap(address: number, length: number): number;
  readonly pageBytes: number;
}

let calls: MemoryCalls | undefined;

export interface Mapping {
  /** The bytes asked for, over memory that others may write. After `close` they must not be touched again. */
  readonly words: Int32Array;
  close(): void;
}

/**
 * Maps `words` 32-bit words of a file from `offset` on, a multiple of 4. Throws `ERR_SOURCE_UNAVAILABLE` where mapping
 * is not possible here at all, and the system's own error (`code` EACCES, EPERM, ENOENT) where this file refuses. `opened`:
 * a descriptor of it, which stays open.
 */
export function mapWords(path: string, offset: number, words: number, opened?: number): Mapping {
  const { koffi, mmap, munmap, pageBytes } = loadCalls();
  const pageStart = Math.floor(offset / pageBytes) * pageBytes;
  const length = offset - pageStart + words * Int32Array.BYTES_PER_ELEMENT;
  // Without waiting: a pipe cannot be mapped, and whoever opens one waits for its other end.
  const fd = opened ?? openSync(path, fileConstants.O_RDONLY | fileConstants.O_NONBLOCK);
  try {
    // Behind the end of a file lies nothing: to touch it would end the process.
    const stats = fstatSync(fd);
    if (stats.isFile() && stats.size < pageStart + length)
      throw systemError('mmap', path, constants.errno.EOVERFLOW);
    const address = mmap(0, length, PROT_READ, MAP_SHARED, fd, pageStart);
    if (address === FAILED) throw systemError('mmap', path, koffi.errno());
    return {
      words: new Int32Array(koffi.view(address, length), offset - pageStart, words),
      close: () => void munmap(address, length),
    };
  } finally {
    if (opened === undefined) closeSync(fd);
  }
}

function loadCalls(): MemoryCalls {
  if (calls) return calls;
  const { koffi, reason } = loadKoffi();
  if (!koffi) throw new VmGenIdError('ERR_SOURCE_UNAVAILABLE', reason);
  const library = koffi.load(null);
  const mmap = library.func('mmap', 'long', ['uintptr_t', 'size_t', 'int', 'int', 'int', 'long']);
  const munmap = library.func('munmap', 'int', ['uintptr_t', 'size_t']);
  const pageBytes = library.func('sysconf', 'long', ['int'])(SC_PAGESIZE);
  calls = { koffi, mmap, munmap, pageBytes };
  return calls;
}

function systemError(call: string, path: string, errno: number): NodeJS.ErrnoException {
  const code =
    Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
  return Object.assign(new Error(`${code}: ${call} '${path}'`), { code, errno, syscall: call, path });
}
