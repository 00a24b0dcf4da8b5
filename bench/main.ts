// `npm run bench`: what things cost, each measured beside a peer in the same run.
// Promises: every section and suite has a process of its own, so that none meets code compiled, or memory taken, for
// another. The table goes to standard output, unless `--json -` sends the report there.
// Read on: measure.ts (how), sections/ (what).

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Suite } from '../protocol/suite.js';
import { loadIpsecMbSuite } from '../protocol/suites/ipsec-mb.js';
import { nobleSuite } from '../protocol/suites/noble.js';
import { fastestSuite } from '../protocol/suites/fastest.js';
import { loadOpensslSuite } from '../protocol/suites/openssl.js';
import { loadSodiumSuite } from '../protocol/suites/sodium.js';
import { FULL, QUICK } from './measure.js';
import type { Report, Row } from './row.js';
import { SECTIONS } from './sections/index.js';
import { formatReport } from './table.js';

const USAGE = `Usage: npm run bench -- [--quick] [--json FILE|-] [--only SECTION]...

  --quick         fewer and shorter rounds: rough figures, sooner
  --json FILE     write the report as JSON too; - writes it to standard output, and no table
  --only SECTION  one of: ${Object.keys(SECTIONS).join(', ')}
`;

const { values } = readArguments();
if (values.help) process.stdout.write(USAGE);
else if (values.suite === undefined) await runAll();
else process.stdout.write(JSON.stringify(await runOne(values.only?.[0] ?? '', values.suite)));

function readArguments() {
  try {
    return parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        json: { type: 'string' },
        only: { type: 'string', multiple: true },
        help: { type: 'boolean', short: 'h', default: false },
        // Set in the process of one section.
        suite: { type: 'string' },
      },
    });
  } catch (error) {
    return fail(`${(error as Error).message}\n${USAGE}`);
  }
}

async function runAll(): Promise<void> {
  const names = values.only ?? Object.keys(SECTIONS);
  for (const name of names) if (!Object.hasOwn(SECTIONS, name)) fail(`no section ${name}\n${USAGE}`);
  const machine = {
    cpu: cpus()[0]?.model ?? 'unknown processor',
    cores: availableParallelism(),
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
    load: loadavg()[0],
  };
  const suites = await loadSuites();
  const rows: Row[] = [];
  for (const name of names) {
    for (const suite of SECTIONS[name].suites === 'each' ? suites : suites.slice(0, 1)) {
      process.stderr.write(`measuring ${name}, ${suite.name} ...\n`);
      rows.push(...spawnSection(name, suite.name));
    }
  }
  const skipped = ['ipsec-mb', 'openssl', 'sodium']
    .filter(name => suites.every(suite => suite.name !== name))
    .map(name => `suite ${name}: does not load here`);
  const report: Report = { machine, quick: values.quick, rows, skipped };
  if (values.json === '-') {
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    return;
  }
  process.stdout.write(`${formatReport(report)}\n`);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
}

/** The suites that load here, the fastest first. */
async function loadSuites(): Promise<Suite[]> {
  const loaded = [
    await fastestSuite(),
    await loadIpsecMbSuite(),
    await loadOpensslSuite(),
    await loadSodiumSuite(),
    nobleSuite,
  ];
  const suites = new Map(loaded.filter(suite => suite !== undefined).map(suite => [suite.name, suite]));
  return [...suites.values()];
}

function spawnSection(name: string, suite: string): Row[] {
  const args = ['--expose-gc', fileURLToPath(import.meta.url), '--only', name, '--suite', suite];
  if (values.quick) args.push('--quick');
  const child = spawnSync(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (child.status !== 0) fail(`section ${name} with suite ${suite} failed`);
  return JSON.parse(child.stdout) as Row[];
}

async function runOne(name: string, suiteName: string): Promise<Row[]> {
  const suites = await loadSuites();
  const suite = suites.find(candidate => candidate.name === suiteName);
  if (!suite) return fail(`no suite ${suiteName}`);
  const isFastest = suite === suites[0];
  const effort = values.quick ? QUICK : FULL;
  return SECTIONS[name].run({ suite, isFastest, effort, forks: values.quick ? 1 : 3 });
}

function fail(message: string): never {
  process.stderr.write(`bench: ${message}\n`);
  process.exit(1);
}
