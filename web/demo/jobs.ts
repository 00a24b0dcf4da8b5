// Work for a worker: begun, and ended when nobody waits for it any more.

import { useSignal, type ReadonlySignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { Job, Parts, Progress } from './worker.js';
// oxlint-disable-next-line import/default -- its address, which Vite gives
import workerUrl from './worker.ts?worker&url';

export interface Work<T> {
  readonly parts: readonly T[];
  readonly done: boolean;
}

interface TrustedTypes {
  createPolicy(
    name: string,
    rules: { createScriptURL(url: string): string },
  ): { createScriptURL(url: string): string };
}

/** The only script that this page starts by its address. */
const policy = trusted({ createScriptURL: () => workerUrl });

/** What has come of a job so far; begun anew whenever `job` says something else, after `delayMs`. None while undefined. */
export function useJob<K extends Job['task']>(
  job: Extract<Job, { task: K }> | undefined,
  delayMs = 0,
): ReadonlySignal<Work<Parts[K]>> {
  const work = useSignal<Work<Parts[K]>>({ parts: [], done: false });
  const words = JSON.stringify(job);
  useEffect(() => {
    if (words === undefined) return;
    let worker: Worker | undefined;
    const begin = () => {
      worker = new Worker(policy.createScriptURL(workerUrl), { type: 'module' });
      let parts: readonly Parts[K][] = [];
      worker.addEventListener('message', ({ data }: MessageEvent<Progress>) => {
        parts = [...parts, ...(data.parts as Parts[K][])];
        work.value = { parts, done: data.done };
        if (data.done) worker?.terminate();
      });
      worker.postMessage(JSON.parse(words));
      work.value = { parts: delayMs > 0 ? work.value.parts : [], done: false };
    };
    const timer = setTimeout(begin, delayMs);
    return () => {
      clearTimeout(timer);
      worker?.terminate();
    };
  }, [words, delayMs, work]);
  return work;
}

/** A policy, where the browser has such; `wireonce` is the one that the server allows. */
function trusted(rules: { createScriptURL(url: string): string }) {
  const { trustedTypes } = globalThis as { readonly trustedTypes?: TrustedTypes };
  return trustedTypes?.createPolicy('wireonce', rules) ?? rules;
}
