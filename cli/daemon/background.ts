// A daemon in the background: Node cannot fork, so the command starts itself again and waits until that one serves.
// Promises: when this returns the socket stands and answers, or the error of the other process is thrown here; the
// daemon keeps none of our descriptors but those that were meant for it.
// Read on: wireguard-go main.go (which passes on the same descriptors).

import { spawn } from 'node:child_process';
import { closeSync, writeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { ProcessRights } from '../../tunnel/linux/process-rights.js';
import { CliError } from '../errors.js';
import { inWords } from '../trouble.js';
import { NODE_FLAGS } from '../signals.js';
import { INHERITED, READY_FD } from './environment.js';
import { HANDOVER_FD, type Handover, type OpenedDevices, writeHandover } from './handover.js';

const PIPE_FD = 3;

export const PROGRAM = fileURLToPath(new URL('../main.js', import.meta.url));

type Word = { readonly ready: true } | { readonly error: string; readonly hints: readonly string[] };

export interface BackgroundOptions {
  /** The command line of the daemon, which stays in the foreground. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether it may go on writing to our output: logs. */
  readonly keepOutput: boolean;
  readonly rights: ProcessRights;
  readonly handover: Handover;
}

/** Starts the daemon and waits for its word. Throws `ERR_CLI_DAEMON` with its error. */
export async function startInBackground(options: BackgroundOptions): Promise<void> {
  const { args, env, keepOutput, rights, handover } = options;
  const output = keepOutput ? 'inherit' : 'ignore';
  const stdio: ('ignore' | 'inherit' | 'pipe' | number)[] = ['ignore', output, output, 'pipe'];
  const passed: Record<string, string> = { [READY_FD]: String(PIPE_FD) };
  const place = (fd: number) => stdio.push(fd) - 1;
  for (const name of INHERITED) {
    const fd = env[name];
    if (fd === undefined || fd === '') continue;
    passed[name] = String(place(Number(fd)));
  }
  const opened = Object.entries(handover.opened).map(([name, fd]) => [name, place(fd)]);
  const handed = { ...handover, opened: Object.fromEntries(opened) as OpenedDevices };
  passed[HANDOVER_FD] = String(place(writeHandover(rights, handed)));
  const child = spawn(process.execPath, [...NODE_FLAGS, PROGRAM, ...args], {
    stdio,
    env: { ...env, ...passed },
    cwd: '/',
    detached: true,
  });
  const text = await new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    const pipe = child.stdio[PIPE_FD] as Readable;
    let heard = '';
    pipe.setEncoding('utf8');
    pipe.on('data', (piece: string) => {
      heard += piece;
    });
    pipe.on('end', () => resolve(heard));
  });
  child.unref();
  const word = parse(text);
  if ('ready' in word) return;
  throw new CliError('ERR_CLI_DAEMON', word.error, { hints: word.hints });
}

function parse(text: string): Word {
  try {
    return JSON.parse(text) as Word;
  } catch {
    return { error: 'the daemon ended before it was ready', hints: ['LOG_LEVEL=verbose shows what it says'] };
  }
}

/** Tells whoever started us, if it waits for us. Once. */
export class ReadyPipe {
  #fd: number | undefined;

  constructor(env: Readonly<Record<string, string | undefined>>) {
    const fd = env[READY_FD];
    this.#fd = fd === undefined ? undefined : Number(fd);
  }

  ready(): void {
    this.#say({ ready: true });
  }

  /** Whether it waited. */
  failed(error: unknown): boolean {
    const { message, hints } = inWords(error);
    return this.#say({ error: message, hints });
  }

  #say(word: Word): boolean {
    if (this.#fd === undefined) return false;
    const fd = this.#fd;
    this.#fd = undefined;
    try {
      writeSync(fd, JSON.stringify(word));
      closeSync(fd);
      return true;
    } catch {
      // Whoever waited is gone.
      return false;
    }
  }
}
