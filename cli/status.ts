// `wireonce status`: what `wg show` cannot say of a running device: protection, forks, drops, nonce headroom.
// Promises: asks the daemon and changes nothing; says clearly when nobody answers, or another implementation does.
// Read on: tunnel/daemon/status.ts; ask-daemon.ts, status-text.ts, status-watch.ts.

import { type Command, Option } from 'commander';
import type { DeviceStatus } from '../tunnel/daemon/status.js';
import { SILENCE_S, askAll, interfaceName, isSomebodyElses, nobodyAnswers } from './ask-daemon.js';
import { isInterfaceName } from './interface-name.js';
import { type CliIo, type Finish, printJson, printLine } from './io.js';
import { seconds } from './option-values.js';
import { parsePort, refusePort, showPage } from './page.js';
import { type FeedOptions, WATCH_EVERY_S, firstAnswers, statusFeed } from './status-feed.js';
import { statusLines } from './status-text.js';
import { type StatusOptions, watchStatus } from './status-watch.js';
import { printError } from './trouble.js';

export function registerStatus(program: Command, io: CliIo, finish: Finish): void {
  program
    .command('status')
    .argument('[interface]', 'the name of an interface (default: all)', interfaceName)
    .description('print what wg show cannot say: protection, epoch, forks, drops, nonce headroom')
    .option('--watch [seconds]', `print it again and again (default: every ${WATCH_EVERY_S} s)`, everyOrName)
    .addOption(new Option('--web', 'as a page in a browser of this machine, live').conflicts('json'))
    .option('--port <n>', 'of the page; default one that is free', parsePort)
    .option('--timeout <seconds>', 'how long a daemon may be silent', seconds(0.01, 86_400), SILENCE_S)
    .option('--json', 'print JSON, a line for each interface')
    .action(
      async (given: string | undefined, { watch, web, port, ...options }: StatusFlags, command: Command) => {
        if (typeof watch === 'string' && given !== undefined)
          command.error(`error: two interfaces, ${watch} and ${given}: name one, or none for all`);
        const name = typeof watch === 'string' ? watch : given;
        const everyS = typeof watch === 'number' ? watch : WATCH_EVERY_S;
        const asked = { ...options, interface: name };
        if (web) finish(await showStatus(io, everyS, port, asked));
        else finish(watch === undefined ? await status(io, asked) : await watchStatus(io, everyS, asked));
      },
    );
}

type StatusFlags = Omit<StatusOptions, 'interface'> & {
  /** True without a value. */
  readonly watch?: true | number | string;
  readonly web?: boolean;
  readonly port?: number;
};

const readEvery = seconds(0.1, 86_400);

/** Whoever writes `--watch wg0` means the interface. */
function everyOrName(text: string): number | string {
  return !/^[\d.]/.test(text) && isInterfaceName(text) ? text : readEvery(text);
}

/**
 * Prints the status of one interface or of all. Throws `ERR_CLI_NO_DAEMON` when no daemon of ours answers, and what
 * `UapiClient.status` throws.
 */
export async function status(io: CliIo, options: StatusOptions = {}): Promise<number> {
  const answers = await askAll(options);
  let shown = 0;
  let failed = false;
  for (const { status, error } of answers) {
    if (status) print(io, options, status, shown++ === 0);
    else if (options.interface !== undefined) throw error;
    else {
      // One that does not answer keeps no other from being shown.
      failed ||= !isSomebodyElses(error);
      printError(error, io);
    }
  }
  if (shown > 0 || failed) return failed ? 1 : 0;
  throw nobodyAnswers(answers, options);
}

/**
 * Serves the page until the signal. Its address is printed and opens no browser: the token in it would stand among the
 * arguments of that program, for every user to read. Throws as `status`, and `ERR_CLI_PAGE`.
 */
async function showStatus(
  io: CliIo,
  everyS: number,
  port: number | undefined,
  options: FeedOptions,
): Promise<number> {
  if (!(await firstAnswers(options, io.signal))) return 0;
  const { serveLiveStatus } = await import('../web/server/live-status.js');
  const feed = (signal: AbortSignal) => statusFeed(everyS, options, signal);
  await showPage(await serveLiveStatus({ port, feed }).catch(refusePort), { open: false }, io);
  return 0;
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
