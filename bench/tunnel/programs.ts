// Other programs: run to their end, or kept running for a while. Ended by their own process and no other.
// Promises: a program that is kept dies with this process; one that is run has a time limit.
// Read on: undo.ts.

import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Undo } from './undo.js';

const COMMAND_TIMEOUT_MS = 30_000;
/** How long a program may take to end by itself. */
const GRACE_MS = 3_000;
const POLL_MS = 20;
const MAX_OUTPUT = 2 ** 26;
const LOG_CHARACTERS = 4_096;

export interface RunOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs a program to its end and returns what it printed. Throws with its complaint when it fails. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { input, timeoutMs = COMMAND_TIMEOUT_MS, env = process.env } = options;
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      { timeout: timeoutMs, env, maxBuffer: MAX_OUTPUT, killSignal: 'SIGKILL' },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        const complaint = stderr.trim() || lastLine(stdout) || error.message;
        reject(new Error(`${command} ${args.join(' ')}: ${complaint}`, { cause: error }));
      },
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

/**
 * As `run`, but what it prints goes to a file first: whoever reads a pipe wakes up at every line, and takes a core that is
 * being measured.
 */
export async function runUnread(
  command: string,
  args: readonly string[],
  options: Pick<RunOptions, 'timeoutMs'> = {},
): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'wireonce-output-'));
  const file = join(folder, 'output');
  try {
    await run('sh', ['-c', 'exec "$@" >"$0"', file, command, ...args], options);
    return readFileSync(file, 'utf8');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Whether a program runs to its end without complaint. */
export function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  return run(command, args).then(
    () => true,
    () => false,
  );
}

/** Where the shell would find a program; undefined when it would not. */
export function which(program: string): string | undefined {
  const { status, stdout } = spawnSync('sh', ['-c', 'command -v "$0"', program], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

export function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}

/** Waits until `condition` holds. Throws when it does not within the time. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await sleep(POLL_MS);
  }
}

/** A program that runs until it is closed. */
export class Program {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #log = '';

  constructor(command: string, args: readonly string[], undo: Undo, env: NodeJS.ProcessEnv = process.env) {
    this.#child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
    this.#ended = new Promise(resolve => {
      this.#child.once('exit', () => resolve());
      this.#child.once('error', error => {
        this.#note(error.message);
        resolve();
      });
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => this.#note(text));
    }
    undo.push(() => this.#child.kill('SIGKILL'));
  }

  /** Throws when it never started. */
  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`it did not start: ${this.#log}`);
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** The last that it said. */
  get log(): string {
    return this.#log;
  }

  async close(): Promise<void> {
    if (!this.running) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), GRACE_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  #note(text: string): void {
    this.#log = (this.#log + text).slice(-LOG_CHARACTERS);
  }
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
