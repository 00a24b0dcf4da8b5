// `npm run bench:peers`: a gateway with very many peers, ours beside other userspace WireGuards, in the same run.
// Promises: what it makes (namespaces, daemons, sockets) bears its name and is gone when it ends, however it ends.
// Read on: round.ts (what is done), gateway.ts, crowd.ts.

import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import { IMPLEMENTATIONS } from '../tunnel/implementations/index.js';
import type { Found, Implementation } from '../tunnel/implementations/implementation.js';
import { which } from '../tunnel/programs.js';
import type { TunnelReport } from '../tunnel/report.js';
import { formatTable } from '../tunnel/table.js';
import { Undo } from '../tunnel/undo.js';
import { MAX_PEERS } from './addresses.js';
import { metricsFor } from './metrics.js';
import { playRound } from './round.js';

const NEEDED = ['ip', 'wg'];
const ROUNDS = 3;
const SECONDS = 3;
/** After 15 seconds without an answer the daemon would call all its peers anew. */
const MAX_SECONDS = 10;
const IDLE_SECONDS = 5;
const PEERS = 10_000;

const USAGE = `Usage: npm run bench:peers -- [options]

  --peers N      so many, beside one (${PEERS})
  --rounds N     rounds, each with fresh daemons (${ROUNDS})
  --seconds N    seconds for which it is measured in each direction (${SECONDS})
  --with ID      only this implementation, again for more: ${IMPLEMENTATIONS.map(({ id }) => id).join(', ')}
  --json FILE    write the report as JSON too

Needs root, and of Debian: iproute2 wireguard-tools wireguard-go; libipsec-mb1 (libipsec-mb2 in Debian 13) for ours at
its fastest.
`;

interface Candidate {
  readonly implementation: Implementation;
  readonly found: Found;
  readonly samples: Record<string, (number | null)[]>;
  readonly failures: string[];
}

const { values } = readArguments();
if (values.help) process.stdout.write(USAGE);
else await main();

function readArguments() {
  try {
    return parseArgs({
      options: {
        peers: { type: 'string' },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        with: { type: 'string', multiple: true },
        json: { type: 'string' },
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
  const peers = positive('--peers', values.peers, PEERS);
  if (!Number.isInteger(peers) || peers < 2 || peers > MAX_PEERS) fail(`--peers: 2 to ${MAX_PEERS}`);
  const rounds = positive('--rounds', values.rounds, ROUNDS);
  const seconds = positive('--seconds', values.seconds, SECONDS);
  if (seconds > MAX_SECONDS) fail(`--seconds: at most ${MAX_SECONDS}`);
  const skipped: string[] = [];
  const candidates = await findCandidates(skipped);
  const suite = await fastestSuite();
  const undo = new Undo();
  const loadBefore = loadavg()[0];
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < candidates.length; turn++) {
      const candidate = candidates[(round + turn) % candidates.length];
      for (const count of [1, peers]) {
        await attempt(candidate, round, rounds, undo, () =>
          playRound(
            candidate.found,
            suite,
            `${round}${turn}${count === 1 ? 's' : 'm'}`,
            {
              peers: count,
              seconds,
              idleSeconds: IDLE_SECONDS,
            },
            undo,
          ),
        );
      }
    }
  }
  const report: TunnelReport = {
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown processor',
      cores: availableParallelism(),
      kernel: release().replace(/^(\d+\.\d+).*/, '$1'),
      load: [loadBefore, loadavg()[0]],
    },
    date: new Date().toISOString().slice(0, 10),
    rounds,
    secondsPerRun: seconds,
    subjects: candidates.map(({ implementation, found, samples, failures }) => ({
      id: implementation.id,
      name: implementation.name,
      version: found.version,
      samples,
      failures,
    })),
    skipped,
  };
  process.stdout.write(`${formatTable(report, metricsFor(peers))}\n`);
  if (values.json === undefined) return;
  mkdirSync(dirname(values.json), { recursive: true });
  writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
}

async function findCandidates(skipped: string[]): Promise<Candidate[]> {
  for (const id of values.with ?? []) {
    if (!IMPLEMENTATIONS.some(one => one.id === id)) fail(`unknown: ${id}\n${USAGE}`);
  }
  const candidates: Candidate[] = [];
  for (const implementation of IMPLEMENTATIONS) {
    if (values.with && !values.with.includes(implementation.id)) continue;
    const found = await implementation.find(false);
    if ('reason' in found) skipped.push(`${implementation.name}: ${found.reason}`);
    else candidates.push({ implementation, found, samples: {}, failures: [] });
  }
  return candidates;
}

async function attempt(
  candidate: Candidate,
  round: number,
  rounds: number,
  undo: Undo,
  play: () => Promise<Record<string, number>>,
): Promise<void> {
  try {
    for (const [metric, figure] of Object.entries(await play())) {
      candidate.samples[metric] ??= Array.from({ length: rounds }, () => null);
      candidate.samples[metric][round] = figure;
      process.stderr.write(`  ${candidate.implementation.id} ${metric} ${figure.toPrecision(4)}\n`);
    }
  } catch (error) {
    candidate.failures.push((error as Error).message);
    process.stderr.write(`  ${candidate.implementation.id}: ${(error as Error).message}\n`);
  } finally {
    undo.run();
  }
}

function positive(option: string, text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  return value > 0 ? value : fail(`${option} wants a number above 0, not ${text}`);
}

function fail(message: string): never {
  process.stderr.write(`bench: ${message}\n`);
  process.exit(1);
}
