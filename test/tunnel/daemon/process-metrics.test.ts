// The process as Prometheus clients show it, against what Node says of it.

import { closeSync, openSync } from 'node:fs';
import { expect, test } from 'vitest';
import { eventLoopLag, processMetrics } from '../../../tunnel/daemon/process-metrics.js';

const value = (name: string) => processMetrics().find(metric => metric.name === name)?.value ?? Number.NaN;

test('has what the conventions name, once each', () => {
  expect(processMetrics().map(({ name, type }) => [name, type])).toEqual([
    ['process_cpu_seconds_total', 'counter'],
    ['process_resident_memory_bytes', 'gauge'],
    ['process_virtual_memory_bytes', 'gauge'],
    ['process_open_fds', 'gauge'],
    ['process_max_fds', 'gauge'],
    ['process_start_time_seconds', 'gauge'],
  ]);
});

test('memory is in bytes: less resident than mapped', () => {
  const resident = value('process_resident_memory_bytes');
  expect(resident).toBeGreaterThan(2 ** 24);
  expect(value('process_virtual_memory_bytes')).toBeGreaterThan(resident);
  expect(value('process_virtual_memory_bytes') % 4_096).toBe(0);
});

test('descriptors are counted as they are opened and closed, below the limit', () => {
  const before = value('process_open_fds');
  const fds = Array.from({ length: 20 }, () => openSync('/dev/null', 'r'));
  const during = value('process_open_fds');
  for (const fd of fds) closeSync(fd);
  // Others in this process may come and go meanwhile.
  expect(during - before).toBeGreaterThanOrEqual(10);
  expect(value('process_max_fds')).toBeGreaterThan(during);
});

test('it began in the past, in seconds, and has used processor time, which grows', () => {
  const age = Date.now() / 1_000 - value('process_start_time_seconds');
  expect(age).toBeGreaterThan(0);
  expect(age).toBeLessThan(86_400);
  const before = value('process_cpu_seconds_total');
  expect(before).toBeLessThan(86_400);
  const until = process.cpuUsage().user + 20_000;
  while (process.cpuUsage().user < until);
  expect(value('process_cpu_seconds_total') - before).toBeGreaterThanOrEqual(0.02);
});

test('the lag of the event loop is what it was held up by', async () => {
  const lag = eventLoopLag();
  const until = performance.now() + 30;
  while (performance.now() < until);
  expect(await lag).toBeGreaterThanOrEqual(0.03);
});
