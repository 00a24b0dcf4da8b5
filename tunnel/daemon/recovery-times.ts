// How long peers took to come back after forks, and after drills, counted in buckets as a histogram wants it.
// Promises: of bounded size, however many forks and peers there are; counts only grow.
// Read on: sessions/recovery.ts (what is measured), metrics-format.ts (who shows it).

/** Upper bounds of the buckets, in seconds: from a round trip in one building to the wait for a peer's next call. */
export const RECOVERY_BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const;

/** As plain data. */
export interface RecoveryHistogram {
  /** For each bound those that took no longer and longer than the bound before; last those beyond every bound. */
  readonly counts: readonly number[];
  readonly sumMs: number;
}

export class RecoveryTimes {
  readonly #counts: number[] = Array.from({ length: RECOVERY_BUCKETS_S.length + 1 }, () => 0);
  #sumMs = 0;

  observe(ms: number): void {
    const at = RECOVERY_BUCKETS_S.findIndex(bound => ms <= 1_000 * bound);
    this.#counts[at < 0 ? RECOVERY_BUCKETS_S.length : at]++;
    this.#sumMs += ms;
  }

  get histogram(): RecoveryHistogram {
    return { counts: [...this.#counts], sumMs: this.#sumMs };
  }
}
