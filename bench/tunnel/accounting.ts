// What processes cost, by the kernel's books in /proc: processor time, wake-ups, memory.
// Promises: all threads of a process count. Times of threads that have ended are kept in the process's sum.
// Read on: man 5 proc (stat, task, status, smaps_rollup).

import { readFileSync, readdirSync } from 'node:fs';

/** Linux's unit in /proc/PID/stat, on every machine that Node runs on. */
const TICKS_PER_SECOND = 100;
/** utime and stime, counted from the state, which is the first field after the name. */
const UTIME_FIELD = 11;
const STIME_FIELD = 12;
const KIB = 1_024;

export interface Usage {
  readonly cpuSeconds: number;
  /** How often a thread slept and was woken. */
  readonly wakeUps: number;
}

export interface Memory {
  readonly rssBytes: number;
  /** What is shared with other processes counts by its share. */
  readonly pssBytes: number;
}

export function usageOf(pids: readonly number[]): Usage {
  let cpuSeconds = 0;
  let wakeUps = 0;
  for (const pid of pids) {
    cpuSeconds += cpuSecondsOf(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      wakeUps += fieldOf(read(`/proc/${pid}/task/${thread}/status`), 'voluntary_ctxt_switches');
    }
  }
  return { cpuSeconds, wakeUps };
}

/** Processor time to the nanosecond, of the threads that live: for times too short for the ticks of `usageOf`. */
export function fineCpuSecondsOf(pids: readonly number[]): number {
  let nanoseconds = 0;
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(read(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[0] || 0);
    }
  }
  return nanoseconds / 1e9;
}

export function memoryOf(pids: readonly number[]): Memory {
  let rssBytes = 0;
  let pssBytes = 0;
  for (const pid of pids) {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    rssBytes += fieldOf(rollup, 'Rss') * KIB;
    pssBytes += fieldOf(rollup, 'Pss') * KIB;
  }
  return { rssBytes, pssBytes };
}

/** From the text of /proc/PID/stat. The name, in brackets, may hold anything. */
export function cpuSecondsOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[UTIME_FIELD]) + Number(fields[STIME_FIELD])) / TICKS_PER_SECOND;
}

/** The number behind `name:` in a file of such lines; 0 when there is none. */
export function fieldOf(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
}

/** Of a thread that may end at any time: then there is nothing to read. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
