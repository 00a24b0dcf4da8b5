// The figures of real forks, out of what `npm run prove -- --json` has written.
// Promises: nothing is left out: attempts in which no comparison came about are counted too.
// Read on: docs/proof.md (the same in words), test/vm/prove/report.ts (who writes it).

/** Of each run, what is shown here. */
export interface Run {
  readonly seed: number;
  readonly date: string;
  readonly machine: string;
  readonly rows: readonly {
    readonly name: string;
    readonly forks: readonly { readonly reused: number; readonly instant: string }[];
    readonly failures: readonly string[];
  }[];
  readonly enrolment: readonly {
    readonly name: string;
    readonly forks: readonly {
      readonly clones: number;
      readonly keys: number;
      readonly addresses: number;
      readonly pinged: number;
      readonly underParentKey: number;
      readonly reused: number;
    }[];
    readonly failures: readonly string[];
  }[];
}

export interface ForkFigures {
  readonly name: string;
  readonly forks: number;
  readonly withReuse: number;
  /** In all forks together, and in the worst of them. */
  readonly reused: number;
  readonly most: number;
  readonly failed: number;
  readonly measured: string;
}

export interface CloneFigures {
  readonly name: string;
  readonly forks: number;
  readonly clones: number;
  readonly keys: number;
  readonly reached: number;
  readonly underParentKey: number;
  readonly failed: number;
  readonly measured: string;
}

/** What the page shows; it is told by its build, since the forks one by one are many times as long. */
export interface ProofFigures {
  readonly forks: readonly ForkFigures[];
  readonly clones: readonly CloneFigures[];
}

export function proofFigures(runs: readonly Run[]): ProofFigures {
  return { forks: forkFigures(runs), clones: cloneFigures(runs) };
}

function forkFigures(runs: readonly Run[]): ForkFigures[] {
  return runs.flatMap(run =>
    run.rows.map(({ name, forks, failures }) => ({
      name,
      forks: forks.length,
      withReuse: forks.filter(({ reused }) => reused > 0).length,
      reused: sum(forks.map(({ reused }) => reused)),
      most: Math.max(0, ...forks.map(({ reused }) => reused)),
      failed: failures.length,
      measured: measuredIn(run),
    })),
  );
}

function cloneFigures(runs: readonly Run[]): CloneFigures[] {
  return runs.flatMap(run =>
    run.enrolment.map(({ name, forks, failures }) => ({
      name,
      forks: forks.length,
      clones: sum(forks.map(({ clones }) => clones)),
      keys: sum(forks.map(({ keys }) => keys)),
      reached: sum(forks.map(({ pinged }) => pinged)),
      underParentKey: sum(forks.map(({ underParentKey }) => underParentKey)),
      failed: failures.length,
      measured: measuredIn(run),
    })),
  );
}

function measuredIn({ date, machine, seed }: Run): string {
  return `${date}, ${machine}, seed ${seed}`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
