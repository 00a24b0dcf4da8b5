// `npm run bench:tunnel`: whole tunnels, ours beside other userspace WireGuards, on this machine and in the same run.
// Promises: what it makes (namespaces, daemons, sockets) bears its name and is gone when it ends, however it ends.
// Read on: benchmark.ts (the order of things), steps.ts (what is done), implementations/ (with whom).

import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { type Candidate, benchmark } from './benchmark.js';
import { IMPLEMENTATIONS } from './implementations/index.js';
import { METRICS } from './metrics.js';
import { which } from './programs.js';
import type { TunnelReport } from './report.js';
import { type Effort, FULL, QUICK, STEPS } from './steps.js';
import { drawSvg } from './svg.js';
import { formatTable } from './table.js';
import { Undo } from './undo.js';

const NEEDED = ['ip', 'wg', 'iperf3', 'ping'];

const USAGE = `Usage: npm run bench:tunnel -- [options]

  --quick            fewer and shorter runs: rough figures, sooner
  --rounds N         rounds (${FULL.rounds})
  --seconds N        seconds of one run of iperf3 (${FULL.seconds})
  --with ID          only this implementation, again for more: ${IMPLEMENTATIONS.map(({ id }) => id).join(', ')}
  --step ID          only this step, again for more: ${STEPS.map(({ id }) => id).join(', ')}
  --json FILE        where the report goes (bench/results/tunnel.json)
  --svg FILE         where the chart goes (bench/results/tunnel.svg)
  --rebuild          build the newest of the others again

Needs root, and of Debian: iproute2 wireguard-tools iperf3 iputils-ping wireguard-go; libipsec-mb1 (libipsec-mb2 in
Debian 13) for ours at its fastest.
`;

const { values } = readArguments();
if (values.help) process.stdout.write(USAGE);
else await main();

function readArguments() {
  try {
    return parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        with: { type: 'string', multiple: true },
        step: { type: 'string', multiple: true },
        json: { type: 'string', default: 'bench/results/tunnel.json' },
        svg: { type: 'string', default: 'bench/results/tunnel.svg' },
        rebuild: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    return fail(`${(error as Error).message}\n${USAGE}`);
  }
}

async function main(): Promise<void> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) fail('it needs Linux, and root');
  const missing = NEEDED.filter(program => !which(program));
  if (missing.length > 0) fail(`not installed: ${missing.join(', ')}`);
  const steps = chosen(STEPS, values.step);
  const effort: Effort = {
    ...(values.quick ? QUICK : FULL),
    ...(values.rounds !== undefined && { rounds: positive('--rounds', values.rounds) }),
    ...(values.seconds !== undefined && { seconds: positive('--seconds', values.seconds) }),
  };
  const candidates: Candidate[] = [];
  const skipped: string[] = [];
  for (const implementation of chosen(IMPLEMENTATIONS, values.with)) {
    tell(`looking for ${implementation.name}`);
    const found = await implementation.find(values.rebuild);
    if ('reason' in found) skipped.push(`${implementation.name}: ${found.reason}`);
    else candidates.push({ implementation, found });
  }
  const loadBefore = loadavg()[0];
  const undo = new Undo();
  const subjects = await benchmark(candidates, steps, effort, undo, tell);
  undo.run();
  const report: TunnelReport = {
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown processor',
      cores: availableParallelism(),
      kernel: release().replace(/^(\d+\.\d+).*/, '$1'),
      load: [loadBefore, loadavg()[0]],
    },
    date: new Date().toISOString().slice(0, 10),
    rounds: effort.rounds,
    secondsPerRun: effort.seconds,
    subjects,
    skipped,
  };
  process.stdout.write(`${formatTable(report, METRICS)}\n`);
  write(values.json, `${JSON.stringify(report, null, 2)}\n`);
  write(values.svg, drawSvg(report));
}

function chosen<T extends { readonly id: string }>(
  all: readonly T[],
  ids: readonly string[] | undefined,
): T[] {
  for (const id of ids ?? []) if (!all.some(one => one.id === id)) fail(`unknown: ${id}\n${USAGE}`);
  return all.filter(({ id }) => !ids || ids.includes(id));
}

function positive(option: string, text: string): number {
  const value = Number(text);
  return value > 0 ? value : fail(`${option} wants a number above 0, not ${text}`);
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

function fail(message: string): never {
  process.stderr.write(`bench: ${message}\n`);
  process.exit(1);
}
