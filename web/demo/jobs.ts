// Work for a worker: begun, and ended when nobody waits for it any more.
// Promises: what is shown is of the job that is wished, or of the last one while that is only about to begin;
// a worker that fails is no work that goes on for ever.
// Read on: worker.ts (the other end).

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { Job, Parts, Progress } from './worker.js';
// oxlint-disable-next-line import/default -- its address, which Vite gives
import workerUrl from './worker.ts?worker&url';

export interface Work<T> {
  readonly parts: readonly T[];
  readonly done: boolean;
  /** Why there will be no more. */
  readonly problem?: string;
}

export interface JobOptions {
  /** It begins so long after it was wished, and until then the last one stays. Default 0: at once. */
  readonly delayMs?: number;
  /** Whenever this changes the same is done anew. */
  readonly again?: number;
}

interface TrustedTypes {
  createPolicy(
    name: string,
    rules: { createScriptURL(url: string): string },
  ): { createScriptURL(url: string): string };
}

const NOTHING = { parts: [], done: false };

/** The only script that this page starts by its address. */
const policy = trusted({ createScriptURL: () => workerUrl });

/** What has come of a job so far; begun anew whenever `job` says something else. None while undefined. */
export function useJob<K extends Job['task']>(
  job: Extract<Job, { task: K }> | undefined,
  { delayMs = 0, again = 0 }: JobOptions = {},
): Work<Parts[K]> {
  const known = useSignal<{ readonly of: string; readonly work: Work<Parts[K]> } | undefined>(undefined);
  const name = JSON.stringify([job, again]);
  useEffect(() => {
    if (!job) return;
    let worker: Worker | undefined;
    const begin = () => {
      worker = new Worker(policy.createScriptURL(workerUrl), { type: 'module' });
      let parts: readonly Parts[K][] = [];
      worker.addEventListener('message', ({ data }: MessageEvent<Progress>) => {
        parts = [...parts, ...(data.parts as Parts[K][])];
        known.value = { of: name, work: { parts, done: data.done } };
        if (data.done) worker?.terminate();
      });
      worker.addEventListener(
        'error',
        ({ message = 'its worker could not be started' }: Partial<ErrorEvent>) => {
          known.value = { of: name, work: { parts, done: false, problem: message } };
        },
      );
      worker.postMessage(job);
    };
    const timer = setTimeout(begin, delayMs);
    return () => {
      clearTimeout(timer);
      worker?.terminate();
    };
  }, [name, delayMs, known]);
  const { of, work } = known.value ?? {};
  return work && (of === name || delayMs > 0) ? work : NOTHING;
}

/** A policy, where the browser has such; `wireonce` is the one that the server allows. */
function trusted(rules: { createScriptURL(url: string): string }) {
  const { trustedTypes } = globalThis as { readonly trustedTypes?: TrustedTypes };
  return trustedTypes?.createPolicy('wireonce', rules) ?? rules;
}
