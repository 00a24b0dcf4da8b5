// What a run found: every sample by implementation and metric, and what is made of them.
// Promises: plain JSON. A sample that failed is null and stays in its round, so that ratios are of one round.
// Read on: table.ts, svg.ts (how it is shown).

import { type Spread, spread } from '../row.js';
import type { Metric } from './metrics.js';

export interface Subject {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  /** By metric, then by round. */
  readonly samples: Readonly<Record<string, readonly (number | null)[]>>;
  /** What went wrong, in words. */
  readonly failures: readonly string[];
}

export interface TunnelReport {
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly kernel: string;
    /** The load average over a minute, before and after. Before, anything above 0 is others' work. */
    readonly load: readonly [number, number];
  };
  readonly date: string;
  readonly rounds: number;
  readonly secondsPerRun: number;
  readonly subjects: readonly Subject[];
  /** What was left out, and why. */
  readonly skipped: readonly string[];
}

/** The one that the others are compared with. */
export const OURS = 'wireonce';
/** Those that a goal is about: an old package is no rival. */
export const RIVALS: readonly string[] = ['wireguard-go', 'boringtun'];

/** Median and quartiles of what succeeded; undefined when nothing did. */
export function summary(subject: Subject, metric: Metric): Spread | undefined {
  const samples = (subject.samples[metric.id] ?? []).filter(sample => sample !== null);
  return samples.length === 0 ? undefined : spread(samples);
}

export interface Comparison {
  /** Ours by the better rival's, of each round by itself. */
  readonly ratio: Spread;
  readonly rival: string;
  readonly met: boolean;
}

/** Against the rival whose median is the better. Undefined where one of the two is missing. */
export function compare(report: TunnelReport, metric: Metric): Comparison | undefined {
  const ours = report.subjects.find(({ id }) => id === OURS);
  const sign = metric.better === 'more' ? -1 : 1;
  const medians = report.subjects
    .filter(({ id }) => RIVALS.includes(id))
    .flatMap(rival => {
      const median = summary(rival, metric)?.median;
      return median === undefined ? [] : [{ rival, median }];
    });
  const best = medians.toSorted((a, b) => sign * (a.median - b.median))[0]?.rival;
  if (!ours || !best) return undefined;
  const theirs = best.samples[metric.id];
  const ratios = (ours.samples[metric.id] ?? []).flatMap((sample, round) => {
    const their = theirs[round];
    return typeof sample === 'number' && typeof their === 'number' && their > 0 ? [sample / their] : [];
  });
  if (ratios.length === 0) return undefined;
  const ratio = spread(ratios);
  const met = metric.better === 'more' ? ratio.median >= metric.goal : ratio.median <= metric.goal;
  return { ratio, rival: best.name, met };
}
