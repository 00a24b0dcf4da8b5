// A timer in the kernel, for a thread that waits for descriptors: it makes one readable at a time.
// Promises: rings at the earliest time that was asked for, or before; to ask for a later one costs no system call, since
// it is not set anew. To give each wait a time of its own would set and cancel a timer of the processor every time.
// Read on: man 2 timerfd_create; docs/performance.md (what that costs).

import type { NativeMemory } from '../../../native/native-memory.js';
import {
  CLOCK_MONOTONIC,
  FIRST_NS_AT,
  FIRST_SECONDS_AT,
  ITIMERSPEC_BYTES,
  type Libc,
  O_CLOEXEC,
  O_NONBLOCK,
  checked,
} from '../libc.js';

const NS_PER_MS = 1e6;
const NS_PER_SECOND = 1e9;
/** No flags. */
const FROM_NOW_ON = 0;

export class Alarm {
  /** Readable once it has rung, until `silence`. */
  readonly fd: number;
  readonly #libc: Libc;
  readonly #times: NativeMemory;
  #setFor = Number.POSITIVE_INFINITY;

  /** Throws `ERR_SYSTEM_CALL`. */
  constructor(libc: Libc) {
    this.#libc = libc;
    this.#times = libc.alloc(ITIMERSPEC_BYTES);
    this.fd = checked(libc.timerfdCreate(CLOCK_MONOTONIC, O_CLOEXEC | O_NONBLOCK), 'timerfd_create');
  }

  /** Rings at `at`, or before. Both in milliseconds of one clock; `at` is later than `now`, Infinity is never. */
  ringBy(at: number, now: number): void {
    if (at >= this.#setFor) return;
    this.#setFor = at;
    // Rounded up: a deadline that is not quite there would make us wake for nothing. Zero would be never.
    this.#set(Math.max(1, Math.ceil((at - now) * NS_PER_MS)));
  }

  /** Call when it rang: it is not readable any more, and rings again when it is told to. */
  silence(): void {
    this.#setFor = Number.POSITIVE_INFINITY;
    this.#set(0);
  }

  close(): void {
    this.#libc.close(this.fd);
  }

  #set(ns: number): void {
    this.#times.setU64(FIRST_SECONDS_AT, Math.floor(ns / NS_PER_SECOND));
    this.#times.setU64(FIRST_NS_AT, ns % NS_PER_SECOND);
    this.#libc.timerfdSettime(this.fd, FROM_NOW_ON, this.#times.address);
  }
}
