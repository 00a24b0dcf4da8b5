// What takes long is computed here, beside the page: it stays quick meanwhile.
// Promises: parts are handed over a few times a second, in order, all of them; `done` comes last.
// Read on: jobs.ts (the page's end).

import { type CrowdOptions, type CrowdState, runCrowd } from '../../demo/crowd.js';
import { type DelayedOptions, type DelayedOutcome, runDelayed } from '../../demo/delayed.js';
import { type ForkAtRead, forkAtEveryRead } from '../../demo/every-read.js';
import { nobleSuite } from '../../protocol/suites/noble.js';

export type Job =
  | { readonly task: 'delayed'; readonly options: DelayedOptions }
  | { readonly task: 'reads' }
  | { readonly task: 'crowd'; readonly options: CrowdOptions };

/** What comes of each. */
export interface Parts {
  delayed: DelayedOutcome;
  reads: ForkAtRead & { readonly of: number };
  crowd: CrowdState;
}

export interface Progress {
  readonly parts: readonly unknown[];
  readonly done: boolean;
}

const EVERY_MS = 60;

globalThis.addEventListener('message', ({ data }: MessageEvent<Job>) => {
  let parts: unknown[] = [];
  let toldAt = performance.now();
  const tell = (done: boolean) => {
    const progress: Progress = { parts, done };
    globalThis.postMessage(progress);
    parts = [];
    toldAt = performance.now();
  };
  for (const part of run(data)) {
    parts.push(part);
    if (performance.now() - toldAt > EVERY_MS) tell(false);
  }
  tell(true);
});

function* run(job: Job): Iterable<unknown> {
  if (job.task === 'delayed') yield runDelayed(nobleSuite, job.options);
  else if (job.task === 'crowd') yield* runCrowd(nobleSuite, job.options);
  else {
    const { reads, forks } = forkAtEveryRead(nobleSuite);
    for (const fork of forks) yield { ...fork, of: reads };
  }
}
