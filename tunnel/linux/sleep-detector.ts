// Has the machine slept? The kernel has one clock that goes on during a suspend and one that stops.
// Read on: man 2 clock_gettime; Linux drivers/net/wireguard/device.c wg_pm_notification().

import { CLOCK_BOOTTIME, CLOCK_MONOTONIC, type Libc } from './libc.js';

/** Two clocks are read one after the other, and we may be interrupted in between; nobody suspends for less. Milliseconds. */
const SHORTEST_SLEEP_MS = 500;

export class SleepDetector {
  readonly #libc: Pick<Libc, 'clockMs'>;
  #slept: number;

  constructor(libc: Pick<Libc, 'clockMs'>) {
    this.#libc = libc;
    this.#slept = this.#sleptMs();
  }

  /** Whether the machine has slept since the last call. */
  slept(): boolean {
    const before = this.#slept;
    this.#slept = this.#sleptMs();
    return this.#slept - before >= SHORTEST_SLEEP_MS;
  }

  /** Since the machine was started. */
  #sleptMs(): number {
    return this.#libc.clockMs(CLOCK_BOOTTIME) - this.#libc.clockMs(CLOCK_MONOTONIC);
  }
}
