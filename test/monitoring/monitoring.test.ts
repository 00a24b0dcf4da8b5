// The dashboard and the alert rules stand on what is exported, by name, label and value; each alert has its page.

import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it, test } from 'vitest';
import { type Exported, exported } from './exported.js';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

interface Target {
  readonly expr: string;
  readonly legendFormat: string;
}
interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly Target[];
}
const dashboard = JSON.parse(read('monitoring/dashboard.json')) as {
  readonly panels: readonly Panel[];
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
};
const panels = dashboard.panels.filter(({ type }) => type !== 'row');
const rules = read('monitoring/alerts.yml');
const expressionsOfRules = [...rules.matchAll(/^ {8}expr: (?:\|\n((?: {10}.*\n)+)|(.*)$)/gm)].map(
  ([, lines, line]) => lines ?? line,
);

/** What Prometheus adds to whatever it scrapes. */
const OF_THE_SCRAPE = ['job', 'instance'];

let known: Exported;
beforeAll(async () => {
  known = await exported();
});

/** What in an expression is not exported. */
function unknownIn(expr: string): string[] {
  const unknown: string[] = [];
  const names = [...expr.matchAll(/\b((?:wireonce|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)];
  const labelsOfAll = new Set(OF_THE_SCRAPE);
  for (const [, name, matchers = ''] of names) {
    const labels = known.get(name);
    if (!labels) unknown.push(name);
    for (const label of labels?.keys() ?? []) labelsOfAll.add(label);
    for (const [, label, operator, value] of matchers.matchAll(/(\w+)(=~|!=|!~|=)"([^"]*)"/g)) {
      const values = labels?.get(label);
      if (!values && !OF_THE_SCRAPE.includes(label)) unknown.push(`${name}{${label}}`);
      else if (values && operator === '=' && !values.has(value)) unknown.push(`${name}{${label}="${value}"}`);
    }
  }
  for (const [, list] of expr.matchAll(/\b(?:by|ignoring|on) \(([^)]*)\)/g))
    for (const label of list.split(/, */)) if (!labelsOfAll.has(label)) unknown.push(label);
  return unknown;
}

describe('the dashboard', () => {
  it('asks for what is exported', () => {
    const asked = [
      ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
      ...dashboard.annotations.list.map(({ expr }) => expr),
      ...dashboard.templating.list.flatMap(({ definition = [] }) => definition),
    ];
    expect(asked.length).toBeGreaterThan(30);
    for (const expr of asked) expect(unknownIn(expr), expr).toEqual([]);
  });

  it('names in its legends labels that the metrics have', () => {
    for (const { expr, legendFormat } of panels.flatMap(({ targets = [] }) => targets)) {
      const [, name] = /((?:wireonce|process|nodejs)_\w+)/.exec(expr) ?? [];
      const labels = [...(known.get(name)?.keys() ?? []), ...OF_THE_SCRAPE];
      for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) expect(labels, expr).toContain(label);
    }
  });

  it('has a title, a description, a unit and something to show in each panel, and each once', () => {
    for (const { title, description = '', fieldConfig, targets = [] } of panels) {
      expect(title).not.toBe('');
      expect(description.length, title).toBeGreaterThan(10);
      expect(fieldConfig?.defaults.unit, title).toMatch(/\w/);
      expect(targets.length, title).toBeGreaterThan(0);
    }
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
  });

  it('asks only for what is chosen above it', () => {
    for (const { expr } of panels.flatMap(({ targets = [] }) => targets)) {
      for (const [name] of expr.matchAll(/(?:wireonce|process|nodejs)_\w+/g)) {
        expect(expr, name).toMatch(new RegExp(`${name}\\{[^}]*job=~"\\$job", instance=~"\\$instance"`));
      }
    }
  });
});

describe('the alert rules', () => {
  it('ask for what is exported', () => {
    expect(expressionsOfRules.length).toBeGreaterThan(10);
    for (const expr of expressionsOfRules) {
      expect(expr).toMatch(/wireonce_|process_|\bup\{/);
      expect(unknownIn(expr), expr).toEqual([]);
    }
  });

  it('each has a heading in docs/monitoring.md, and no other has', () => {
    const alerts = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
    const headings = [...read('docs/monitoring.md').matchAll(/^### (Wireonce\w+)$/gm)].map(
      ([, name]) => name,
    );
    expect(headings.toSorted()).toEqual(alerts.toSorted());
  });
});

test.each([
  ['rate(wireonce_fork_total[5m])', ['wireonce_fork_total']],
  ['wireonce_drops_total{cause="x"}', ['wireonce_drops_total{cause}']],
  ['wireonce_protection{class="never"}', ['wireonce_protection{class="never"}']],
  ['sum by (peers) (wireonce_peer_session)', ['peers']],
  ['sum by (instance) (wireonce_peer_session{peer=~".*", job="x"})', []],
])('(control: %s is looked at)', (expr, unknown) => {
  expect(unknownIn(expr)).toEqual(unknown);
});

test('every metric has a row in docs/monitoring.md, with its type, and no other has', async () => {
  const { formatMetrics } = await import('../../tunnel/daemon/metrics-format.js');
  const { busyStatus } = await import('./exported.js');
  const types = [...(await formatMetrics(busyStatus())).matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(
    ([, name, type]) => `${name} ${type}`,
  );
  const rows = [...read('docs/monitoring.md').matchAll(/^\| `(\w+)`[^|]* \| (\w+) \|/gm)].map(
    ([, name, type]) => `${name} ${type}`,
  );
  expect(rows.toSorted()).toEqual(types.toSorted());
});
