// Watched interfaces, moment after moment: what `status --watch` draws and `status --web` serves.
// Promises: a daemon that was there and is gone is waited for; ends at the signal, in the midst of a silence too.
// Read on: ask-daemon.ts; tunnel/daemon/status-picture.ts.

import { setTimeout as sleep } from 'node:timers/promises';
import type { InterfaceState, StatusPicture } from '../tunnel/daemon/status-picture.js';
import { type Answer, type AskOptions, askAll, isSomebodyElses, nobodyAnswers } from './ask-daemon.js';

export const WATCH_EVERY_S = 2;

export interface FeedOptions extends AskOptions {
  /** Wall-clock milliseconds. */
  readonly now?: () => number;
}

/** What answers now, before anything is shown; undefined at the signal. Throws as `status` does when nobody does. */
export async function firstAnswers(options: FeedOptions, signal: AbortSignal): Promise<Answer[] | undefined> {
  const answers = await unlessAborted(signal, askAll(options));
  if (!answers || answers.some(({ status }) => status !== undefined)) return answers;
  throw nobodyAnswers(answers, options);
}

/** One picture every so many seconds. `first`: what was answered already. */
export async function* statusFeed(
  everyS: number,
  options: FeedOptions,
  signal: AbortSignal,
  first?: readonly Answer[],
): AsyncGenerator<StatusPicture> {
  const seen = new Set<string>();
  for (let answers = first; ; answers = undefined) {
    answers ??= await unlessAborted(signal, askAll(options));
    if (!answers) return;
    const now = (options.now ?? Date.now)();
    yield { at: performance.now(), now, interfaces: statesOf(answers, seen, options.interface) };
    await sleep(1_000 * everyS, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
  }
}

/** `seen`: of whom there was a status before. */
function statesOf(
  answers: readonly Answer[],
  seen: Set<string>,
  named: string | undefined,
): InterfaceState[] {
  const answered = new Set(answers.map(({ name }) => name));
  const gone = [...seen]
    .filter(name => !answered.has(name))
    .map(name => ({ name, waiting: `${name}: no daemon answers` }));
  const states = answers.flatMap(({ name, status, error }): InterfaceState[] => {
    if (status) seen.add(name);
    // Another implementation, or a dead socket, of which nothing was seen yet is nobody to wait for.
    else if (!seen.has(name) && name !== named && isSomebodyElses(error)) return [];
    return status ? [{ name, status }] : [{ name, waiting: (error as Error).message }];
  });
  return [...states, ...gone];
}

async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T | undefined> {
  work.catch(() => undefined);
  if (signal.aborted) return undefined;
  let stop: () => void = () => {};
  const aborted = new Promise<undefined>(resolve => {
    stop = () => resolve(undefined);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
