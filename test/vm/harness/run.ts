// Other programs, run to their end.

import { execFile } from 'node:child_process';

const LONGEST_RUN_MS = 300_000;
const LONGEST_OUTPUT = 64 * 1024 * 1024;

export interface RunOptions {
  readonly cwd?: string;
  readonly input?: Uint8Array;
}

/** Runs a program and returns what it wrote. Throws with its complaint when it fails. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Buffer> {
  const { cwd, input } = options;
  return new Promise((resolve, reject) => {
    const settings = { cwd, encoding: 'buffer', timeout: LONGEST_RUN_MS, maxBuffer: LONGEST_OUTPUT } as const;
    const child = execFile(command, args, settings, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      const complaint = stderr.toString().trim() || stdout.toString().trim() || error.message;
      reject(new Error(`${command}: ${complaint}`, { cause: error }));
    });
    child.stdin?.end(input);
  });
}

/** Where a program lies on the PATH; undefined when it is not there. */
export async function which(command: string): Promise<string | undefined> {
  const found = await run('sh', ['-c', 'command -v "$0"', command]).catch(() => undefined);
  return found?.toString().trim() || undefined;
}
