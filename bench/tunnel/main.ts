// `npm run bench:tunnel`: whole tunnels, ours beside other userspace WireGuards, on this machine and in the same run.
// Promises: what it makes (namespaces, daemons, sockets) bears its name and is gone when it ends, however it ends.
// Read on: benchmark.ts (the order of things), steps.ts (what is done), implementations/ (with whom).

import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { benchmark } from './benchmark.js';
import {
  IMPLEMENTATION_IDS,
  chosen,
  describeMachine,
  fail,
  findCandidates,
  positive,
  requireRoot,
  tell,
  today,
  writeReport,
} from './command.js';
import { METRICS } from './metrics.js';
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
  --with ID          only this implementation, again for more: ${IMPLEMENTATION_IDS}
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
  requireRoot(NEEDED);
  const steps = chosen(STEPS, values.step);
  const effort: Effort = {
    ...(values.quick ? QUICK : FULL),
    ...(values.rounds !== undefined && { rounds: positive('--rounds', values.rounds) }),
    ...(values.seconds !== undefined && { seconds: positive('--seconds', values.seconds) }),
  };
  const { candidates, skipped } = await findCandidates(values.with, values.rebuild);
  const loadBefore = loadavg()[0];
  const undo = new Undo();
  const subjects = await benchmark(candidates, steps, effort, undo, tell);
  undo.run();
  const report: TunnelReport = {
    machine: describeMachine(loadBefore),
    date: today(),
    rounds: effort.rounds,
    secondsPerRun: effort.seconds,
    subjects,
    skipped,
  };
  process.stdout.write(`${formatTable(report, METRICS)}\n`);
  writeReport(values.json, `${JSON.stringify(report, null, 2)}\n`);
  writeReport(values.svg, drawSvg(report));
}
