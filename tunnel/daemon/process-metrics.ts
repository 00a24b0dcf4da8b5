// What every Prometheus client says of its process, under the names that dashboards know.
// Promises: what this system does not tell is left out; costs a few reads of /proc, at a scrape alone.
// Read on: prometheus.io/docs/instrumenting/writing_clientlibs "Process metrics"; proc_pid_stat(5); metrics-format.ts.

import { readFileSync, readdirSync } from 'node:fs';

export interface ProcessMetric {
  readonly type: 'counter' | 'gauge';
  readonly name: string;
  readonly help: string;
  readonly value: number;
}

const US_PER_S = 1_000_000;
const MS_PER_S = 1_000;
/** Of the fields after the name of the program in /proc/self/stat, which may hold blanks: vsize, in bytes. */
const VSIZE_FIELD = 20;

export function processMetrics(): ProcessMetric[] {
  const { user, system } = process.cpuUsage();
  const gauge = (name: string, help: string, value: number | undefined): ProcessMetric[] =>
    value === undefined || !Number.isFinite(value) ? [] : [{ type: 'gauge', name, help, value }];
  return [
    {
      type: 'counter',
      name: 'process_cpu_seconds_total',
      help: 'Total user and system CPU time spent in seconds',
      value: (user + system) / US_PER_S,
    },
    ...gauge('process_resident_memory_bytes', 'Resident memory size in bytes', process.memoryUsage.rss()),
    ...gauge('process_virtual_memory_bytes', 'Virtual memory size in bytes', told(virtualMemory)),
    ...gauge('process_open_fds', 'Number of open file descriptors', told(openFds)),
    ...gauge('process_max_fds', 'Maximum number of open file descriptors', told(maxFds)),
    ...gauge(
      'process_start_time_seconds',
      'Start time of the process since unix epoch in seconds',
      performance.timeOrigin / MS_PER_S,
    ),
  ];
}

/** How late the event loop of this thread comes to what is due at once. The device has a thread of its own. Seconds. */
export async function eventLoopLag(): Promise<number> {
  const before = performance.now();
  await new Promise(resolve => setImmediate(resolve));
  return (performance.now() - before) / MS_PER_S;
}

function told(read: () => number | undefined): number | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function virtualMemory(): number {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[VSIZE_FIELD]);
}

/** The one by which they are read is closed again. */
function openFds(): number {
  return readdirSync('/proc/self/fd').length - 1;
}

/** The limit that holds now, which may be `unlimited`: then there is none to show. */
function maxFds(): number {
  return Number(/^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]);
}
