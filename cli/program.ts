// The `wireonce` command line: its commands, its help, and how an error becomes one line and an exit status.
// Promises: never a stack trace, unless WIREONCE_DEBUG=1; the same exit status for the same trouble (see `exitCodeOf`).
// Read on: main.ts gives it the process; each command is a file of its own.

import { Command, CommanderError } from 'commander';
import { registerDaemon } from './daemon.js';
import { registerDemo } from './demo.js';
import { CliError, exitCodeOf } from './errors.js';
import { type CliIo, type Finish, printLine } from './io.js';
import { registerKeys } from './keys.js';
import { registerPing } from './ping.js';
import { registerStatus } from './status.js';
import { packageVersion } from './version.js';
import { registerVmgenid } from './vmgenid.js';

/** Every command of the program, in the order of the help. */
const COMMANDS: readonly ((program: Command, io: CliIo, finish: Finish) => void)[] = [
  registerDaemon,
  registerDemo,
  registerStatus,
  registerPing,
  registerVmgenid,
  registerKeys,
];

/**
 * Runs one command line (without the names of node and of the script). Resolves with the exit status: 0 when the
 * command did what was asked, 1 when it could not, 2 when it was called wrongly. Never throws.
 */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  let exitCode = 0;
  const program = new Command('wireonce')
    .description('WireGuard for machines that get cloned: a key and a nonce are used once, or not at all.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .exitOverride()
    .configureOutput({
      writeOut: text => void io.stdout.write(text),
      writeErr: text => void io.stderr.write(text),
      outputError: text => printLine(io.stderr, `wireonce: ${oneLine(text.replace(/^error: /, ''))}`),
    })
    .addHelpText(
      'after',
      '\nExit status: 0 done, 1 failed, 2 called wrongly. WIREONCE_DEBUG=1 shows stack traces.',
    );
  for (const register of COMMANDS) {
    register(program, io, code => {
      exitCode = code;
    });
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    printError(error, io);
    return exitCodeOf(error);
  }
}

/** One line on standard error, `wireonce: ...`, and under it the hints that an error may bring. */
export function printError(error: unknown, io: Pick<CliIo, 'stderr' | 'env'>): void {
  const message = error instanceof Error ? error.message : String(error);
  printLine(io.stderr, `wireonce: ${oneLine(message)}`);
  if (error instanceof CliError) for (const hint of error.hints) printLine(io.stderr, `  - ${hint}`);
  if (io.env['WIREONCE_DEBUG'] === '1' && error instanceof Error) printLine(io.stderr, String(error.stack));
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, ' ');
}
