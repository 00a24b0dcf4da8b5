// How an error is said on standard error.
// Promises: one line for a human, `wireonce: ...`; hints are further lines that say what to do or to look at; no secrets;
// no word of the system's in capitals where we have a plain one; never a stack trace, unless WIREONCE_DEBUG=1.
// Read on: errors.ts; daemon/start-trouble.ts (what keeps an interface from being made).

import { getSystemErrorMap } from 'node:util';
import { CliError } from './errors.js';
import { type CliIo, printLine } from './io.js';

export interface Said {
  readonly message: string;
  readonly hints: readonly string[];
}

/** The system's refusals, by the name of the error, and what to do. */
const WORDS: Readonly<Record<string, readonly [words: string, hint?: string]>> = {
  EACCES: ['no permission', 'root may: try sudo'],
  EPERM: ['no permission', 'root may: try sudo'],
  ENOENT: ['no such file'],
  ENOTDIR: ['a part of its path is no folder'],
  EISDIR: ['a folder, not a file'],
  ELOOP: ['its links lead in a circle'],
  EROFS: ['the file system is read-only'],
  ENAMETOOLONG: ['the name is too long'],
  ENOSPC: ['no space is left on the device', 'make room: df -h shows where'],
  EDQUOT: ['the disk quota is used up', 'make room'],
  EMFILE: ['too many files are open', 'raise the limit, as by ulimit -n 1024'],
  ENFILE: ['too many files are open on this machine', 'end something, or raise fs.file-max'],
  ENOMEM: ['no memory is left'],
  EADDRINUSE: [
    'another program has this port',
    'choose another port, or end that program: ss -lntup shows it',
  ],
  EADDRNOTAVAIL: ['this machine has no such address', 'ip address shows those that it has'],
};

const VSOCK_PORT_TAKEN =
  'choose another port, or end that program: ss -lp --vsock shows it, where the kernel has CONFIG_VSOCKETS_DIAG';

/** With these it says nothing which file it was. */
const OF_THE_PROCESS: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);

/** Prints an error. Whatever is thrown, its message is one line. */
export function printError(error: unknown, io: Pick<CliIo, 'stderr' | 'env'>): void {
  const { message, hints } = inWords(error);
  printLine(io.stderr, `wireonce: ${oneLine(message)}`);
  for (const hint of hints) printLine(io.stderr, `  - ${hint}`);
  if (io.env['WIREONCE_DEBUG'] === '1' && error instanceof Error)
    for (const line of String(error.stack).split('\n')) printLine(io.stderr, line);
}

/** One line about what is strange but stops nothing. */
export function printWarning({ stderr }: Pick<CliIo, 'stderr'>, warning: string): void {
  printLine(stderr, `wireonce: warning: ${oneLine(warning)}`);
}

/** `ERR_CLI_INPUT` for a file that cannot be read. */
export function unreadable(path: string, cause: unknown): CliError {
  const { message, hints } = inWords(cause);
  const problem = message.startsWith(`${path}: `) ? message : `${path}: ${message}`;
  return new CliError('ERR_CLI_INPUT', problem, { cause, hints });
}

export function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, ' ');
}

/** An error's message and hints, with the system's words, which Node puts at the end of a message, exchanged for ours. */
export function inWords(error: unknown): Said {
  if (!(error instanceof Error)) return { message: String(error), hints: [] };
  const hints = error instanceof CliError ? error.hints : [];
  const message = error.message || error.name;
  if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') {
    // Node says so too when it may open no more files.
    const problem = `a part of the program cannot be loaded: ${message}`;
    return { message: problem, hints: ['install it anew, or raise the limit of open files: ulimit -n 1024'] };
  }
  const tail = systemTail(message);
  const known = tail && WORDS[tail.name];
  if (!tail || !known) return { message, hints };
  const before = message.slice(0, tail.at);
  const { path } = error as NodeJS.ErrnoException;
  const about = before !== '' || path === undefined || OF_THE_PROCESS.has(tail.name) ? before : `${path}: `;
  const [, folder] = / mkdtemp '(.*)\/[^/]*'$/.exec(message) ?? [];
  if (tail.name === 'ENOENT' && folder !== undefined)
    return { message: `${about}its folder is missing`, hints: [...hints, `make it: mkdir -p ${folder}`] };
  if (tail.name === 'EADDRINUSE' && before.endsWith('vsock: '))
    return { message: about + known[0], hints: [...hints, VSOCK_PORT_TAKEN] };
  return { message: about + known[0], hints: known[1] === undefined ? hints : [...hints, known[1]] };
}

/** Where `listen EADDRINUSE: address already in use 127.0.0.1:1` or `ENOENT: no such file or directory, ...` begins. */
function systemTail(message: string): { readonly at: number; readonly name: string } | undefined {
  const match = /(?:\b[a-z]+ )?\b(E[A-Z0-9]{2,})(?:: | ?$)/.exec(message);
  if (!match) return undefined;
  const [text, name] = match;
  const rest = message.slice(match.index + text.length);
  const [, words] = [...getSystemErrorMap().values()].find(([each]) => each === name) ?? [];
  // `connect EACCES /run/x.sock` is the other form; a sentence of ours that begins with such a word is left alone.
  if (words === undefined || (text.endsWith(': ') && !rest.startsWith(words))) return undefined;
  return { at: match.index, name };
}
