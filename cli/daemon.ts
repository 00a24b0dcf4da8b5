// `wireonce INTERFACE`: a userspace WireGuard for Linux, in place of wireguard-go, driven by `wg`, `wg-quick` and `ip`.
// Promises: when the command returns the socket stands; a second start on a live interface is refused and changes
// nothing; deleting the link or a SIGTERM ends it, and nothing is left behind.
// Read on: tunnel/daemon/device-thread.ts; daemon/background.ts; wireguard-go main.go.

import type { Command } from 'commander';
import { TunnelError } from '../tunnel/errors.js';
import { socketPath } from '../tunnel/daemon/uapi/socket-path.js';
import { isServed } from '../native/socket-file.js';
import { ProcessRights } from '../tunnel/linux/process-rights.js';
import { PROGRAM, ReadyPipe, startInBackground } from './daemon/background.js';
import { takeHandover } from './daemon/handover.js';
import {
  addDaemonOptions,
  type DaemonFlags,
  forwardedArguments,
  readDaemonOptions,
} from './daemon/options.js';
import { giveUpRights, openDevices, startAnew } from './daemon/rights.js';
import { requireNode } from './daemon/runtime.js';
import { startTrouble } from './daemon/start-trouble.js';
import { CliError, exitCodeOf } from './errors.js';
import { INTERFACE_NAME_RULE, isInterfaceName } from './interface-name.js';
import type { CliIo, Finish } from './io.js';
import { printWarning } from './trouble.js';
import { refuseWord } from './verbs.js';

/** `isName`: the name stood behind `--`, and is one whatever it reads like. */
export function registerDaemon(program: Command, io: CliIo, finish: Finish, isName: boolean): void {
  const asked = () =>
    program.options.find(option => program.getOptionValueSource(option.attributeName()) === 'cli');
  addDaemonOptions(program)
    .argument('[interface]', 'make this interface and serve it, as wireguard-go does')
    // Else the flags of a daemon would be taken from the commands that have them too.
    .enablePositionalOptions()
    .hook('preSubcommand', (_, command) => {
      const option = asked();
      if (option)
        program.error(`${option.long} is for an interface: before '${command.name()}' it says nothing`);
    })
    .action(async (name: string | undefined, flags: DaemonFlags) => {
      if (name === undefined) {
        if (!asked()) program.help({ error: true });
        program.error('the name of an interface is missing');
      }
      if (!isName)
        refuseWord(
          name,
          [],
          program.commands.map(command => command.name()),
        );
      finish(await daemon(io, name, flags));
    });
}

/** Resolves with the exit status when the daemon serves in the background or, in the foreground, when it has ended. */
export async function daemon(io: CliIo, name: string, flags: DaemonFlags): Promise<number> {
  const ready = new ReadyPipe(io.env);
  try {
    requireNode();
    if (!isInterfaceName(name)) {
      const problem = `${JSON.stringify(name)} is no name for an interface`;
      throw new CliError('ERR_CLI_USAGE', `${problem}: ${INTERFACE_NAME_RULE}`);
    }
    const handover = takeHandover(io.env);
    if (!handover) return await firstStart(io, name, flags);
    // Loaded here alone: the other commands, and the one that starts this one, need none of it.
    const { serve } = await import('./daemon/serve.js');
    return await serve(io, name, handover, () => ready.ready());
  } catch (error) {
    const said = startTrouble(error, name);
    // Whoever started us says it.
    if (ready.failed(said)) return exitCodeOf(said);
    throw said;
  }
}

/** With all the rights that we were given: reads and opens what needs them, and starts the daemon without. */
async function firstStart(io: CliIo, name: string, flags: DaemonFlags): Promise<number> {
  const { env } = io;
  const options = readDaemonOptions(io, name, flags);
  if (env['WG_UAPI_FD'] === undefined && (await isServed(socketPath(name)))) {
    throw new TunnelError('ERR_UAPI_IN_USE', `${name} is served already: something answers at its socket`);
  }
  const rights = new ProcessRights();
  const opened = openDevices(options.settings);
  const refused = giveUpRights(rights, [
    process.execPath,
    PROGRAM,
    options.settings.generationFile ?? PROGRAM,
  ]);
  const warnings = [...options.warnings, ...refused.map(call => `the daemon keeps rights: ${call}`)];
  const handover = { options: { ...options, warnings }, opened };
  if (options.foreground || env['WG_PROCESS_FOREGROUND'] === '1') {
    await startAnew(io, rights, handover);
    return 0;
  }
  const keepOutput = (env['LOG_LEVEL'] ?? '') !== '' && env['LOG_LEVEL'] !== 'silent';
  // One that keeps its output says them itself.
  if (!keepOutput && env['LOG_LEVEL'] !== 'silent') for (const warning of warnings) printWarning(io, warning);
  const args = ['--foreground', ...forwardedArguments(flags), '--', name];
  await startInBackground({ args, env, keepOutput, rights, handover });
  return 0;
}
