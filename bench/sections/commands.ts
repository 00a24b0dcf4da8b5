// How long a command takes from its start to its end, beside a Node that does nothing.
// Promises: whole processes, in turns; a command that fails is no figure.
// Read on: cli/program.ts (what is loaded when), test/system/command/loading.test.ts (which modules those are).

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Candidate, type Effort, measure } from '../measure.js';
import { type Row, ratioRow } from '../row.js';

const PROGRAM = fileURLToPath(new URL('../../cli/main.js', import.meta.url));
/** A process takes some 100 ms. */
const ROUNDS_AT_MOST = 40;
/** Of a Node that does nothing. */
const GOAL = 1.5;
const ZERO_KEY = `${'A'.repeat(43)}=`;

interface Command {
  readonly args: readonly string[];
  readonly input?: string;
  readonly goal?: number;
}

const COMMANDS: readonly Command[] = [
  { args: ['genkey'], goal: GOAL },
  { args: ['genpsk'], goal: GOAL },
  { args: ['pubkey'], input: ZERO_KEY, goal: GOAL },
  { args: ['--version'] },
];

export function commandsSection(effort: Effort, program: string = PROGRAM): Row[] {
  const nothing = candidate(['-e', '0']);
  const ours = COMMANDS.map(({ args, input }) => candidate([program, ...args], input));
  const rounds = Math.min(effort.rounds, ROUNDS_AT_MOST);
  const [peer, ...samples] = measure([nothing, ...ours], { ...effort, rounds });
  return COMMANDS.map(({ args, goal }, i) =>
    ratioRow(
      { section: 'commands', name: `wireonce ${args.join(' ')}`, note: 'a whole process' },
      samples[i],
      { name: 'node -e 0', samples: peer },
      goal,
    ),
  );
}

function candidate(args: readonly string[], input = ''): Candidate {
  return {
    run(times) {
      for (let i = 0; i < times; i++) {
        const { status, stderr } = spawnSync(process.execPath, args, { input, encoding: 'utf8' });
        if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}: ${stderr}`);
      }
    },
  };
}
