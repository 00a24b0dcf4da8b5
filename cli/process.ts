// Gives the process to the command line, and ends it as soon as the command has ended.
// Promises: a first SIGINT or SIGTERM asks the command to finish, a second one ends the process; a reader of our
// output that goes away ends it quietly.
// Read on: program.ts.

import { runCli } from './program.js';
import { printError } from './trouble.js';

export async function run(): Promise<void> {
  const interrupt = new AbortController();
  const io = {
    get stdin() {
      return process.stdin;
    },
    stdout: process.stdout,
    stderr: process.stderr,
    signal: interrupt.signal,
    env: process.env,
  };
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (interrupt.signal.aborted) process.exit(name === 'SIGINT' ? 130 : 143);
      interrupt.abort();
    });
  }
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
