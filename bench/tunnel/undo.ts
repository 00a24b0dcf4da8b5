// What must be taken down again: a stack of undoings, run last first, however the run ends.
// Promises: SIGINT, SIGTERM, an exception and the normal end all come by here. Only what this run made is touched.
// Read on: programs.ts, topology.ts (what is pushed).

export class Undo {
  readonly #steps: (() => void)[] = [];

  /** From here on, the end of this process runs what is pushed. */
  constructor() {
    process.once('exit', () => this.run());
    for (const [signal, status] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      process.once(signal, () => process.exit(status));
    }
  }

  /** `step` is synchronous, since nothing else runs at the end of a process, and may find its work done. */
  push(step: () => void): void {
    this.#steps.push(step);
  }

  run(): void {
    for (const step of this.#steps.splice(0).toReversed()) {
      try {
        step();
      } catch (error) {
        process.stderr.write(`bench: taking down: ${(error as Error).message}\n`);
      }
    }
  }
}
