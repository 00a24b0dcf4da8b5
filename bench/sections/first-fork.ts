// What the first fork of a process costs, which runs code that ran never before, beside the second.
// Promises: a machine is forked once, as a rule: so each figure is of a process of its own.
// Read on: ../first-fork.ts, which is such a process.

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Effort } from '../measure.js';
import { type Row, ratioRow } from '../row.js';

const PROGRAM = fileURLToPath(new URL('../first-fork.js', import.meta.url));
/** A process takes two seconds. */
const ROUNDS_AT_MOST = 15;
/** Of a fork, beside a round trip. */
const GOAL_MS = 5;

export function firstForkSection(suite: string, effort: Effort, program: string = PROGRAM): Row[] {
  const taken = Array.from({ length: Math.min(effort.rounds, ROUNDS_AT_MOST) }, () => forksOf(program));
  const row = ratioRow(
    { section: 'recovery', name: 'the first fork of a process, the same way', suite },
    taken.map(([first]) => first),
    { name: 'the second', samples: taken.map(([, second]) => second) },
  );
  return [{ ...row, unit: 'ms', goal: { text: `under ${GOAL_MS} ms`, met: row.value.median < GOAL_MS } }];
}

/** Milliseconds of a processor of its first fork, and its second. */
function forksOf(program: string): [number, number] {
  const [first, second] = JSON.parse(
    execFileSync(process.execPath, [program], { encoding: 'utf8' }),
  ) as number[];
  return [first, second];
}
