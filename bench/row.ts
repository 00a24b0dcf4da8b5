// What a measurement says: a figure with its spread, and where there is one, its ratio to a peer of the same run.
// Promises: every row is plain JSON and says in words what it is a ratio to. Nothing here measures.
// Read on: measure.ts (where the samples come from), table.ts (how rows are printed).

/** The median of the samples, and the quartiles on both sides of it. */
export interface Spread {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

export interface Peer extends Spread {
  readonly name: string;
}

export interface Goal {
  /** What was wished for, in words. */
  readonly text: string;
  readonly met: boolean;
}

export interface Row {
  readonly section: string;
  readonly name: string;
  /** The suite of primitives, where one is at work. */
  readonly suite?: string;
  readonly unit: 'ns' | 'ms' | 'bytes';
  readonly value: Spread;
  /** How many samples the figures come from. */
  readonly samples: number;
  /** What was measured beside it, in turns, in the same process. */
  readonly peer?: Peer;
  /** Ours by the peer's, of each round by itself: what slows a whole round down cancels out. */
  readonly ratio?: Spread;
  readonly goal?: Goal;
  readonly note?: string;
}

export interface Report {
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly node: string;
    readonly platform: string;
    /** The machine's load average over a minute, when the run began: above the number of cores, distrust it. */
    readonly load: number;
  };
  readonly quick: boolean;
  readonly rows: readonly Row[];
  /** What could not be measured here, and why. */
  readonly skipped: readonly string[];
}

export function spread(samples: readonly number[]): Spread {
  const sorted = samples.toSorted((a, b) => a - b);
  return { median: quantile(sorted, 0.5), low: quantile(sorted, 0.25), high: quantile(sorted, 0.75) };
}

/** The element at this share of a sorted list; between two elements, their mean by distance. */
export function quantile(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share;
  const below = Math.floor(at);
  const above = Math.ceil(at);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
}

export interface Subject {
  readonly section: string;
  readonly name: string;
  readonly suite?: string;
  readonly note?: string;
}

/** A row of nanoseconds per operation, by itself. */
export function plainRow(subject: Subject, samples: readonly number[]): Row {
  return { ...subject, unit: 'ns', value: spread(samples), samples: samples.length };
}

/** A row of nanoseconds per operation beside its peer. `maxRatio`: the goal, if there is one. */
export function ratioRow(
  subject: Subject,
  ours: readonly number[],
  peer: { readonly name: string; readonly samples: readonly number[] },
  maxRatio?: number,
): Row {
  const ratio = spread(ours.map((sample, round) => sample / peer.samples[round]));
  return {
    ...plainRow(subject, ours),
    peer: { name: peer.name, ...spread(peer.samples) },
    ratio,
    ...(maxRatio !== undefined && {
      goal: { text: `ratio under ${maxRatio}`, met: ratio.median < maxRatio },
    }),
  };
}
