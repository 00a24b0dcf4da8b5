// How a device thread waits when the next packet may be here in a moment: it looks for a while before it sleeps.
// Promises: looks only as long as that pays, and hardly ever where it does not; whoever else can run on this core runs
// meanwhile, and where somebody then keeps it, nobody looks for long.
// Read on: Linux Documentation/virt/guest-halt-polling.rst (the same in the kernel's idle loop); docs/performance.md.

import type { Libc } from './libc.js';
import type { Poller } from './poller.js';

/** To have a core sleep, and wake it from another one, costs as much, most of all in a virtual machine. */
const LOOK_MS = 0.05;
/** Whoever takes a core that was yielded for so long does not just answer us. */
const KEPT_MS = 0.3;
/** Looks in vain before there are no more; each that finds something earns one. */
const TRIAL_CREDIT = 8;
const MAX_CREDIT = 16;
/** Sleeps before the next trial: twice as many after each that failed. */
const MIN_SLEEPS = 16;
const MAX_SLEEPS = 1_024;

export interface LookoutOptions {
  readonly libc: Pick<Libc, 'yieldCore'>;
  readonly poller: Pick<Poller, 'wait'>;
  /** Monotonic milliseconds, to the microsecond. */
  readonly now: () => number;
}

export class Lookout {
  readonly #options: LookoutOptions;
  #credit = TRIAL_CREDIT;
  #sleepsPerTrial = MIN_SLEEPS;
  #sleepsLeft = 0;

  constructor(options: LookoutOptions) {
    this.#options = options;
  }

  /** As `Poller.wait`. */
  wait(timeoutMs: number): number {
    if (timeoutMs !== 0) {
      if (this.#credit > 0) {
        const ready = this.#look();
        if (ready !== 0) return ready;
      } else if (--this.#sleepsLeft <= 0) this.#credit = TRIAL_CREDIT;
    }
    return this.#options.poller.wait(timeoutMs);
  }

  /** As `Poller.wait`, 0 when nothing has come. */
  #look(): number {
    const { libc, poller, now } = this.#options;
    let at = now();
    const end = at + LOOK_MS;
    while (at < end) {
      const ready = poller.wait(0);
      if (ready !== 0) {
        this.#paid();
        return ready;
      }
      libc.yieldCore();
      const before = at;
      at = now();
      if (at - before > KEPT_MS) {
        this.#giveUp();
        return 0;
      }
    }
    if (--this.#credit === 0) this.#giveUp();
    return 0;
  }

  #paid(): void {
    if (this.#credit < MAX_CREDIT) this.#credit++;
    else this.#sleepsPerTrial = MIN_SLEEPS;
  }

  #giveUp(): void {
    this.#credit = 0;
    this.#sleepsLeft = this.#sleepsPerTrial;
    this.#sleepsPerTrial = Math.min(2 * this.#sleepsPerTrial, MAX_SLEEPS);
  }
}
