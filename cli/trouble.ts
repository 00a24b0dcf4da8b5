// How an error is said on standard error.
// Promises: one line for a human, `wireonce: ...`; hints are further lines that say what to do or to look at; no secrets;
// never a stack trace, unless WIREONCE_DEBUG=1.
// Read on: errors.ts; daemon/start-trouble.ts (what keeps a daemon from starting).

import { CliError } from './errors.js';
import { type CliIo, printLine } from './io.js';

/** What the system refuses to any command, by the name of the error. */
const SYSTEM: Readonly<Record<string, string>> = {
  EMFILE: 'too many files are open: raise the limit, as by ulimit -n 1024',
  ENFILE: 'too many files are open on this machine: end something, or raise fs.file-max',
  ENOSPC: 'no space is left on the device: make room',
  EDQUOT: 'the disk quota is used up: make room',
  EROFS: 'the file system is read-only',
  ENOMEM: 'no memory is left',
};

/** With these it says nothing which file it was. */
const OF_THE_PROCESS: ReadonlySet<string | undefined> = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);

/** What is wrong with a file that a user named, by the name of the error. */
const FILE: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'no permission to read it: try sudo',
  EPERM: 'no permission to read it: try sudo',
  EISDIR: 'a folder, not a file',
  ENOTDIR: 'no such file: a part of its path is no folder',
  ELOOP: 'its links lead in a circle',
};

/** Prints an error. Whatever is thrown, there is one line. */
export function printError(error: unknown, io: Pick<CliIo, 'stderr' | 'env'>): void {
  const message = error instanceof Error ? sentence(error) : String(error);
  printLine(io.stderr, `wireonce: ${oneLine(message)}`);
  if (error instanceof CliError) for (const hint of error.hints) printLine(io.stderr, `  - ${hint}`);
  if (io.env['WIREONCE_DEBUG'] === '1' && error instanceof Error) printLine(io.stderr, String(error.stack));
}

/** One line about what is strange but stops nothing. */
export function printWarning({ stderr }: Pick<CliIo, 'stderr'>, warning: string): void {
  printLine(stderr, `wireonce: warning: ${oneLine(warning)}`);
}

/** `ERR_CLI_INPUT` for a file that cannot be read, in words. */
export function unreadable(path: string, cause: unknown): CliError {
  const { code, message } = cause as NodeJS.ErrnoException;
  return new CliError('ERR_CLI_INPUT', `${path}: ${(code && (FILE[code] ?? SYSTEM[code])) || message}`, {
    cause,
  });
}

export function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, ' ');
}

/** Errors of ours are sentences already; what Node throws by itself names a call and a number. */
function sentence(error: Error): string {
  const { code, syscall, path } = error as NodeJS.ErrnoException;
  const words = code === undefined || syscall === undefined ? undefined : SYSTEM[code];
  if (words === undefined) return error.message || error.name;
  return path === undefined || OF_THE_PROCESS.has(code) ? words : `${path}: ${words}`;
}
