// The report for a reader: one line per row, and what each ratio is a ratio to.

import type { Report, Row, Spread } from './row.js';

const NAME_WIDTH = 52;
const VALUE_WIDTH = 32;
/** A note longer than this stands under the table, once. */
const NOTE_WIDTH = 20;

export function formatReport(report: Report): string {
  const { cpu, cores, node, platform, load } = report.machine;
  const lines = [
    `${cpu}, ${cores} cores, ${platform}, Node ${node}, load ${load.toFixed(1)}${report.quick ? ', quick' : ''}`,
    'Medians, with quartiles in brackets. A ratio is ours by the peer named after it, round by round.',
  ];
  let heading = '';
  for (const row of report.rows) {
    const title = row.suite ? `${row.section}, suite ${row.suite}` : row.section;
    if (title !== heading) lines.push('', title);
    heading = title;
    lines.push(formatRow(row));
  }
  const notes = new Set(report.rows.flatMap(row => (isRemark(row) ? [row.note] : [])));
  if (notes.size > 0 || report.skipped.length > 0) lines.push('');
  for (const note of notes) lines.push(`Note: ${note}.`);
  for (const reason of report.skipped) lines.push(`Not measured: ${reason}.`);
  return lines.join('\n');
}

function isRemark(row: Row): row is Row & { note: string } {
  return row.note !== undefined && row.note.length > NOTE_WIDTH;
}

function formatRow(row: Row): string {
  const value = spreadText(row.value, figure => amount(figure, row.unit));
  const parts = [`  ${row.name.padEnd(NAME_WIDTH)} ${value.padEnd(VALUE_WIDTH)}`];
  if (row.peer && row.ratio) {
    const ratio = spreadText(row.ratio, figure => figure.toFixed(2));
    parts.push(`${ratio} x ${row.peer.name} (${amount(row.peer.median, row.unit)})`);
  }
  if (row.note !== undefined && !isRemark(row)) parts.push(row.note);
  if (row.goal) parts.push(`goal ${row.goal.text}: ${row.goal.met ? 'met' : 'MISSED'}`);
  return parts.join('  ').trimEnd();
}

function spreadText({ median, low, high }: Spread, format: (figure: number) => string): string {
  return low === high ? format(median) : `${format(median)} [${format(low)} - ${format(high)}]`;
}

function amount(value: number, unit: Row['unit']): string {
  if (unit === 'bytes') return `${Math.round(value).toLocaleString('en')} B`;
  if (unit === 'ms') return `${value.toFixed(value < 1 ? 3 : 1)} ms`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} ms`;
  return value >= 10_000 ? `${(value / 1_000).toFixed(1)} us` : `${value.toFixed(0)} ns`;
}
