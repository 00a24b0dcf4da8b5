// How a device thread waits when the next packet may be here in a moment: it keeps watch for a while before it sleeps.
// Promises: watches only where that pays, and never where packets are far apart; whoever else can run on this core runs
// meanwhile, and where somebody then keeps it for long, there is hardly ever another watch.
// Read on: Linux Documentation/virt/guest-halt-polling.rst (the same in the kernel's idle loop); docs/performance.md.

import type { Libc } from '../libc.js';
import type { Poller } from './poller.js';

/** The longest watch after a turn of few packets, when somebody waits for an answer: for the sake of late ones. */
const WATCH_MS = 0.2;
/** And while packets come in bulk: nobody waits for a single one, and what comes later comes in larger batches. */
const BULK_WATCH_MS = 0.05;
/** What it is worth not to have slept. No more is spent for it on average, but for what others took at once. */
const WORTH_MS = 0.07;
/** What may be spent before anything has come, and at most be saved up. */
const TRIAL_MS = 1;
const MAX_CREDIT_MS = 2;
/** A watch that takes so long was another's turn on a core that was yielded. */
const KEPT_MS = 0.5;
/** A wait that was no sleep, since something was there. */
const AWAKE_MS = 0.01;
/** A sleep that a watch might have spared us. */
const SHORT_SLEEP_MS = 0.3;
/** So many of them before the next trial: twice as many after each that failed, the first number after one that paid. */
const MIN_SLEEPS = 16;
const MAX_SLEEPS = 1_024;
/** Other traffic may come after such a pause, so that what failed is forgotten, unless it was others who kept the core. */
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
  #isCoreWanted = false;

  constructor(options: LookoutOptions) {
    this.#options = options;
  }

  /** As `Poller.wait`, but that the time begins after the watch. `inBulk`: there were many packets since the last call. */
  wait(timeoutMs: number, inBulk: boolean): number {
    const { poller, now } = this.#options;
    if (timeoutMs === 0) return poller.wait(0);
    if (this.#creditMs > 0) {
      const ready = this.#watch(inBulk ? BULK_WATCH_MS : WATCH_MS);
      if (ready !== 0) return ready;
    }
    const asleepAt = now();
    const ready = poller.wait(timeoutMs);
    this.#slept(now() - asleepAt);
    return ready;
  }

  /** As `Poller.wait`, 0 when nothing has come. */
  #watch(lengthMs: number): number {
    const { libc, poller, now } = this.#options;
    let ready = poller.wait(0);
    // It was there before: no sleep was spared.
    if (ready !== 0) return ready;
    const start = now();
    let spentMs: number;
    do {
      libc.yieldCore();
      ready = poller.wait(0);
      spentMs = now() - start;
    } while (ready === 0 && spentMs < lengthMs);
    this.#spend(spentMs, ready === 0 ? 0 : WORTH_MS);
    return ready;
  }

  #spend(ms: number, earnedMs: number): void {
    this.#creditMs += earnedMs - ms;
    if (this.#creditMs > MAX_CREDIT_MS) {
      this.#creditMs = MAX_CREDIT_MS;
      this.#sleepsPerTrial = MIN_SLEEPS;
    } else if (this.#creditMs <= 0) {
      this.#creditMs = 0;
      this.#isCoreWanted = ms > KEPT_MS;
      this.#sleepsLeft = this.#sleepsPerTrial;
      this.#sleepsPerTrial = Math.min(2 * this.#sleepsPerTrial, MAX_SLEEPS);
    }
  }

  #slept(ms: number): void {
    if (ms >= PAUSE_MS) {
      if (this.#isCoreWanted) return;
      this.#sleepsPerTrial = MIN_SLEEPS;
      this.#sleepsLeft = Math.min(this.#sleepsLeft, MIN_SLEEPS);
    } else if (ms > AWAKE_MS && ms < SHORT_SLEEP_MS && this.#creditMs === 0 && --this.#sleepsLeft === 0) {
      this.#creditMs = TRIAL_MS;
    }
  }
}
