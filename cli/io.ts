// What a command has of the outside world. The `wireonce` program gives its process, a test gives its own.
// Promises: no command touches `process`; each ends soon after `signal` is aborted.

import { harmless } from '../tunnel/daemon/human.js';
import { CliError } from './errors.js';

export interface CliIo {
  readonly stdin: AsyncIterable<Uint8Array | string>;
  /** `fd` is there when a file descriptor lies under it. */
  readonly stdout: NodeJS.WritableStream & { readonly fd?: unknown };
  readonly stderr: NodeJS.WritableStream;
  /** Aborted when the command is to finish: by SIGINT, SIGTERM and their kin (signals.ts). */
  readonly signal: AbortSignal;
  /** For what serves: from here on the end of the terminal is no reason to finish. */
  readonly outliveTerminal: () => void;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A command has done its work when its promise resolves, with the exit status. */
export type Finish = (exitCode: number) => void;

/**
 * One line, whatever is in it: much of what is printed was read from a file, or said by a daemon or a
 * peer's configuration.
 */
export function printLine(stream: NodeJS.WritableStream, line: string): void {
  stream.write(`${harmless(line)}\n`);
}

/** One JSON value on one line. */
export function printJson(stream: NodeJS.WritableStream, value: unknown): void {
  printLine(stream, JSON.stringify(value));
}

/**
 * Everything on standard input, to its end. Throws `ERR_CLI_INPUT` beyond `limit` bytes, `ERR_CLI_INTERRUPTED` when
 * the signal comes first.
 */
export async function readStdin(io: CliIo, limit: number): Promise<Buffer> {
  const input = io.stdin[Symbol.asyncIterator]();
  const interrupted = new Promise<never>((_, reject) => {
    const stop = () => reject(new CliError('ERR_CLI_INTERRUPTED', 'interrupted'));
    if (io.signal.aborted) stop();
    else io.signal.addEventListener('abort', stop, { once: true });
  });
  interrupted.catch(() => {});
  const chunks: Buffer[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await Promise.race([input.next(), interrupted]);
    if (done) return Buffer.concat(chunks);
    const chunk = Buffer.from(value as Uint8Array);
    length += chunk.length;
    if (length > limit) {
      throw new CliError('ERR_CLI_INPUT', `standard input is longer than ${limit} bytes`);
    }
    chunks.push(chunk);
  }
}
