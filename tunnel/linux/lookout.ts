// How a device thread waits when the next packet may be here in a moment: it looks for a while before it sleeps.
// Promises: looks only where that pays, and never where packets are far apart; whoever else can run on this core runs
// meanwhile, and where somebody then keeps it for long, there is hardly ever another look.
// Read on: Linux Documentation/virt/guest-halt-polling.rst (the same in the kernel's idle loop); docs/performance.md.

import type { Libc } from './libc.js';
import type { Poller } from './poller.js';

/** How long to look after a turn of few packets, when somebody waits for an answer. To sleep and be woken costs as much. */
const LOOK_MS = 0.2;
/** And while packets come in bulk: nobody waits for a single one, and what comes later comes in larger batches. */
const BULK_LOOK_MS = 0.05;
/** What a find is worth. So on average no more is spent on one, be it by us or by whoever the core was yielded to. */
const WORTH_MS = 0.07;
/** What may be spent before anything is found, and at most be saved up. */
const TRIAL_MS = 1;
const MAX_CREDIT_MS = 2;
/** A sleep in place of which a look would have found something. */
const SHORT_SLEEP_MS = 0.3;
/** So many of them before the next trial: twice as many after each that failed, the first number again after a pause. */
const MIN_SLEEPS = 16;
const MAX_SLEEPS = 1_024;
const PAUSE_MS = 20;

export interface LookoutOptions {
  readonly libc: Pick<Libc, 'yieldCore'>;
  readonly poller: Pick<Poller, 'wait'>;
  /** Monotonic milliseconds, to the microsecond. */
  readonly now: () => number;
}

export class Lookout {
  readonly #options: LookoutOptions;
  #creditMs = TRIAL_MS;
  #sleepsPerTrial = MIN_SLEEPS;
  #sleepsLeft = 0;

  constructor(options: LookoutOptions) {
    this.#options = options;
  }

  /** As `Poller.wait`. `inBulk`: there were many packets since the last call. */
  wait(timeoutMs: number, inBulk: boolean): number {
    const { poller, now } = this.#options;
    if (timeoutMs === 0) return poller.wait(0);
    if (this.#creditMs > 0) {
      const ready = this.#look(inBulk ? BULK_LOOK_MS : LOOK_MS);
      if (ready !== 0) return ready;
    }
    const asleepAt = now();
    const ready = poller.wait(timeoutMs);
    this.#slept(now() - asleepAt);
    return ready;
  }

  /** As `Poller.wait`, 0 when nothing has come. */
  #look(lengthMs: number): number {
    const { libc, poller, now } = this.#options;
    const start = now();
    let spentMs = 0;
    while (spentMs < lengthMs) {
      const ready = poller.wait(0);
      if (ready !== 0) {
        this.#spend(spentMs - WORTH_MS);
        return ready;
      }
      libc.yieldCore();
      spentMs = now() - start;
    }
    this.#spend(spentMs);
    return 0;
  }

  #spend(ms: number): void {
    this.#creditMs -= ms;
    if (this.#creditMs <= 0) this.#giveUp();
    else if (this.#creditMs > MAX_CREDIT_MS) {
      this.#creditMs = MAX_CREDIT_MS;
      this.#sleepsPerTrial = MIN_SLEEPS;
    }
  }

  #slept(ms: number): void {
    if (ms >= PAUSE_MS) {
      this.#sleepsPerTrial = MIN_SLEEPS;
      this.#sleepsLeft = Math.min(this.#sleepsLeft, MIN_SLEEPS);
    } else if (this.#creditMs === 0 && ms < SHORT_SLEEP_MS && --this.#sleepsLeft === 0)
      this.#creditMs = TRIAL_MS;
  }

  #giveUp(): void {
    this.#creditMs = 0;
    this.#sleepsLeft = this.#sleepsPerTrial;
    this.#sleepsPerTrial = Math.min(2 * this.#sleepsPerTrial, MAX_SLEEPS);
  }
}
