// Which counters of a receiving key were accepted already: a ring of bits that moves with the highest one.
// Promises: no counter is accepted twice, nor one that is more than the window behind; exact for all 64 bits, without
// an allocation. Mark a counter (`accept`) only after its message was authentic: a forger must not move the window.
// Read on: RFC 6479; Linux receive.c counter_validate().

import { REJECT_AFTER_MESSAGES } from './constants.js';

/** Bits in the ring. A power of two. */
export const RING_BITS = 8192;
const RING_WORDS = RING_BITS / 32;
const WORD_MASK = RING_WORDS - 1;
/** Number of a 32-bit word among all that 2^32 counters fill. */
const WORD_NUMBER_MASK = 2 ** 27 - 1;

/**
 * A counter may be this far behind the highest. As in every WireGuard with 64-bit words, where the word that the
 * highest counter begins holds no old ones; our 32-bit words could keep 32 more.
 */
export const REPLAY_WINDOW = RING_BITS - 64;

const REJECT_HIGH = Number(REJECT_AFTER_MESSAGES >> 32n);
const REJECT_LOW = Number(REJECT_AFTER_MESSAGES & 0xffff_ffffn);

/** Counters are given as two unsigned 32-bit words. */
export class ReplayFilter {
  readonly #ring = new Uint32Array(RING_WORDS);
  #highestLow = 0;
  #highestHigh = 0;

  /** Whether `accept` would take this counter now. Changes nothing: spares the cipher work on a sure replay. */
  check(high: number, low: number): boolean {
    if (high >= REJECT_HIGH && low >= REJECT_LOW) return false;
    const ahead = this.#ahead(high, low);
    if (ahead > 0) return true;
    if (ahead < -REPLAY_WINDOW) return false;
    return (this.#ring[(low >>> 5) & WORD_MASK] & (1 << (low & 31))) === 0;
  }

  /** Marks a counter whose message was authentic. False, with nothing changed, for a replay or one too old. */
  accept(high: number, low: number): boolean {
    if (!this.check(high, low)) return false;
    const ahead = this.#ahead(high, low);
    if (ahead > 0) {
      this.#clearUpTo(low, ahead);
      this.#highestHigh = high;
      this.#highestLow = low;
    }
    this.#ring[(low >>> 5) & WORD_MASK] |= 1 << (low & 31);
    return true;
  }

  /** Whether this counter was accepted and is not too far behind to be remembered. */
  accepted(high: number, low: number): boolean {
    const ahead = this.#ahead(high, low);
    if (ahead > 0 || ahead < -REPLAY_WINDOW) return false;
    return (this.#ring[(low >>> 5) & WORD_MASK] & (1 << (low & 31))) !== 0;
  }

  // How far a counter is ahead of the highest one. A double rounds differences above 2^53, but never across a small
  // number such as 0 or the window, and it is with these alone that the result is compared.
  #ahead(high: number, low: number): number {
    return (high - this.#highestHigh) * 2 ** 32 + (low - this.#highestLow);
  }

  // The words between the highest counter and the new one still hold bits of a lap ago.
  #clearUpTo(low: number, ahead: number): void {
    if (ahead >= RING_BITS) {
      this.#ring.fill(0);
      return;
    }
    const from = this.#highestLow >>> 5;
    const words = ((low >>> 5) - from) & WORD_NUMBER_MASK;
    for (let i = 1; i <= words; i++) this.#ring[(from + i) & WORD_MASK] = 0;
  }
}
