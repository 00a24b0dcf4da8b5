// Interleaved rounds: each candidate runs for a few milliseconds in turn, again and again, in one process.
// Promises: whoever was slowed down by the machine, its peers of that round were too; the order changes by the round.
// Read on: row.ts, where a ratio is taken round by round.

export interface Candidate {
  /** Does the work so many times. */
  run(times: number): void;
  /** Makes ready for so many times; not measured. */
  prepare?(times: number): void;
  /** The most that one round may do, where `prepare` has little room. */
  readonly maxTimes?: number;
  /** It is run a multiple of so many times, where it cannot do less at once. Default 1. */
  readonly step?: number;
}

export interface Effort {
  readonly rounds: number;
  /** Milliseconds for which one candidate runs in one round. Short against a time slice of the system's scheduler. */
  readonly roundMs: number;
  /** Milliseconds for which each candidate runs before anything counts, so that it is compiled. */
  readonly warmUpMs: number;
}

export const FULL: Effort = { rounds: 400, roundMs: 3, warmUpMs: 400 };
export const QUICK: Effort = { rounds: 60, roundMs: 2, warmUpMs: 150 };

/** Nanoseconds per time, of each candidate in each round: `result[candidate][round]`. */
export function measure(candidates: readonly Candidate[], effort: Effort): number[][] {
  const times = candidates.map(candidate => calibrate(candidate, effort));
  const samples = candidates.map((): number[] => []);
  for (let round = 0; round < effort.rounds; round++) {
    for (let turn = 0; turn < candidates.length; turn++) {
      const index = (round + turn) % candidates.length;
      samples[index].push(time(candidates[index], times[index]) / times[index]);
    }
  }
  return samples;
}

/** Warms a candidate up, and finds how often it runs in one round. */
function calibrate(candidate: Candidate, { roundMs, warmUpMs }: Effort): number {
  const { maxTimes: most = Number.MAX_SAFE_INTEGER, step = 1 } = candidate;
  let times = step;
  let best = Number.POSITIVE_INFINITY;
  for (let spentMs = 0; spentMs < warmUpMs; ) {
    const elapsedMs = Math.max(time(candidate, times) / 1e6, 1e-4);
    spentMs += elapsedMs;
    best = Math.min(best, elapsedMs / times);
    times = Math.min(most, step * Math.max(1, Math.round(roundMs / best / step)), 10 * times);
  }
  return times;
}

function time(candidate: Candidate, times: number): number {
  candidate.prepare?.(times);
  const start = performance.now();
  candidate.run(times);
  return (performance.now() - start) * 1e6;
}
