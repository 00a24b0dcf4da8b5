// Running other programs, and waiting for what they do.

import { execFile } from 'node:child_process';

const COMMAND_TIMEOUT_MS = 30_000;
/** For what comes in no time where nothing else runs; that is not every machine. */
const PATIENCE_MS = 60_000;
const POLL_MS = 5;
/** A hundred thousand address ranges are a few. */
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** Runs a program to its end and returns what it printed. Throws with its complaint when it fails. */
export function run(
  command: string,
  args: readonly string[],
  input?: string,
  timeoutMs = COMMAND_TIMEOUT_MS,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: timeoutMs, maxBuffer: MAX_OUTPUT_BYTES };
    const child = execFile(command, args, options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      reject(new Error(`${command} ${args.join(' ')}: ${stderr.trim() || stdout.trim() || error.message}`));
    });
    child.stdin?.end(input);
  });
}

export function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}

/** Waits until `condition` gives something true, and returns it. Throws when it does not within the time. */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  timeoutMs = PATIENCE_MS,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await sleep(POLL_MS);
  }
}
