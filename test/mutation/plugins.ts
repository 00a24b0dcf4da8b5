// Two plugins of Stryker: a reporter that writes each result at once, and what is left unmutated.
// Promises: what was tested until a run was stopped is on record, line by line.
// Read on: run.ts, which reads the lines.

import { appendFileSync } from 'node:fs';
import type { Result } from './run.js';

class LineReporter {
  onMutationTestingPlanReady({ mutantPlans }: { readonly mutantPlans: readonly unknown[] }): void {
    this.#write({ planned: mutantPlans.length });
  }

  onMutantTested({ fileName, status, location, replacement }: Result): void {
    this.#write({ fileName, status, location, replacement });
  }

  #write(line: unknown): void {
    appendFileSync(process.env['MUTATION_RESULTS'] as string, `${JSON.stringify(line)}\n`);
  }
}

/** As far as it is needed here: where Babel stands in the syntax tree. */
interface NodePath {
  readonly node: unknown;
  readonly parentPath: NodePath | null;
  isCallExpression(): boolean;
  isNewExpression(): boolean;
}

const LANGUAGE_ERRORS = ['Error', 'RangeError', 'TypeError'];

/** What an error says is prose: its code is held by tests, its words by nobody. Nor are those of an invariant. */
function isProse(path: NodePath): boolean {
  const parent = path.parentPath;
  if (!parent) return false;
  const call = parent.node as {
    readonly arguments?: unknown[];
    readonly callee?: { readonly name?: string };
  };
  const name = call.callee?.name ?? '';
  const isOurError = parent.isNewExpression() && name.endsWith('Error');
  const isInvariant = parent.isCallExpression() && name === 'invariant';
  const at = (call.arguments ?? []).indexOf(path.node);
  // The language's own errors have no code before their words.
  return (isOurError && at >= (LANGUAGE_ERRORS.includes(name) ? 0 : 1)) || (isInvariant && at > 0);
}

export const strykerPlugins = [
  { kind: 'Reporter', name: 'lines', injectableClass: LineReporter },
  {
    kind: 'Ignore',
    name: 'prose',
    value: {
      shouldIgnore: (path: NodePath) => (isProse(path) ? 'the words of an error' : undefined),
    },
  },
];
