// A command that is run for every fork, and told of it by its environment.
// Promises: it never holds up another fork; one that takes too long is ended, with everything that it started.

import { spawn } from 'node:child_process';

/** After SIGTERM, before SIGKILL. Milliseconds. */
const GRACE_MS = 1_000;

/** How a command ended: `undefined` when it did what was asked, else why not. */
export type CommandFailure = string | undefined;

/** Runs `command` by the shell, in a process group of its own. Resolves when it has ended; never rejects. */
export function runCommand(
  command: string,
  variables: Readonly<Record<string, string>>,
  timeoutMs: number,
): Promise<CommandFailure> {
  return new Promise(resolve => {
    const child = spawn('/bin/sh', ['-c', command], {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, ...variables },
      detached: true,
    });
    const { pid } = child;
    let late = false;
    let killer: NodeJS.Timeout | undefined;
    const timer = setTimeout(() => {
      late = true;
      if (pid === undefined) return;
      endGroup(pid, 'SIGTERM');
      killer = setTimeout(() => endGroup(pid, 'SIGKILL'), GRACE_MS);
    }, timeoutMs);
    const end = (failure: CommandFailure) => {
      clearTimeout(timer);
      clearTimeout(killer);
      resolve(failure);
    };
    child.once('error', error => end(error.message));
    child.once('exit', (code, signal) => {
      // The shell is gone; what it left running in its group goes too.
      if (late && pid !== undefined) endGroup(pid, 'SIGKILL');
      if (late) end(`took longer than ${timeoutMs} ms and was ended`);
      else if (code === 0) end(undefined);
      else end(signal ? `ended by ${signal}` : `exit status ${code}`);
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
