// One question to a running daemon, or to all, and what to say when no answer comes.
// Promises: names the interface, says why most likely, and what to do.
// Read on: ../tunnel/daemon/uapi/client.ts; status.ts and drill.ts, which ask.

import { readdir } from 'node:fs/promises';
import { InvalidArgumentError } from 'commander';
import type { DeviceStatus } from '../tunnel/daemon/status.js';
import { UapiClient } from '../tunnel/daemon/uapi/client.js';
import { SOCKET_FOLDER, socketPath } from '../tunnel/daemon/uapi/socket-path.js';
import { TunnelError } from '../tunnel/errors.js';
import { CliError } from './errors.js';
import { INTERFACE_NAME_RULE, isInterfaceName } from './interface-name.js';
import { KEEP_FROM_KERNEL, type LinkKind, kernelWireGuards, linkKind } from './kernel-wireguard.js';

export interface DaemonAddress {
  /** Of the interface. */
  readonly name: string;
  /** Where the sockets are. */
  readonly folder: string;
  /** The longest that the daemon may be silent. */
  readonly timeoutMs: number;
  /** Where Linux shows its interfaces. */
  readonly links?: string | undefined;
}

const SUFFIX = '.sock';
/** A daemon that is alive answers at once. Seconds. */
export const SILENCE_S = 1;

/** Throws `ERR_CLI_NO_DAEMON` where no daemon of ours answers. */
export async function askDaemon<T>(at: DaemonAddress, ask: (client: UapiClient) => Promise<T>): Promise<T> {
  const { name, folder, timeoutMs, links } = at;
  try {
    return await ask(new UapiClient(socketPath(name, folder), { timeoutMs }));
  } catch (error) {
    if (!(error instanceof TunnelError)) throw error;
    const problem = PROBLEMS[error.code]?.(name) ?? `${name}: ${error.message}`;
    const { code } = (error.cause ?? {}) as NodeJS.ErrnoException;
    const { reason, hints } =
      code === 'ENOENT' ? WITHOUT_SOCKET[linkKind(name, links)] : { reason: REASONS[code ?? ''] ?? '' };
    throw new CliError('ERR_CLI_NO_DAEMON', problem + reason, {
      cause: error,
      hints: hints ?? HINTS[error.code] ?? HINTS[code ?? ''] ?? [],
    });
  }
}

export interface AskOptions {
  /** Default: every interface with a socket. */
  readonly interface?: string | undefined;
  /** Seconds that a daemon may be silent. */
  readonly timeout?: number;
  /** Where the sockets are. */
  readonly folder?: string;
  /** Where Linux shows its interfaces. */
  readonly links?: string;
}

/** What one interface answered: a status, or why there is none. */
export interface Answer {
  readonly name: string;
  readonly status?: DeviceStatus;
  readonly error?: unknown;
}

/** Asks the interface that is named, or all: at once, so that of many silent ones none adds to the wait for another. */
export async function askAll(options: AskOptions): Promise<Answer[]> {
  const { folder = SOCKET_FOLDER, timeout = SILENCE_S, links } = options;
  const names = options.interface === undefined ? await interfacesIn(folder) : [options.interface];
  return Promise.all(
    names.map(name =>
      askDaemon({ name, folder, timeoutMs: 1_000 * timeout, links }, client => client.status()).then(
        status => ({ name, status }),
        (error: unknown) => ({ name, error }),
      ),
    ),
  );
}

/** Of answers none of which is a status: what to say. */
export function nobodyAnswers(answers: readonly Answer[], options: AskOptions): unknown {
  if (options.interface !== undefined) return answers[0].error;
  const found = answers.length === 0 ? 'no interface has a socket' : 'none of the sockets is ours';
  const problem = `no wireonce runs: ${found} in ${options.folder ?? SOCKET_FOLDER}`;
  const kernels = kernelWireGuards(options.links);
  const hints =
    kernels.length > 0
      ? [`of the kernel's WireGuard, which does not notice a fork: ${kernels.join(', ')}`, KEEP_FROM_KERNEL]
      : ['start one with: wireonce wg0'];
  return new CliError('ERR_CLI_NO_DAEMON', problem, { hints });
}

/** A dead socket, or a daemon that is not ours, is no failure of the others. */
export function isSomebodyElses(error: unknown): boolean {
  const cause = (error as CliError).cause as Partial<TunnelError> | undefined;
  if (cause?.code === 'ERR_UAPI_NO_STATUS') return true;
  return (cause?.cause as NodeJS.ErrnoException | undefined)?.code === 'ECONNREFUSED';
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

/** Reads an interface's name from the command line. */
export function interfaceName(text: string): string {
  if (isInterfaceName(text)) return text;
  throw new InvalidArgumentError(`The name of an interface is wanted: ${INTERFACE_NAME_RULE}.`);
}

const PROBLEMS: Readonly<Record<string, (name: string) => string>> = {
  ERR_UAPI_CONNECT: name => `${name}: no daemon answers`,
  ERR_UAPI_SILENCE: name => `${name}: its daemon is there and says nothing: it is stopped, or very busy`,
  ERR_UAPI_NO_STATUS: name =>
    `${name}: another implementation runs it, which has no status: try wg show ${name}`,
};

/** By our code, or by the system's. */
const HINTS: Readonly<Record<string, readonly string[]>> = {
  ERR_UAPI_SILENCE: [
    'ps -o stat,pid,args -C node shows a stopped one with T, and kill -CONT PID lets it go on',
    'to wait longer: wireonce status --timeout 30',
  ],
  EACCES: ['root may ask: try sudo'],
  EPERM: ['root may ask: try sudo'],
};

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: ': its socket was left by one that died',
  EACCES: ': no permission',
  EPERM: ': no permission',
};

/** By what Linux says of the interface. */
const WITHOUT_SOCKET: Readonly<
  Record<LinkKind, { readonly reason: string; readonly hints: readonly string[] }>
> = {
  none: { reason: ': no such interface', hints: ['those that run: wireonce status'] },
  other: { reason: ': an interface of another kind', hints: ['those that run: wireonce status'] },
  wireguard: {
    reason: ": its WireGuard is the kernel's, which does not notice a fork",
    hints: [KEEP_FROM_KERNEL],
  },
};
