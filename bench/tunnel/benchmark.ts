// Interleaved rounds: each step runs for every implementation in turn, beginning with another one in each round.
// Promises: what slows the machine down for a while slows all of them; one that fails is noted and does not stop the rest.
// Read on: steps.ts, report.ts.

import { type Candidate, subjectOf } from './command.js';
import { Pair } from './pair.js';
import type { Subject } from './report.js';
import type { Effort, Figures, Step } from './steps.js';
import type { Undo } from './undo.js';

interface Runner {
  readonly candidate: Candidate;
  pair: Pair | undefined;
  readonly samples: Record<string, (number | null)[]>;
  readonly failures: string[];
}

export async function benchmark(
  candidates: readonly Candidate[],
  steps: readonly Step[],
  effort: Effort,
  undo: Undo,
  tell: (text: string) => void,
): Promise<Subject[]> {
  const runners: Runner[] = [];
  for (const candidate of candidates) {
    runners.push({ candidate, pair: undefined, samples: {}, failures: [] });
  }
  for (const [index, runner] of runners.entries()) {
    const { id } = runner.candidate.implementation;
    tell(`starting ${id}`);
    await attempt(runner, 'start', async () => {
      runner.pair = await Pair.start(runner.candidate.found, id, index, undo);
    });
  }
  // Before anything counts: code is compiled, buffers are grown.
  const warmUp: Effort = { ...effort, seconds: 1, pings: 100, idleSeconds: 0.1 };
  tell('warming up');
  await playRound(runners, steps, warmUp, undo, 0, () => {});
  for (let round = 0; round < effort.rounds; round++) {
    tell(`round ${round + 1} of ${effort.rounds}`);
    await playRound(runners, steps, effort, undo, round, (runner, figures) => {
      for (const [metric, figure] of Object.entries(figures)) {
        runner.samples[metric] ??= Array.from({ length: effort.rounds }, () => null);
        runner.samples[metric][round] = figure;
        tell(`  ${runner.candidate.implementation.id} ${metric} ${figure.toPrecision(4)}`);
      }
    });
  }
  for (const { pair } of runners) await pair?.close();
  return runners.map(runner => subjectOf(runner.candidate, runner));
}

async function playRound(
  runners: readonly Runner[],
  steps: readonly Step[],
  effort: Effort,
  undo: Undo,
  round: number,
  record: (runner: Runner, figures: Figures) => void,
): Promise<void> {
  for (const step of steps) {
    const play = (runner: Runner) =>
      attempt(runner, step.id, async () => {
        if (!runner.pair) return;
        runner.pair.assertRunning();
        record(runner, await step.run(runner.pair, effort, undo));
      });
    const order = runners.map((_, turn) => runners[(round + turn) % runners.length]);
    if (step.together) await Promise.all(order.map(play));
    else for (const runner of order) await play(runner);
  }
}

async function attempt(runner: Runner, what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    runner.failures.push(`${what}: ${(error as Error).message}`);
  }
}
