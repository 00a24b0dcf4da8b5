// `wireonce status`: what `wg show` cannot say of a running device: protection, forks, drops, nonce headroom.
// Promises: asks the daemon and changes nothing; says clearly when nobody answers, or another implementation does.
// Read on: tunnel/daemon/status.ts; ask-daemon.ts, status-text.ts.

import { readdir } from 'node:fs/promises';
import type { Command } from 'commander';
import type { TunnelError } from '../tunnel/errors.js';
import type { DeviceStatus } from '../tunnel/daemon/status.js';
import { SOCKET_FOLDER } from '../tunnel/daemon/uapi/socket-path.js';
import { SILENCE_S, askDaemon, interfaceName } from './ask-daemon.js';
import { CliError } from './errors.js';
import { type CliIo, type Finish, printJson, printLine } from './io.js';
import { seconds } from './option-values.js';
import { statusLines } from './status-text.js';
import { printError } from './trouble.js';

export interface StatusOptions {
  /** Default: every interface with a socket. */
  readonly interface?: string | undefined;
  readonly json?: boolean;
  /** Seconds that a daemon may be silent. */
  readonly timeout?: number;
  /** Where the sockets are. */
  readonly folder?: string;
  /** Wall-clock milliseconds. */
  readonly now?: () => number;
}

const SUFFIX = '.sock';

export function registerStatus(program: Command, io: CliIo, finish: Finish): void {
  program
    .command('status')
    .argument('[interface]', 'the name of an interface (default: all)', interfaceName)
    .description('print what wg show cannot say: protection, epoch, forks, drops, nonce headroom')
    .option('--timeout <seconds>', 'how long a daemon may be silent', seconds(0.01, 86_400), SILENCE_S)
    .option('--json', 'print JSON, a line for each interface')
    .action(async (name: string | undefined, options: StatusOptions) =>
      finish(await status(io, { ...options, interface: name })),
    );
}

/**
 * Prints the status of one interface or of all. Throws `ERR_CLI_NO_DAEMON` when no daemon of ours answers, and what
 * `UapiClient.status` throws.
 */
export async function status(io: CliIo, options: StatusOptions = {}): Promise<number> {
  const { folder = SOCKET_FOLDER, timeout = SILENCE_S } = options;
  const ask = (name: string) =>
    askDaemon({ name, folder, timeoutMs: 1_000 * timeout }, client => client.status());
  if (options.interface !== undefined) {
    print(io, options, await ask(options.interface), true);
    return 0;
  }
  const names = await interfacesIn(folder);
  // All at once: of many silent ones none adds to the wait for another.
  const answers = names.map(ask);
  for (const answer of answers) answer.catch(() => undefined);
  let shown = 0;
  let failed = false;
  for (const answer of answers) {
    try {
      print(io, options, await answer, shown === 0);
      shown++;
    } catch (error) {
      // One that does not answer keeps no other from being shown.
      failed ||= !isSomebodyElses(error);
      printError(error, io);
    }
  }
  if (shown > 0 || failed) return failed ? 1 : 0;
  const found = names.length === 0 ? 'no interface has a socket' : 'none of the sockets is ours';
  throw new CliError('ERR_CLI_NO_DAEMON', `no wireonce runs: ${found} in ${folder}`, {
    hints: ['start one with: wireonce wg0'],
  });
}

/** A dead socket, or a daemon that is not ours, is no failure of the others. */
function isSomebodyElses(error: unknown): boolean {
  const cause = (error as CliError).cause as Partial<TunnelError> | undefined;
  if (cause?.code === 'ERR_UAPI_NO_STATUS') return true;
  return (cause?.cause as NodeJS.ErrnoException | undefined)?.code === 'ECONNREFUSED';
}

function print(io: CliIo, options: StatusOptions, found: DeviceStatus, first: boolean): void {
  if (options.json) {
    printJson(io.stdout, found);
    return;
  }
  const now = (options.now ?? Date.now)();
  if (!first) printLine(io.stdout, '');
  for (const line of statusLines(found, now)) printLine(io.stdout, line);
}

async function interfacesIn(folder: string): Promise<string[]> {
  const files = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new CliError('ERR_CLI_NO_DAEMON', `${folder}: ${error.message}`, { cause: error });
  });
  return files
    .filter(file => file.endsWith(SUFFIX))
    .map(file => file.slice(0, -SUFFIX.length))
    .toSorted();
}
