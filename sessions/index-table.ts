// The index table: what a message's receiver index stands for.
// Promises: indices are random, so that they tell an observer nothing, and no two entries of a table share one.
// Read on: WireGuard paper 5.4.2; Linux drivers/net/wireguard/peerlookup.c wg_index_hashtable_insert().

import type { Randomness } from '../crng/randomness.js';
import { SessionError } from './errors.js';

/**
 * Draws before `insert` gives up. With 2^20 entries a draw hits one of them once in 2^12 times: that many in a row is
 * a broken generator, and better said than waited for.
 */
export const MAX_INDEX_DRAWS = 64;

export class IndexTable<T> {
  // By the signed integer of the same bits: half of the unsigned ones do not fit the engine's small integers, and to look
  // one of these up is to allocate.
  readonly #entries = new Map<number, T>();

  get size(): number {
    return this.#entries.size;
  }

  /**
   * Puts `value` under a random index that no other entry has, and returns it: an unsigned 32-bit integer. Throws
   * `SessionError` (`ERR_INDEX_EXHAUSTED`) when every draw is taken, and whatever `random` throws; the table is then
   * as before.
   */
  insert(value: T, random: Randomness): number {
    for (let draw = 0; draw < MAX_INDEX_DRAWS; draw++) {
      const index = random.uint32() >>> 0;
      if (this.#entries.has(index | 0)) continue;
      this.#entries.set(index | 0, value);
      return index;
    }
    throw new SessionError(
      'ERR_INDEX_EXHAUSTED',
      `no free index in ${MAX_INDEX_DRAWS} draws of ${this.size} taken`,
    );
  }

  lookup(index: number): T | undefined {
    return this.#entries.get(index | 0);
  }

  /** Hands an index on, as from a handshake to its keypair. False when the index is not in use: nothing is added. */
  replace(index: number, value: T): boolean {
    if (!this.#entries.has(index | 0)) return false;
    this.#entries.set(index | 0, value);
    return true;
  }

  /** Frees an index. False when it was not in use. */
  remove(index: number): boolean {
    return this.#entries.delete(index | 0);
  }

  clear(): void {
    this.#entries.clear();
  }
}
