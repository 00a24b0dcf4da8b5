// Has the machine slept? The kernel has one clock that goes on during a suspend and one that stops; and it tells whoever
// asked when a third one was set, as it is when the machine wakes. Promises: nobody needs to look again and again.
// Read on: man 2 clock_gettime, timerfd_create; Linux drivers/net/wireguard/device.c wg_pm_notification(),
// kernel/time/timekeeping.c timekeeping_resume().

import type { NativeMemory } from '../../../native/native-memory.js';
import { ECANCELED } from '../errno.js';
import {
  CLOCK_BOOTTIME,
  CLOCK_MONOTONIC,
  CLOCK_REALTIME,
  FIRST_SECONDS_AT,
  ITIMERSPEC_BYTES,
  type Libc,
  O_CLOEXEC,
  O_NONBLOCK,
  TFD_TIMER_ABSTIME,
  TFD_TIMER_CANCEL_ON_SET,
  checked,
} from '../libc.js';

/** Two clocks are read one after the other, and we may be interrupted in between; nobody suspends for less. Milliseconds. */
const SHORTEST_SLEEP_MS = 500;
/** A time that does not come: in seconds since 1970. */
const NEVER_SECONDS = 2 ** 33;

export class SleepDetector {
  /** Readable when the machine woke from a sleep, or its clock was set by somebody: then call `slept`. */
  readonly fd: number;
  readonly #libc: Libc;
  readonly #never: NativeMemory;
  #slept: number;
  #isTold = false;

  /** Throws `ERR_SYSTEM_CALL`. */
  constructor(libc: Libc) {
    this.#libc = libc;
    this.#never = libc.alloc(ITIMERSPEC_BYTES);
    this.#never.setU64(FIRST_SECONDS_AT, NEVER_SECONDS);
    this.fd = checked(libc.timerfdCreate(CLOCK_REALTIME, O_CLOEXEC | O_NONBLOCK), 'timerfd_create');
    this.#watch();
    this.#slept = this.#sleptMs();
  }

  /** Whether `fd` tells: where the kernel does not, `slept` is to be called now and then. */
  get isTold(): boolean {
    return this.#isTold;
  }

  /** Whether the machine has slept since the last call. */
  slept(): boolean {
    this.#watch();
    const before = this.#slept;
    this.#slept = this.#sleptMs();
    return this.#slept - before >= SHORTEST_SLEEP_MS;
  }

  close(): void {
    this.#libc.close(this.fd);
  }

  // Makes it unreadable too. It answers ECANCELED when the clock was set, and has set the timer.
  #watch(): void {
    const flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
    const result = this.#libc.timerfdSettime(this.fd, flags, this.#never.address);
    this.#isTold = result >= 0 || result === -ECANCELED;
  }

  /** Since the machine was started. */
  #sleptMs(): number {
    return this.#libc.clockMs(CLOCK_BOOTTIME) - this.#libc.clockMs(CLOCK_MONOTONIC);
  }
}
