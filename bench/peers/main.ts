// `npm run bench:peers`: a gateway with very many peers, ours beside other userspace WireGuards, in the same run.
// Promises: what it makes (namespaces, daemons, sockets) bears its name and is gone when it ends, however it ends.
// Read on: round.ts (what is done), gateway.ts, crowd.ts.

import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import {
  type Candidate,
  IMPLEMENTATION_IDS,
  describeMachine,
  fail,
  findCandidates,
  positive,
  requireRoot,
  subjectOf,
  tell,
  today,
  writeReport,
} from '../tunnel/command.js';
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
  --with ID      only this implementation, again for more: ${IMPLEMENTATION_IDS}
  --json FILE    write the report as JSON too

Needs root, and of Debian: iproute2 wireguard-tools wireguard-go; libipsec-mb1 (libipsec-mb2 in Debian 13) for ours at
its fastest.
`;

interface Subject extends Candidate {
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
  requireRoot(NEEDED);
  const { peers, rounds, seconds } = readEffort();
  const { candidates, skipped } = await findCandidates(values.with, false);
  const subjects = candidates.map((candidate): Subject => ({ ...candidate, samples: {}, failures: [] }));
  const suite = await fastestSuite();
  const undo = new Undo();
  const loadBefore = loadavg()[0];
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < subjects.length; turn++) {
      const subject = subjects[(round + turn) % subjects.length];
      for (const count of [1, peers]) {
        const label = `${round}${turn}${count === 1 ? 's' : 'm'}`;
        const options = { peers: count, seconds, idleSeconds: IDLE_SECONDS };
        await attempt(subject, round, rounds, undo, () =>
          playRound(subject.found, suite, label, options, undo),
        );
      }
    }
  }
  const report: TunnelReport = {
    machine: describeMachine(loadBefore),
    date: today(),
    rounds,
    secondsPerRun: seconds,
    subjects: subjects.map(subject => subjectOf(subject, subject)),
    skipped,
  };
  process.stdout.write(`${formatTable(report, metricsFor(peers))}\n`);
  if (values.json !== undefined) writeReport(values.json, `${JSON.stringify(report, null, 2)}\n`);
}

function readEffort(): { peers: number; rounds: number; seconds: number } {
  const peers = values.peers === undefined ? PEERS : positive('--peers', values.peers);
  if (!Number.isInteger(peers) || peers < 2 || peers > MAX_PEERS) fail(`--peers: 2 to ${MAX_PEERS}`);
  const rounds = values.rounds === undefined ? ROUNDS : positive('--rounds', values.rounds);
  const seconds = values.seconds === undefined ? SECONDS : positive('--seconds', values.seconds);
  if (seconds > MAX_SECONDS) fail(`--seconds: at most ${MAX_SECONDS}`);
  return { peers, rounds, seconds };
}

async function attempt(
  { implementation, samples, failures }: Subject,
  round: number,
  rounds: number,
  undo: Undo,
  play: () => Promise<Record<string, number>>,
): Promise<void> {
  try {
    for (const [metric, figure] of Object.entries(await play())) {
      samples[metric] ??= Array.from({ length: rounds }, () => null);
      samples[metric][round] = figure;
      tell(`  ${implementation.id} ${metric} ${figure.toPrecision(4)}`);
    }
  } catch (error) {
    const { message } = error as Error;
    failures.push(message);
    tell(`  ${implementation.id}: ${message}`);
  } finally {
    undo.run();
  }
}
