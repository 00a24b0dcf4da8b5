// How long to wait before a URL is dialled again.

import type { Randomness } from '../../crng/randomness.js';

/** The first wait, in milliseconds; it doubles with each attempt. */
export const MIN_BACKOFF_MS = 250;
/** The longest wait. */
export const MAX_BACKOFF_MS = 30_000;
/** How often to look whether this clone may dial again. */
export const FRESHNESS_POLL_MS = 20;
/** How often whether a hold is over, if nothing is sent. */
export const HOLD_POLL_MS = 1_000;
/** A connection that stood so long, or brought a datagram, was a good one: the next wait is short again. */
export const GOOD_AFTER_MS = 10_000;
/** Datagrams kept while an attempt runs: the first handshake message need not wait for its retransmission. */
export const MAX_HELD_DATAGRAMS = 8;
/** How long an attempt may take, in milliseconds. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;

/** Half of the wait is certain, half is chance, a number in [0, 1), so that a crowd of clients does not come back as one. */
export function backoffMs(attempts: number, minMs: number, maxMs: number, chance: number): number {
  return (Math.min(maxMs, minMs * 2 ** attempts) / 2) * (1 + chance);
}

/** A number in [0, 1). Right after a fork there may be no fresh one, and a late one is not worth waiting for. */
export function jitter(randomness: Randomness): number {
  try {
    return randomness.uint32() / 2 ** 32;
  } catch {
    return 0.5;
  }
}
