// `wireonce vmgenid serve`: the broker as a service.
// Promises: says where programs find it; prints a line for each fork and for its end; ends at the signal.
// Read on: vmgenid/broker/broker.ts; docs/configuration.md "The broker".

import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { Broker, type BrokerEvent, type VmGenId } from '../vmgenid/index.js';
import type { CliIo, Finish } from './io.js';
import { seconds } from './option-values.js';
import { sourceOptions, withHookToken } from './vmgenid-sources.js';
import { type Print, type WatchOptions, watchForks } from './vmgenid-watch.js';

export interface ServeOptions extends WatchOptions {
  /** False: no page. */
  readonly counterFile?: string | false;
  /** False: no socket. */
  readonly socket?: string | false;
  readonly socketMode?: number;
  readonly exec?: string;
  /** Seconds. */
  readonly ackTimeout?: number;
}

export const DEFAULT_COUNTER_FILE = '/run/wireonce/vmgenid';
export const DEFAULT_BROKER_SOCKET = '/run/wireonce/vmgenid.sock';
const DEFAULT_ACK_TIMEOUT_S = 10;
/** A reading costs less than a microsecond: so late, at most, does a program hear that a page has changed. Milliseconds. */
const POLL_MS = 10;

export function registerServe(group: Command, io: CliIo, finish: Finish): void {
  sourceOptions(group.command('serve'))
    .description('tell every other program of forks: by a page to map or read, a socket and a command')
    .option('--counter-file <path>', 'the page with the counter', DEFAULT_COUNTER_FILE)
    .option('--no-counter-file', 'no page')
    .option('--socket <path>', 'the socket for subscribers', DEFAULT_BROKER_SOCKET)
    .option('--no-socket', 'no socket')
    .option('--socket-mode <octal>', 'who may connect (default: 600)', fileMode)
    .option(
      '--exec <command>',
      'run this by the shell for every fork, and again when the kernel has reseeded: WIREONCE_RESEEDED is 1',
    )
    .option(
      '--ack-timeout <seconds>',
      'how long a fork waits for subscribers and the command',
      seconds(0.01, 86_400),
      DEFAULT_ACK_TIMEOUT_S,
    )
    .action(async options => finish(await vmgenidServe(io, withHookToken(options, io))));
}

/**
 * Serves until the signal and resolves with 0. Throws as `vmgenidWatch` does, and `ERR_BROKER_FILE`,
 * `ERR_BROKER_IN_USE`, `ERR_BROKER_LISTEN`.
 */
export function vmgenidServe(io: CliIo, options: ServeOptions = {}): Promise<number> {
  const { counterFile = DEFAULT_COUNTER_FILE, socket = DEFAULT_BROKER_SOCKET, socketMode, exec } = options;
  let broker: Broker | undefined;
  const attach = async (vmgenid: VmGenId, print: Print) => {
    for (const path of [counterFile, socket]) if (path) makeFolder(path);
    broker = await Broker.open({
      vmgenid,
      counterFile: counterFile || undefined,
      socket: socket || undefined,
      socketMode,
      command: exec,
      ackTimeoutMs: 1_000 * (options.ackTimeout ?? DEFAULT_ACK_TIMEOUT_S),
      onEvent: event => report(event, print),
    });
    const places = [counterFile, socket, exec && `sh -c '${exec}'`].filter(Boolean).join(', ');
    const fields = { counterFile, socket, exec: exec ?? null, counter: broker.counter ?? null };
    print('serving', fields, `serving ${places || 'nobody'}`);
    return broker;
  };
  io.outliveTerminal();
  const reporter = () => {
    if (!broker) throw new Error('the broker has not started');
    return broker.report();
  };
  return watchForks(io, options, { pollMs: POLL_MS, attach, reporter });
}

const HISTORY = {
  new: 'new',
  same: 'as the last broker left it',
  forked: 'moved on: this machine was forked while nobody served',
  unknown: 'moved on, to be safe: whether this machine was forked while nobody served is not known',
} as const;

function report(event: BrokerEvent, print: Print): void {
  switch (event.type) {
    case 'page': {
      const { history, counter } = event;
      print('page', { history, counter }, `counter page: ${HISTORY[history]}, counter ${counter}`);
      break;
    }
    case 'settled': {
      const { epoch, acknowledged, missed } = event;
      const text = `settled: epoch ${epoch}, ${acknowledged} acknowledged, ${missed} missed`;
      print('settled', { epoch, acknowledged, missed }, text);
      break;
    }
    case 'commandDone': {
      const { epoch, reseeded } = event;
      const then = reseeded ? 'the kernel has reseeded' : 'again when the kernel has reseeded';
      print('commandDone', { epoch, reseeded }, `the command succeeded (epoch ${epoch}; ${then})`);
      break;
    }
    case 'commandFailed': {
      const { epoch, reason } = event;
      print('commandFailed', { epoch, reason }, `the command failed (epoch ${epoch}): ${reason}`);
      break;
    }
    case 'clientTrouble':
      print('clientTrouble', { reason: event.reason }, event.reason);
      break;
  }
}

// What is missing is made; whether the file can be is found out, and said, by whoever makes it.
function makeFolder(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  } catch {
    // Said by the broker, which cannot open the file.
  }
}

function fileMode(text: string): number {
  if (/^0?[0-7]{3}$/.test(text)) return Number.parseInt(text, 8);
  throw new InvalidArgumentError('Three octal digits are wanted, such as 660.');
}
