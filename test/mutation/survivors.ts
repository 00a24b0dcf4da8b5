// Mutants that lived, in words that survive a move of their lines, and those of which it is known why they live.
// Promises: a survivor is known by file, line before and line after, not by a line's number.
// Read on: equivalent.json.

import type { Result } from './run.js';

/** A change of the code, as text: the line where it begins, before and after. */
export interface Mutant {
  readonly file: string;
  readonly original: string;
  readonly mutated: string;
}

/** One that no test can kill, and why. */
export interface Equivalent extends Mutant {
  readonly reason: string;
}

/** What no test noticed. A mutant that ran into the limit of time was noticed. */
export function hasSurvived({ status }: Result): boolean {
  return status === 'Survived' || status === 'NoCoverage';
}

export function describeMutant(file: string, source: string, { location, replacement }: Result): Mutant {
  const lines = source.split('\n');
  const { start, end } = location;
  const [first, last] = [lines[start.line - 1], lines[end.line - 1]];
  const text = replacement.replaceAll(/\s+/g, ' ');
  return {
    file,
    original: (start.line === end.line ? first : `${first} …`).trim(),
    mutated: `${first.slice(0, start.column - 1)}${text}${last.slice(end.column - 1)}`.trim(),
  };
}

export function isSame(a: Mutant, b: Mutant): boolean {
  return a.file === b.file && a.original === b.original && a.mutated === b.mutated;
}
