// `wireonce drill INTERFACE`: a fork on request, without one: does everything that follows a fork come to its good end?
// Promises: the daemon's real response to a fork, and no harm: identity, peers and settings stay; exit 1 unless whoever was
// in conversation is back in time, all under new keys.
// Read on: drill-report.ts; ../tunnel/daemon/drill.ts, ../vmgenid/driver.ts `drill`.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { SOCKET_FOLDER } from '../tunnel/daemon/uapi/socket-path.js';
import { type DaemonAddress, SILENCE_S, askDaemon, interfaceName } from './ask-daemon.js';
import { drillLines, drillReport, isOver } from './drill-report.js';
import { CliError } from './errors.js';
import { type CliIo, type Finish, printJson, printLine } from './io.js';
import { seconds } from './option-values.js';

export interface DrillOptions {
  /** Seconds that peers have to come back. */
  readonly timeout?: number;
  readonly json?: boolean;
  /** Where the sockets are. */
  readonly folder?: string;
}

const TIMEOUT_S = 10;
/** Between two looks; and, as a status of very many peers is work for the daemon, so many times what the last one took. */
const LOOK_EVERY_MS = 20;
const REST_PER_LOOK = 3;

export function registerDrill(program: Command, io: CliIo, finish: Finish): void {
  program
    .command('drill')
    .argument('<interface>', 'the name of an interface', interfaceName)
    .description(
      'have a daemon do all that follows a fork, and see that every peer comes back under new keys',
    )
    .option('--timeout <seconds>', 'how long peers have to come back', seconds(0.1, 3_600), TIMEOUT_S)
    .option('--json', 'print one line of JSON')
    .action(async (name: string, options: DrillOptions) => finish(await drill(io, name, options)));
}

/**
 * Drills, and prints what became of it. Throws `ERR_CLI_NO_DAEMON` when no daemon of ours answers, `ERR_CLI_DRILL` when it
 * would do harm or show nothing now, `ERR_CLI_INTERRUPTED`.
 */
export async function drill(io: CliIo, name: string, options: DrillOptions = {}): Promise<number> {
  const { timeout = TIMEOUT_S, folder = SOCKET_FOLDER, json = false } = options;
  const address: DaemonAddress = { name, folder, timeoutMs: 1_000 * Math.max(SILENCE_S, timeout) };
  const start = await askDaemon(address, client => client.drill());
  if ('refused' in start) throw new CliError('ERR_CLI_DRILL', `${name}: no drill now: ${start.refused}`);
  const deadline = performance.now() + 1_000 * timeout;
  for (;;) {
    const askedAt = performance.now();
    const status = await askDaemon(address, client => client.status());
    const now = performance.now();
    if (isOver(start, status) || now >= deadline) {
      const report = drillReport(start, status, timeout);
      if (json) printJson(io.stdout, report);
      else for (const line of drillLines(report)) printLine(io.stdout, line);
      return report.ok ? 0 : 1;
    }
    const restMs = Math.max(LOOK_EVERY_MS, REST_PER_LOOK * (now - askedAt));
    await sleep(Math.min(restMs, deadline - now), undefined, { signal: io.signal }).catch(() => {
      throw new CliError('ERR_CLI_INTERRUPTED', `interrupted: the drill of ${name} goes on in its daemon`);
    });
  }
}
