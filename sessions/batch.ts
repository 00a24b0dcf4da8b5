// What many packets between `cork` and `uncork` share: one reading of the generation before them, one of the clock.
// Promises: what is read once is used for data alone; a fork noticed meanwhile, by whoever, is in force for the next
// packet; the reading that matters, after the last was sealed, is the release gate's and stays.
// Read on: release.ts; docs/architecture.md "Why no nonce is used twice".

import { NO_EPOCH } from '../vmgenid/generation.js';
import type { Context } from './context.js';
import { enter } from './fork-response.js';

export class Batch {
  #corks = 0;
  /** Whether generation and clock were read for this batch, with somebody to vouch for the generation. */
  hasEntered = false;
  /** Monotonic milliseconds at the last entrance. */
  now = 0;

  get isOpen(): boolean {
    return this.#corks > 0;
  }

  /** Calls may nest: the outermost opens the batch. */
  open(): void {
    this.#corks++;
  }

  /** The outermost closes the batch; one too many does no harm. */
  close(): void {
    if (this.#corks > 0) this.#corks--;
    if (this.#corks === 0) this.hasEntered = false;
  }
}

/**
 * As `enter`, for a data packet: reads the generation and, into `context.batch.now`, the clock; but within a batch only
 * for its first packet. Returns the epoch that this device is in, or NO_EPOCH when nothing vouches for it.
 */
export function enterForData(context: Context): number {
  const { batch } = context;
  if (batch.hasEntered) return context.epoch;
  const epoch = enter(context);
  batch.now = context.clock.now();
  batch.hasEntered = batch.isOpen && epoch !== NO_EPOCH;
  return epoch;
}
