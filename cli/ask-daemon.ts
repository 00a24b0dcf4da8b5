// One question to a running daemon, and what to say when no answer comes.
// Promises: names the interface, says why most likely, and what to do.
// Read on: ../tunnel/daemon/uapi/client.ts; status.ts and drill.ts, which ask.

import { InvalidArgumentError } from 'commander';
import { UapiClient } from '../tunnel/daemon/uapi/client.js';
import { socketPath } from '../tunnel/daemon/uapi/socket-path.js';
import { TunnelError } from '../tunnel/errors.js';
import { CliError } from './errors.js';
import { INTERFACE_NAME_RULE, isInterfaceName } from './interface-name.js';

export interface DaemonAddress {
  /** Of the interface. */
  readonly name: string;
  /** Where the sockets are. */
  readonly folder: string;
  /** The longest that the daemon may be silent. */
  readonly timeoutMs: number;
}

/** A daemon that is alive answers at once. Seconds. */
export const SILENCE_S = 1;

/** Throws `ERR_CLI_NO_DAEMON` where no daemon of ours answers. */
export async function askDaemon<T>(at: DaemonAddress, ask: (client: UapiClient) => Promise<T>): Promise<T> {
  const { name, folder, timeoutMs } = at;
  try {
    return await ask(new UapiClient(socketPath(name, folder), { timeoutMs }));
  } catch (error) {
    if (!(error instanceof TunnelError)) throw error;
    const problem = PROBLEMS[error.code]?.(name) ?? `${name}: ${error.message}`;
    const { code } = (error.cause ?? {}) as NodeJS.ErrnoException;
    const hints =
      HINTS[error.code] ?? (code === 'EACCES' || code === 'EPERM' ? ['root may ask: try sudo'] : []);
    throw new CliError('ERR_CLI_NO_DAEMON', problem + reasonOf(code), { cause: error, hints });
  }
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

const HINTS: Readonly<Record<string, readonly string[]>> = {
  ERR_UAPI_SILENCE: [
    'ps -o stat,pid,args -C node shows a stopped one with T, and kill -CONT PID lets it go on',
    'to wait longer: wireonce status --timeout 30',
  ],
};

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: ": no such interface, or one whose WireGuard is the kernel's",
  ECONNREFUSED: ': its socket was left by one that died',
  EACCES: ': no permission',
  EPERM: ': no permission',
};

function reasonOf(code: string | undefined): string {
  return (code !== undefined && REASONS[code]) || '';
}
