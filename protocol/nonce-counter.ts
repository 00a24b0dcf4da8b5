// The sending counter of a keypair: each value is handed out once, and then it is gone.
// Promises: exact up to REJECT_AFTER_MESSAGES without a bigint on the way; the count lives in caller-given (shared)
// memory and never steps back, not even between the two stores of a carry.
// Read on: WireGuard paper 5.4.6 and 6.2; Linux noise.h atomic64_t sending_counter.

import { REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES } from './constants.js';
import { ProtocolError } from './errors.js';

const U32_MAX = 0xffff_ffff;
const REJECT_HIGH = Number(REJECT_AFTER_MESSAGES >> 32n);
const REJECT_LOW = Number(REJECT_AFTER_MESSAGES & 0xffff_ffffn);
const REKEY_HIGH = Number(REKEY_AFTER_MESSAGES >> 32n);
const REKEY_LOW = Number(REKEY_AFTER_MESSAGES & 0xffff_ffffn);

/** The 64-bit counter of a sending key: what is spent stays spent. */
export class NonceCounter {
  readonly #next: Uint32Array;
  #low = 0;
  #high = 0;

  /** `next` holds the next counter, low word first: two words of zeros for a new keypair. */
  constructor(next: Uint32Array) {
    if (next.length !== 2) throw new ProtocolError('ERR_LENGTH', `a counter has 2 words, not ${next.length}`);
    this.#next = next;
  }

  /**
   * Takes the next counter: `low` and `high` are then this one, and nobody gets it again, whether or not a message
   * is sealed under it. False, with nothing taken, when REJECT_AFTER_MESSAGES is reached.
   */
  spend(): boolean {
    const next = this.#next;
    const low = next[0];
    const high = next[1];
    if (high >= REJECT_HIGH && low >= REJECT_LOW) return false;
    if (low === U32_MAX) {
      // High word first: a machine copied between the two stores skips 2^32 counters and repeats none.
      next[1] = high + 1;
      next[0] = 0;
    } else {
      next[0] = low + 1;
    }
    this.#low = low;
    this.#high = high;
    return true;
  }

  /** Ends the counter: `spend` is false from now on. For a keypair whose keys are erased. */
  retire(): void {
    this.#next[1] = REJECT_HIGH;
    this.#next[0] = REJECT_LOW;
  }

  /** The low word of the counter spent last. */
  get low(): number {
    return this.#low;
  }

  /** The high word of the counter spent last. */
  get high(): number {
    return this.#high;
  }

  /** Whether more than REKEY_AFTER_MESSAGES counters are spent: time for new keys (paper 6.2). */
  isPastRekeyLimit(): boolean {
    const high = this.#next[1];
    return high > REKEY_HIGH || (high === REKEY_HIGH && this.#next[0] > REKEY_LOW);
  }

  /** Whether REJECT_AFTER_MESSAGES is reached: this keypair never seals again. */
  isExhausted(): boolean {
    return this.#next[1] >= REJECT_HIGH && this.#next[0] >= REJECT_LOW;
  }

  /** The next counter, which is the number spent so far. For reading: it allocates. */
  get value(): bigint {
    return (BigInt(this.#next[1]) << 32n) | BigInt(this.#next[0]);
  }
}
