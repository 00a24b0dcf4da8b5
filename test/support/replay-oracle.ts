// The readable twin of the replay filter: a set of what was accepted, and one rule. Slow, and easy to believe.

import { REJECT_AFTER_MESSAGES } from '../../protocol/constants.js';

const WINDOW = 8128n;

export class ReplayOracle {
  readonly #accepted = new Set<bigint>();
  #highest = 0n;

  check(counter: bigint): boolean {
    return (
      counter < REJECT_AFTER_MESSAGES && counter + WINDOW >= this.#highest && !this.#accepted.has(counter)
    );
  }

  accept(counter: bigint): boolean {
    if (!this.check(counter)) return false;
    this.#accepted.add(counter);
    if (counter > this.#highest) this.#highest = counter;
    return true;
  }
}
