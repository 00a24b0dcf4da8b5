// Gives the process to the command line, and ends it as soon as the command has ended.
// Promises: signals are taken before anything else is done; a reader of our output that goes away ends it quietly.
// Read on: signals.ts, program.ts.

import { runCli } from './program.js';
import { closeDebugger, heedSignals, outliveTerminal } from './signals.js';
import { printError } from './trouble.js';

export async function run(): Promise<void> {
  const interrupt = new AbortController();
  heedSignals(interrupt);
  closeDebugger();
  const io = {
    get stdin() {
      return process.stdin;
    },
    stdout: process.stdout,
    stderr: process.stderr,
    signal: interrupt.signal,
    outliveTerminal,
    env: process.env,
  };
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    printError(new Error(`standard output: ${error.message}`, { cause: error }), io);
    process.exit(1);
  });
  process.stderr.on('error', () => process.exit(1));
  process.on('uncaughtException', error => {
    printError(error, io);
    process.exit(1);
  });

  const exitCode = await runCli(process.argv.slice(2), io);
  // A pipe may still hold what was written. Nothing else is worth waiting for: commands close what they opened.
  await Promise.all(
    [process.stdout, process.stderr].map(s => new Promise<void>(done => s.write('', () => done()))),
  );
  process.exit(exitCode);
}
