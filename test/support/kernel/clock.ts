// The clocks of a machine. They stand still but for whoever waits, or gives the core away.

/** Since 1970, in milliseconds: when every fake machine is switched on. */
export const SWITCHED_ON = 1_700_000_000_000;

export class FakeClock {
  /** CLOCK_MONOTONIC, in milliseconds. */
  monotonic = 1_000;
  /** By how much CLOCK_BOOTTIME and CLOCK_REALTIME are ahead of it. */
  sleptMs = 0;
  #offset = SWITCHED_ON;

  get realtime(): number {
    return this.#offset + this.monotonic;
  }

  get boottime(): number {
    return this.monotonic + this.sleptMs;
  }

  set(realtime: number): void {
    this.#offset = realtime - this.monotonic;
  }

  sleep(ms: number): void {
    this.sleptMs += ms;
    this.#offset += ms;
  }
}
