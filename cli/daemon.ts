// `wireonce INTERFACE`: a userspace WireGuard for Linux, in place of wireguard-go, driven by `wg`, `wg-quick` and `ip`.
// Promises: when the command returns the socket stands; a second start on a live interface is refused and changes
// nothing; deleting the link or a SIGTERM ends it, and nothing is left behind.
// Read on: tunnel/device-thread.ts; daemon/background.ts; wireguard-go main.go.

import type { Command } from 'commander';
import { type OpenCrng, openCrng } from '../tunnel/open-crng.js';
import { DeviceThread } from '../tunnel/device-thread.js';
import { TunnelError } from '../tunnel/errors.js';
import { UapiServer, socketPath } from '../tunnel/uapi/index.js';
import { isServed } from '../tunnel/uapi/socket-file.js';
import { ReadyPipe, startInBackground } from './daemon/background.js';
import { CliError } from './errors.js';
import type { CliIo, Finish } from './io.js';
import { isNearMiss } from './near-miss.js';
import { packageVersion } from './version.js';

export interface DaemonFlags {
  readonly foreground?: boolean;
}

export function registerDaemon(program: Command, io: CliIo, finish: Finish): void {
  program
    .argument('[interface]', 'make this interface and serve it, as wireguard-go does')
    .option('-f, --foreground', 'stay in the foreground')
    .action(async (name: string | undefined, flags: DaemonFlags) => {
      if (name === undefined) return program.help({ error: true });
      const meant = program.commands.map(command => command.name()).find(known => isNearMiss(name, known));
      if (meant !== undefined) program.error(`unknown command '${name}' (Did you mean ${meant}?)`);
      finish(await daemon(io, name, flags));
    });
}

/** Resolves with 0 when the daemon serves in the background or, in the foreground, when it has ended. */
export async function daemon(io: CliIo, name: string, flags: DaemonFlags): Promise<number> {
  const foreground = flags.foreground || io.env['WG_PROCESS_FOREGROUND'] === '1';
  const ready = new ReadyPipe(io.env);
  try {
    if (io.env['WG_UAPI_FD'] === undefined && (await isServed(socketPath(name)))) {
      throw new TunnelError('ERR_UAPI_IN_USE', `${name} is served already: something answers at its socket`);
    }
    if (foreground) {
      await serve(io, name, ready);
    } else {
      const { env } = io;
      const keepOutput = (env['LOG_LEVEL'] ?? '') !== '' && env['LOG_LEVEL'] !== 'silent';
      await startInBackground({ args: ['--foreground', name], env, keepOutput });
    }
    return 0;
  } catch (error) {
    ready.failed(error);
    throw error;
  }
}

async function serve(io: CliIo, requestedName: string, ready: ReadyPipe): Promise<void> {
  const closers: (() => Promise<void>)[] = [];
  try {
    const opened: OpenCrng = await openCrng();
    closers.push(() => opened.close());
    const tunFd = descriptor(io, 'WG_TUN_FD');
    const thread = await DeviceThread.start({
      tun: tunFd === undefined ? { name: requestedName } : { fd: tunFd },
      vmgenid: opened.vmgenid,
      crng: opened.crng,
      version: packageVersion(),
    });
    closers.push(() => thread.close());
    const stop = new AbortController();
    const onRemoved = () => stop.abort();
    const uapiFd = descriptor(io, 'WG_UAPI_FD');
    const path = socketPath(thread.name);
    const uapi =
      uapiFd === undefined
        ? await UapiServer.listen(path, thread, { onRemoved })
        : await UapiServer.adopt(uapiFd, path, thread, { onRemoved });
    closers.push(() => uapi.close());
    ready.ready();
    await Promise.race([aborted(AbortSignal.any([io.signal, stop.signal])), thread.ended]);
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

function descriptor(io: CliIo, name: string): number | undefined {
  const value = io.env[name];
  if (value === undefined || value === '') return undefined;
  const fd = Number(value);
  if (!Number.isInteger(fd) || fd < 0)
    throw new CliError('ERR_CLI_USAGE', `${name} is no descriptor: ${value}`);
  return fd;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
