// The alert rules, and what a daemon exports, before Prometheus's own tool.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { formatMetrics } from '../../../tunnel/daemon/metrics-format.js';
import { busyStatus } from '../../monitoring/exported.js';

const RULES = fileURLToPath(new URL('../../../monitoring/alerts.yml', import.meta.url));
const HISTORIES = fileURLToPath(new URL('./alerts.test.yml', import.meta.url));

function promtool(args: readonly string[], input = '') {
  const { status, stdout, stderr, error } = spawnSync('promtool', args, { encoding: 'utf8', input });
  if (error) throw error;
  return { status, said: stdout + stderr };
}

test('promtool takes the rules', () => {
  expect(promtool(['check', 'rules', '--lint-fatal', RULES])).toMatchObject({ status: 0 });
});

test('each alert fires where it should, after its time, and rests where all is well', () => {
  const histories = readFileSync(HISTORIES, 'utf8');
  const alerts = [...readFileSync(RULES, 'utf8').matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
  expect(alerts.length).toBeGreaterThan(10);
  for (const alert of alerts) {
    const of = histories.split('\n').filter(line => new RegExp(`alertname: ${alert}\\b`).test(line));
    // It fires, has not fired before, and does not where all is well.
    expect(of.length, alert).toBeGreaterThanOrEqual(3);
  }
  expect(promtool(['test', 'rules', HISTORIES])).toMatchObject({ status: 0 });
});

test('control: a rule that never fires, and one that always does, are noticed', () => {
  const folder = mkdtempSync(join(tmpdir(), 'wireonce-rules-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const rules = join(folder, 'alerts.yml');
  const histories = join(folder, 'alerts.test.yml');
  writeFileSync(
    histories,
    readFileSync(HISTORIES, 'utf8').replace(/^rule_files: .*/m, `rule_files: [${rules}]`),
  );
  for (const never of ['> 1e9', '>= 0']) {
    writeFileSync(
      rules,
      readFileSync(RULES, 'utf8').replace('wireonce_stale_keypairs > 0', `wireonce_stale_keypairs ${never}`),
    );
    expect(promtool(['test', 'rules', histories])).toMatchObject({ status: 1 });
  }
});

test('promtool finds nothing to mend in what a daemon exports', async () => {
  const text = await formatMetrics(busyStatus());
  expect(promtool(['check', 'metrics'], text)).toEqual({ status: 0, said: '' });
  // Control: it looks.
  expect(
    promtool(['check', 'metrics'], text.replaceAll('wireonce_forks_total', 'wireonce_forks')).status,
  ).not.toBe(0);
});
