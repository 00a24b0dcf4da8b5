// A command that is run for every fork, and told of it by its environment.
// Promises: one that takes too long, or that a newer fork has overtaken, is ended, with everything that it started.
// Read on: command-turns.ts for when it is run.

import { spawn } from 'node:child_process';

/** After SIGTERM, before SIGKILL. Milliseconds. */
const GRACE_MS = 1_000;

/** How a command ended: `undefined` when it did what was asked, else why not. */
export type CommandFailure = string | undefined;

/** Runs `command` by the shell, in a process group of its own. Resolves when it or `signal` has ended it; never rejects. */
export function runCommand(
  command: string,
  variables: Readonly<Record<string, string>>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<CommandFailure> {
  return new Promise(resolve => {
    const child = spawn('/bin/sh', ['-c', command], {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, ...variables },
      detached: true,
    });
    const { pid } = child;
    let stopped: CommandFailure;
    let killer: NodeJS.Timeout | undefined;
    const stop = (reason: string) => {
      if (pid === undefined || stopped !== undefined) return;
      stopped = reason;
      endGroup(pid, 'SIGTERM');
      killer = setTimeout(() => endGroup(pid, 'SIGKILL'), GRACE_MS);
    };
    const timer = setTimeout(stop, timeoutMs, `took longer than ${timeoutMs} ms and was ended`);
    const overtaken = () => stop('overtaken by another fork');
    signal.addEventListener('abort', overtaken);
    const end = (failure: CommandFailure) => {
      clearTimeout(timer);
      clearTimeout(killer);
      signal.removeEventListener('abort', overtaken);
      resolve(failure);
    };
    child.once('error', error => end(error.message));
    child.once('exit', (code, killedBy) => {
      // The shell is gone; what it left running in its group goes too.
      if (stopped !== undefined && pid !== undefined) endGroup(pid, 'SIGKILL');
      if (stopped !== undefined || code === 0) end(stopped);
      else end(killedBy ? `ended by ${killedBy}` : `exit status ${code}`);
    });
  });
}

function endGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // Everybody in it is gone.
  }
}
