// Sealers and openers that leave everything to `settle`, as a native library may: on any machine, over any suite.

import { bytesOf } from '../../native/room.js';
import { BATCH_CAPACITY } from '../../protocol/batches.js';
import type { Opener, Sealer, Suite } from '../../protocol/suite.js';

type Job = Parameters<Sealer['seal']>;

/** A job as it is kept: with a copy of the key, or (for a control) with the key that lies there when it is done. */
function kept(job: Job, copiesKey: boolean): Job {
  const [key, ...rest] = job;
  return [copiesKey ? key.slice() : key, ...rest];
}

export class DeferringSealer implements Sealer {
  readonly #suite: Suite;
  readonly #copiesKeys: boolean;
  #jobs: Job[] = [];

  constructor(suite: Suite, copiesKeys = true) {
    this.#suite = suite;
    this.#copiesKeys = copiesKeys;
  }

  /** Messages that are not sealed yet. */
  get pending(): number {
    return this.#jobs.length;
  }

  seal(...job: Job): void {
    if (this.#jobs.length === BATCH_CAPACITY) this.settle();
    this.#jobs.push(kept(job, this.#copiesKeys));
  }

  settle(): void {
    const jobs = this.#jobs;
    this.#jobs = [];
    for (const [key, low, high, buffer, offset, length] of jobs)
      this.#suite.seal(key, low, high, bytesOf(buffer), offset, length);
  }
}

export class DeferringOpener implements Opener {
  readonly capacity = BATCH_CAPACITY;
  readonly #suite: Suite;
  #jobs: Job[] = [];
  #opened: boolean[] = [];

  constructor(suite: Suite) {
    this.#suite = suite;
  }

  open(...job: Job): number {
    if (this.#jobs.length === this.capacity) throw new Error('more than an opener holds');
    return this.#jobs.push(kept(job, true)) - 1;
  }

  settle(): void {
    const jobs = this.#jobs;
    this.#jobs = [];
    this.#opened = jobs.map(([key, low, high, buffer, offset, length]) =>
      this.#suite.open(key, low, high, bytesOf(buffer), offset, length),
    );
  }

  isOpened(place: number): boolean {
    return this.#opened[place] ?? false;
  }
}

/** The suite with both of them. */
export function deferring(suite: Suite, copiesKeys = true): Suite {
  return Object.assign(Object.create(suite) as Suite, {
    sealer: () => new DeferringSealer(suite, copiesKeys),
    opener: () => new DeferringOpener(suite),
  });
}
