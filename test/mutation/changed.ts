// Which lines of a file are to be mutated: those that were not there when the file was last mutated whole.
// Promises: where that cannot be known, for want of git, of its history or of a record, the answer is the whole file.
// Read on: whole.json, which keeps the text of that time by its name in git: no rebase changes it.

import { execFileSync } from 'node:child_process';

/** A mutant lies within its range or is not made: around a changed line its whole statement should. */
const AROUND = 3;

/** Ranges for `--mutate`: none where nothing changed, the file itself where all of it must be mutated. */
export function changedRanges(root: string, file: string, whole: string | undefined): string[] {
  if (whole === undefined) return [file];
  const diff = git(root, 'diff', '--no-color', '--no-ext-diff', '--unified=0', whole, file);
  return diff === undefined ? [file] : hunks(diff).map(([first, last]) => `${file}:${first}-${last}`);
}

/** The name in git of a file's present text; `undefined` without git. */
export function textId(root: string, file: string): string | undefined {
  return git(root, 'hash-object', '--', file)?.trim();
}

/** First and last lines of what a diff without context changed, some lines around included; joined where they meet. */
export function hunks(diff: string): [number, number][] {
  const found: [number, number][] = [];
  for (const [, start, count = '1'] of diff.matchAll(/^@@ -\S+ \+(\d+)(?:,(\d+))? @@/gm)) {
    const first = Math.max(1, Number(start) - AROUND);
    const last = Number(start) + Math.max(0, Number(count) - 1) + AROUND;
    const before = found.at(-1);
    if (before && first <= before[1] + 1) before[1] = last;
    else found.push([first, last]);
  }
  return found;
}

function git(root: string, ...args: string[]): string | undefined {
  try {
    return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return undefined;
  }
}
