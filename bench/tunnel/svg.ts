// The report as a picture for the README: one small chart per metric, a bar for each implementation.
// Promises: one file without scripts or fonts from elsewhere, readable on a light and on a dark page.
// Read on: report.ts (what the figures are), table.ts (all of them).

import { METRICS, type Metric } from './metrics.js';
import { OURS, type Subject, type TunnelReport, summary } from './report.js';
import { amount } from './table.js';

/** What is worth a picture. */
const CHARTS: readonly string[] = [
  'tcp-1',
  'tcp-4',
  'tcp-1-cpu',
  'udp-64',
  'udp-512',
  'udp-1420',
  'ping-median',
  'ping-p99',
];

const COLUMNS = 2;
const WIDTH = 840;
const CHART_WIDTH = WIDTH / COLUMNS;
const MARGIN = 16;
const TITLE_HEIGHT = 28;
const BAR_HEIGHT = 16;
const BAR_STEP = 22;
const LABEL_WIDTH = 140;
const VALUE_WIDTH = 72;
const HEADER_HEIGHT = 20;

const STYLE = `
    text { font: 12px system-ui, sans-serif; fill: #24292f }
    .title { font-weight: 600 }
    .small { font-size: 11px; fill: #57606a }
    .bar { fill: #afb8c1 }
    .ours { fill: #1f6feb }
    .spread { stroke: #24292f; stroke-width: 1.5 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .small { fill: #8b949e }
      .bar { fill: #484f58 }
      .ours { fill: #388bfd }
      .spread { stroke: #e6edf3 }
    }
  `;

export function drawSvg(report: TunnelReport): string {
  const metrics = METRICS.filter(
    metric => CHARTS.includes(metric.id) && report.subjects.some(subject => summary(subject, metric)),
  );
  const chartHeight = TITLE_HEIGHT + report.subjects.length * BAR_STEP + MARGIN;
  const height = HEADER_HEIGHT + Math.ceil(metrics.length / COLUMNS) * chartHeight + MARGIN;
  const { machine, date, rounds } = report;
  const heading =
    `Medians of ${rounds} interleaved rounds, with quartiles. Both ends on ${machine.cores} cores of ` +
    `${machine.cpu}, Linux ${machine.kernel}, ${date}`;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">`,
    `  <title>Speed of userspace WireGuards</title>`,
    `  <style>${STYLE}</style>`,
    text(MARGIN, HEADER_HEIGHT - 4, heading, 'small'),
  ];
  for (const [i, metric] of metrics.entries()) {
    const x = (i % COLUMNS) * CHART_WIDTH + MARGIN;
    const y = HEADER_HEIGHT + Math.floor(i / COLUMNS) * chartHeight;
    parts.push(...chart(metric, report.subjects, x, y));
  }
  parts.push('</svg>', '');
  return parts.join('\n');
}

function chart(metric: Metric, subjects: readonly Subject[], x: number, y: number): string[] {
  const longest = Math.max(...subjects.map(subject => summary(subject, metric)?.high ?? 0));
  const room = CHART_WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH;
  const scale = longest > 0 ? room / longest : 0;
  const left = x + LABEL_WIDTH;
  const parts = [
    text(x, y + TITLE_HEIGHT - 8, `${metric.title}, ${metric.unit} (${metric.better} is better)`, 'title'),
  ];
  for (const [i, subject] of subjects.entries()) {
    const top = y + TITLE_HEIGHT + i * BAR_STEP;
    const middle = top + BAR_HEIGHT / 2;
    parts.push(text(x, middle + 4, subject.name));
    const figures = summary(subject, metric);
    if (!figures) {
      parts.push(text(left, middle + 4, 'not measured', 'small'));
      continue;
    }
    const { median, low, high } = figures;
    const name = subject.id === OURS ? 'ours' : 'bar';
    parts.push(
      `  <rect class="${name}" x="${left}" y="${top}" width="${round(median * scale)}" height="${BAR_HEIGHT}"/>`,
      `  <path class="spread" d="M${round(left + low * scale)} ${middle}H${round(left + high * scale)}"/>`,
      text(round(left + Math.max(high, median) * scale + 6), middle + 4, amount(median)),
    );
  }
  return parts;
}

function text(x: number, y: number, words: string, name?: string): string {
  const attribute = name ? ` class="${name}"` : '';
  return `  <text${attribute} x="${x}" y="${y}">${escapeXml(words)}</text>`;
}

function escapeXml(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
