// One run of Stryker over a folder: it mutates lines of the sources, and tries the folder's tests on each mutant.
// Promises: what was found until the deadline is returned, with how many were left; a run that failed throws; neither
// processes nor files stay behind.
// Read on: https://stryker-mutator.io/docs/, stryker.config.json, ../../vitest.mutation.config.ts.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Position {
  readonly line: number;
  readonly column: number;
}

/** A mutant that was tried. Lines and columns count from 1. */
export interface Result {
  readonly fileName: string;
  readonly status: string;
  readonly location: { readonly start: Position; readonly end: Position };
  readonly replacement: string;
}

export interface Run {
  readonly results: readonly Result[];
  /** Mutants for which there was no time; `undefined` when not even their number is known. */
  readonly left: number | undefined;
}

/** `ranges`: files of one folder, `file.ts` or `file.ts:first-last`. Ends at `deadline`, in milliseconds of `Date.now()`. */
export async function mutate(root: string, ranges: readonly string[], deadline: number): Promise<Run> {
  const scratch = mkdtempSync(join(tmpdir(), 'wireonce-mutation-'));
  const file = join(scratch, 'results');
  const [folder] = ranges[0].split('/');
  const stryker = join(root, 'node_modules/@stryker-mutator/core/bin/stryker.js');
  const temporary = join('node_modules/.cache', `stryker-${process.pid}`);
  const child = spawn(
    process.execPath,
    [stryker, 'run', '--mutate', ranges.join(','), '--tempDirName', temporary],
    {
      cwd: root,
      env: { ...process.env, MUTATED_FOLDER: folder, MUTATION_RESULTS: file },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, which ends as one: Stryker starts processes for the tests.
      detached: true,
    },
  );
  const end = () => void (child.pid && process.kill(-child.pid, 'SIGKILL'));
  let isLate = false;
  const timer = setTimeout(
    () => {
      isLate = true;
      end();
    },
    Math.min(Math.max(deadline - Date.now(), 0), 2 ** 31 - 1),
  );
  process.once('exit', end);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => (said += String(chunk)));
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
    const records = lines.map(line => JSON.parse(line) as Result | { planned: number });
    const results = records.filter(record => 'status' in record);
    const plan = records.find(record => 'planned' in record);
    if (!isLate && (code !== 0 || !plan)) throw new Error(`Stryker ended with ${code}:\n${said}`);
    return { results, left: plan && plan.planned - results.length };
  } finally {
    clearTimeout(timer);
    process.off('exit', end);
    rmSync(scratch, { recursive: true, force: true });
    rmSync(join(root, temporary), { recursive: true, force: true });
  }
}
