// Somebody who opens a pipe's other end after a long time: whoever waits for that goes on then, and it can
// be told.

import { spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';

const LATE_S = 20;

/** For a pipe at `path`, now or later. */
export function lateWriter(path: string) {
  const mark = `${path}.written`;
  const script = `sleep ${LATE_S}; : > "$1"; exec 3<> "$0"; sleep 1`;
  const writer = spawn('sh', ['-c', script, path, mark], { stdio: 'ignore', detached: true });
  return {
    hasCome: () => existsSync(mark),
    close: () => {
      try {
        process.kill(-Number(writer.pid), 'SIGKILL');
      } catch {
        // It has ended.
      }
      rmSync(mark, { force: true });
    },
  };
}
