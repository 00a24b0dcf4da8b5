// What a signal does to this program, for every command alike; and Node's debugger, which a signal could open.
// Promises: the first that asks to end lets the command close what it opened, a second ends the process; what has no
// meaning here does nothing: no debugger, no end in the middle, no core dump with keys in it.
// Read on: docs/configuration.md "Signals"; man 7 signal.

import type Inspector from 'node:inspector';
import { constants } from 'node:os';
import { loadKoffi } from '../native/koffi.js';

/** Each ends a process at once by default, SIGQUIT and SIGXCPU with a core dump. */
export const ENDING: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGXCPU', 'SIGPWR'];
/** So does each of these but SIGUSR1, on which Node lets every user of the machine run code in the process. */
const MEANINGLESS: readonly NodeJS.Signals[] = [
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGVTALRM',
  'SIGIO',
  'SIGSTKFLT',
];
/** By this V8's profiler works, when it was asked for. */
const OF_PROFILER = 'SIGPROF';
/** Of Linux; those below are the C library's own. */
const REAL_TIME = { first: 34, last: 64 } as const;
const SIG_IGN = 1;
/** A debugger that a signal is just opening is open by then. */
const SETTLED_MS = 1_000;

const WITHOUT_DEBUGGER = ['--disable-sigusr1'].filter(flag => process.allowedNodeEnvironmentFlags.has(flag));
/** For Node when we start it again: ours, and where it has it the one with which no signal ever opens a debugger. */
export const NODE_FLAGS: readonly string[] = [...new Set([...process.execArgv, ...WITHOUT_DEBUGGER])];

let endsByHangup = true;

/** Takes every signal from here on. */
export function heedSignals(interrupt: AbortController): void {
  const end = (name: NodeJS.Signals) => {
    if (interrupt.signal.aborted) process.exit(128 + constants.signals[name]);
    interrupt.abort();
  };
  for (const name of ENDING) process.on(name, end);
  process.on('SIGHUP', name => {
    if (endsByHangup) end(name);
  });
  const profiled = process.execArgv.some(flag => flag.includes('prof'));
  for (const name of profiled ? MEANINGLESS : [...MEANINGLESS, OF_PROFILER])
    process.on(name, () => undefined);
}

/** For what serves until it is told to end: it outlives its terminal, and has no signal left that it dies of unasked. */
export function outliveTerminal(): void {
  endsByHangup = false;
  // Node knows nothing of these.
  const { koffi } = loadKoffi();
  const signal = koffi?.load(null).func('signal', 'intptr_t', ['int', 'intptr_t']);
  for (let n = REAL_TIME.first; n <= REAL_TIME.last; n++) signal?.(n, SIG_IGN);
}

/**
 * Closes Node's debugger, whoever asked for it: a flag, NODE_OPTIONS, or a signal before `heedSignals`. Every user of the
 * machine may connect to it. WIREONCE_DEBUG=1 leaves it open.
 */
export function closeDebugger(): void {
  if (process.env['WIREONCE_DEBUG'] === '1') return;
  // There are builds without one.
  const inspector = process.getBuiltinModule('node:inspector') as typeof Inspector | undefined;
  const close = () => {
    if (inspector?.url() === undefined) return;
    inspector.close();
    process.stderr.write("wireonce: Node's debugger is closed (WIREONCE_DEBUG=1 leaves it open)\n");
  };
  close();
  setTimeout(close, SETTLED_MS).unref();
}
