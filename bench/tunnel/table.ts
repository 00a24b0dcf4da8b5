// The report for a reader: a table in Markdown, one line per metric, one column per implementation.
// Read on: report.ts (what the figures are).

import type { Spread } from '../row.js';
import type { Metric } from './metrics.js';
import { type TunnelReport, compare, summary } from './report.js';

/** `metrics`: the lines, in order. */
export function formatTable(report: TunnelReport, metrics: readonly Metric[]): string {
  const { machine, rounds, secondsPerRun, subjects, skipped, date } = report;
  const lines = [
    `${machine.cpu}, ${machine.cores} cores shared by all that runs, Linux ${machine.kernel}, ${date};`,
    `load ${machine.load.map(load => load.toFixed(1)).join(' before, ')} after. ` +
      `${rounds} interleaved rounds, runs of ${secondsPerRun} s: medians, quartiles in brackets.`,
    '',
    row(['', ...subjects.map(({ name, version }) => `${name} ${version}`), 'ours / best rival', 'goal']),
    row(['---', ...subjects.map(() => '--:'), '--:', '---']),
  ];
  for (const metric of metrics) {
    const cells = subjects.map(subject => cell(summary(subject, metric)));
    if (cells.every(text => text === '-')) continue;
    const comparison = compare(report, metric);
    const ratio = comparison ? `${ratioText(comparison.ratio)} (${comparison.rival})` : '-';
    const verdict = comparison ? `${goalText(metric)}: ${comparison.met ? 'met' : 'MISSED'}` : '-';
    lines.push(row([`${metric.title} (${metric.unit})`, ...cells, ratio, verdict]));
  }
  lines.push('');
  for (const reason of skipped) lines.push(`Not measured: ${reason}.`);
  for (const { name, failures } of subjects) {
    for (const failure of failures) lines.push(`Failed: ${name}: ${failure.trim()}`);
  }
  return lines.join('\n').trimEnd();
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

function goalText({ better, goal }: Metric): string {
  return better === 'more' ? `at least ${goal}` : `at most ${goal}`;
}

function ratioText({ median, low, high }: Spread): string {
  return `${median.toFixed(2)} [${low.toFixed(2)} - ${high.toFixed(2)}]`;
}

function cell(figures: Spread | undefined): string {
  if (!figures) return '-';
  return `${amount(figures.median)} [${amount(figures.low)} - ${amount(figures.high)}]`;
}

/** Three digits that mean something. */
export function amount(value: number): string {
  if (value >= 1_000) return Math.round(value).toLocaleString('en');
  if (value >= 100) return value.toFixed(0);
  if (value >= 10) return value.toFixed(1);
  return value.toFixed(2);
}
