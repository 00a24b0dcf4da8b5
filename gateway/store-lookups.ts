// What a store may keep waiting: each lookup is waited for a bounded time, and no more of them are under way than were allowed.
// How many begin in a second is the device's to bound (ASKS_PER_SECOND). What is one too many fails at once and is not queued:
// whoever called calls again.
// Read on: admission.ts, who asks; ../sessions/admissions.ts.

import { ADMISSION_TIMEOUT_MS, MAX_AWAITED } from '../sessions/admissions.js';
import { GatewayError } from './errors.js';

/** Less than a device waits. Milliseconds. */
export const LOOKUP_TIMEOUT_MS = ADMISSION_TIMEOUT_MS - 500;
/** A lookup that never ends gives its place back after so long: a store that has lost some is asked again. */
const ABANDONED_MS = 60_000;

/** Calls back once after so many milliseconds, unless it was cancelled by calling what is returned. */
export type After = (ms: number, callback: () => void) => () => void;

export class StoreLookups {
  readonly #after: After;
  #underWay = 0;

  constructor(after: After) {
    this.#after = after;
  }

  /**
   * What `ask` answers; at once, if it does so. Throws or rejects with `ERR_STORE_BUSY`, `ERR_STORE_SILENT`, or what `ask` failed
   * with.
   */
  run<T>(ask: () => T | Promise<T>, timeoutMs = LOOKUP_TIMEOUT_MS): T | Promise<T> {
    if (this.#underWay >= MAX_AWAITED) {
      throw new GatewayError('ERR_STORE_BUSY', `${MAX_AWAITED} lookups in the store have no answer yet`);
    }
    const answer = ask();
    return answer instanceof Promise ? this.#bounded(answer, timeoutMs) : answer;
  }

  #bounded<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
    this.#underWay++;
    return new Promise((resolve, reject) => {
      let cancel = this.#after(timeoutMs, () => {
        cancel = this.#after(ABANDONED_MS, leave);
        reject(new GatewayError('ERR_STORE_SILENT', `the store gave no answer for ${timeoutMs} ms`));
      });
      let hasLeft = false;
      const leave = () => {
        cancel();
        if (!hasLeft) this.#underWay--;
        hasLeft = true;
      };
      answer.then(resolve, reject).finally(leave);
    });
  }
}
