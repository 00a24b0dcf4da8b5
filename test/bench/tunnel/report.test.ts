// What is made of the samples: medians, ratios of one round, verdicts; the table and the picture of them.

import { expect, test } from 'vitest';
import { METRICS } from '../../../bench/tunnel/metrics.js';
import { type Subject, type TunnelReport, compare, summary } from '../../../bench/tunnel/report.js';
import { drawSvg } from '../../../bench/tunnel/svg.js';
import { amount, formatTable } from '../../../bench/tunnel/table.js';

const TCP = METRICS[0];
const CPU = METRICS[1];

function subject(id: string, samples: Subject['samples'], failures: string[] = []): Subject {
  return { id, name: id, version: '1', samples, failures };
}

function report(...subjects: Subject[]): TunnelReport {
  return {
    machine: { cpu: 'a <fast> processor', cores: 2, kernel: '6.1', load: [0, 3.25] },
    date: '2026-01-01',
    rounds: 3,
    secondsPerRun: 4,
    subjects,
    skipped: ['boringtun: no Cargo'],
  };
}

test('the metrics bear different names, and the first two are those of one stream', () => {
  expect(new Set(METRICS.map(({ id }) => id)).size).toBe(METRICS.length);
  expect([TCP.id, CPU.id]).toEqual(['tcp-1', 'tcp-1-cpu']);
});

test('a failed sample is left out of the median', () => {
  expect(summary(subject('a', { 'tcp-1': [10, null, 30] }), TCP)).toEqual({ median: 20, low: 15, high: 25 });
  expect(summary(subject('a', { 'tcp-1': [null] }), TCP)).toBeUndefined();
  expect(summary(subject('a', {}), TCP)).toBeUndefined();
});

test('a ratio is of samples of one round, against the better rival', () => {
  const found = compare(
    report(
      subject('wireonce', { 'tcp-1': [100, 20, 300] }),
      subject('wireguard-go', { 'tcp-1': [50, 10, null] }),
      subject('boringtun', { 'tcp-1': [1, 1, 1] }),
    ),
    TCP,
  );
  expect(found).toMatchObject({ rival: 'wireguard-go', ratio: { median: 2 }, met: true });
});

test('where less is better the rival with the least counts, and the goal is a ceiling', () => {
  const of = (ours: number) =>
    compare(
      report(
        subject('wireonce', { 'tcp-1-cpu': [ours] }),
        subject('wireguard-go', { 'tcp-1-cpu': [5] }),
        subject('boringtun', { 'tcp-1-cpu': [4] }),
      ),
      CPU,
    );
  expect(of(4)).toMatchObject({ rival: 'boringtun', ratio: { median: 1 }, met: true });
  expect(of(4.4)?.met).toBe(false);
});

test('an old package is no rival, and without ours there is no comparison', () => {
  const old = subject('wireguard-go-debian', { 'tcp-1': [1] });
  expect(compare(report(subject('wireonce', { 'tcp-1': [1] }), old), TCP)).toBeUndefined();
  expect(compare(report(subject('boringtun', { 'tcp-1': [1] })), TCP)).toBeUndefined();
});

test('the table says each figure, each verdict, what was left out and what failed', () => {
  const text = formatTable(
    report(
      subject('wireonce', { 'tcp-1': [1_234.4, 1_234.4, 1_234.4] }, ['udp-64: it ended']),
      subject('wireguard-go', { 'tcp-1': [1_000, 1_000, 1_000], 'udp-64': [5, 5, 5] }),
    ),
    METRICS,
  );
  expect(text).toContain(
    '| TCP, 1 stream (Mbit/s) | 1,234 [1,234 - 1,234] | 1,000 [1,000 - 1,000] ' +
      '| 1.23 [1.23 - 1.23] (wireguard-go) | at least 1.5: MISSED |',
  );
  expect(text).toContain('| UDP, packets of 64 bytes (packets/s) | - | 5.00 [5.00 - 5.00] | - | - |');
  expect(text).not.toContain('ping flood');
  expect(text).toContain('Not measured: boringtun: no Cargo.');
  expect(text).toContain('Failed: wireonce: udp-64: it ended');
});

test('figures keep three digits', () => {
  expect([0.5, 12.34, 123.4, 1_234_567].map(amount)).toEqual(['0.50', '12.3', '123', '1,234,567']);
});

test('the picture has a bar for each figure, says where one is missing, and is well-formed', () => {
  const picture = drawSvg(
    report(subject('wireonce', { 'tcp-1': [200] }), subject('a & b', { 'tcp-1': [100], 'ping-p99': [7] })),
  );
  expect(picture.match(/<rect /g)).toHaveLength(3);
  expect(picture.match(/class="ours"/g)).toHaveLength(1);
  expect(picture).toContain('not measured');
  expect(picture).toContain('a &amp; b');
  expect(picture).toContain('&lt;fast&gt;');
  const widths = Array.from(picture.matchAll(/width="([\d.]+)" height="16"/g), ([, width]) => Number(width));
  expect(widths[0]).toBeCloseTo(2 * widths[1], 0);
  expect(picture).not.toContain('NaN');
  // Every element that opens closes.
  const open = picture.match(/<(?!\/)\w+(?:[^>]*[^/])?>/g) ?? [];
  const closed = picture.match(/<\/\w+>/g) ?? [];
  expect(open).toHaveLength(closed.length);
});
