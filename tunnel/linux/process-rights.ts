// What a process may do for the rest of its life, and its start anew under less: the calls for both.
// Promises: after `replaceProcess` no thread holds more than `limit` left, for they are all born of this one; what the
// kernel refuses is said, and hinders nothing else.
// Read on: man 2 capset, prctl, execve; man 7 capabilities "Transformation of capabilities during execve()".

import { type Koffi, loadKoffi } from '../../native/koffi.js';
import { NativeMemory } from '../../native/native-memory.js';
import { TunnelError } from '../errors.js';
import { permittedToThread } from './capabilities.js';
import { EINVAL, errnoName, systemCallError } from './errno.js';

const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_RAISE = 2;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
const CAPABILITY_VERSION_3 = 0x2008_0522;
/** Effective, permitted, inheritable; the lower 32, then the upper. */
const CAPABILITY_WORDS = 6;
const MOST_CAPABILITIES = 64;
const MFD_CLOEXEC = 1;
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const SIG_DFL = 0;
export const RLIMIT_CORE = 4;
export const RLIMIT_MEMLOCK = 8;
/** RLIM_INFINITY, as one half of it. */
const ALL_ONES = 0xffff_ffff;
const STANDARD_STREAMS = [0, 1, 2];

export class ProcessRights {
  readonly #koffi: Koffi;
  readonly #prctl;
  readonly #capset;
  readonly #prlimit;
  readonly #memfdCreate;
  readonly #fcntl;
  readonly #signal;
  readonly #execv;

  /** Throws `ERR_NO_SYSTEM_CALLS`. */
  constructor() {
    const { koffi, reason } = loadKoffi();
    if (!koffi) throw new TunnelError('ERR_NO_SYSTEM_CALLS', reason);
    this.#koffi = koffi;
    const library = koffi.load(null);
    // Variadic in C. On x86-64 and arm64 Linux such arguments travel like all others.
    this.#prctl = library.func('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong']);
    this.#capset = library.func('capset', 'int', ['uintptr_t', 'uintptr_t']);
    this.#prlimit = library.func('prlimit', 'int', ['int', 'int', 'uintptr_t', 'uintptr_t']);
    this.#memfdCreate = library.func('memfd_create', 'int', ['str', 'uint']);
    this.#fcntl = library.func('fcntl', 'int', ['int', 'int', 'long']);
    this.#signal = library.func('signal', 'intptr_t', ['int', 'intptr_t']);
    this.#execv = library.func('execv', 'int', ['str', 'const char **']);
  }

  /**
   * Runs `action` with no more than these of the calling thread's capabilities in effect; `undefined`, and nothing is run,
   * where the kernel refuses that.
   */
  withEffective<T>(mask: bigint, action: () => T): T | undefined {
    const permitted = permittedToThread();
    if (this.#setCapabilities(permitted & mask, permitted, 0n) < 0) return undefined;
    try {
      return action();
    } finally {
      this.#setCapabilities(permitted, permitted, 0n);
    }
  }

  /**
   * Leaves these to the calling thread, what it starts anew, and what that starts, for good. Returns what the kernel
   * refused of it, one line each.
   */
  limit(mask: bigint): string[] {
    const refused: string[] = [];
    const permitted = permittedToThread();
    const kept = permitted & mask;
    this.#dropBounds(mask);
    const keep = (result: number, call: string) => {
      if (result < 0) refused.push(`${call}: ${errnoName(this.#koffi.errno())}`);
    };
    // With it execve gives root no more than it had, whatever the bounds are.
    keep(this.#prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 'prctl PR_SET_NO_NEW_PRIVS');
    this.#prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    const inherits = process.geteuid?.() !== 0;
    keep(this.#setCapabilities(kept, kept, inherits ? kept : 0n), 'capset');
    // Who is not root keeps them over execve so, and no other way.
    if (inherits) this.#eachOf(kept, n => this.#prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, n, 0, 0));
    return refused;
  }

  /** Whether the hard and the soft limit are now none; else the soft one is as high as it may be. */
  liftLimit(resource: number): boolean {
    const limits = new NativeMemory(this.#koffi, 16);
    limits.u32.fill(ALL_ONES);
    if (this.#prlimit(0, resource, limits.address, 0) === 0) return true;
    this.#prlimit(0, resource, 0, limits.address);
    const [, , low, high] = limits.u32;
    limits.u32.set([low, high]);
    this.#prlimit(0, resource, limits.address, 0);
    return low === ALL_ONES && high === ALL_ONES;
  }

  /** Nothing, from here on. */
  forbid(resource: number): void {
    this.#prlimit(0, resource, new NativeMemory(this.#koffi, 16).address, 0);
  }

  /** A file that has no name. Throws `ERR_SYSTEM_CALL`. */
  namelessFile(): number {
    const fd = this.#memfdCreate('wireonce', MFD_CLOEXEC);
    if (fd < 0) throw systemCallError('memfd_create', this.#koffi.errno());
    return fd;
  }

  /** Lets these signals end the process at once, as they do before a program has said otherwise. */
  defaultSignals(numbers: readonly number[]): void {
    for (const number of numbers) this.#signal(number, SIG_DFL);
  }

  /**
   * Becomes another program, in the same process, with these descriptors and those of the standard streams. Never returns.
   * Throws `ERR_SYSTEM_CALL`.
   */
  replaceProcess(path: string, argv: readonly string[], descriptors: readonly number[]): never {
    for (const fd of [...STANDARD_STREAMS, ...descriptors]) this.#fcntl(fd, F_SETFD, 0);
    for (const fd of STANDARD_STREAMS) {
      // As they were before this program made them its own: others have them too.
      this.#fcntl(fd, F_SETFL, this.#fcntl(fd, F_GETFL, 0) & ~O_NONBLOCK);
    }
    this.#execv(path, [...argv, null]);
    throw systemCallError('execv', this.#koffi.errno(), path);
  }

  /** Where that is not allowed, `PR_SET_NO_NEW_PRIVS` does it. */
  #dropBounds(mask: bigint): void {
    this.#eachOf(~mask & ((1n << BigInt(MOST_CAPABILITIES)) - 1n), n => {
      const refused = this.#prctl(PR_CAPBSET_DROP, n, 0, 0, 0) < 0;
      return !(refused && this.#koffi.errno() === EINVAL);
    });
  }

  #setCapabilities(effective: bigint, permitted: bigint, inheritable: bigint): number {
    const header = new NativeMemory(this.#koffi, 8);
    header.u32[0] = CAPABILITY_VERSION_3;
    const sets = new NativeMemory(this.#koffi, CAPABILITY_WORDS * 4);
    for (const [i, set] of [effective, permitted, inheritable].entries()) {
      sets.u32[i] = Number(set & 0xffff_ffffn);
      sets.u32[i + 3] = Number(set >> 32n);
    }
    return this.#capset(header.address, sets.address);
  }

  /** Stops at the first `false`. */
  #eachOf(mask: bigint, action: (n: number) => unknown): void {
    for (let n = 0; n < MOST_CAPABILITIES; n++) {
      if (((mask >> BigInt(n)) & 1n) === 1n && action(n) === false) return;
    }
  }
}
