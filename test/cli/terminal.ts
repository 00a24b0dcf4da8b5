// A terminal for tests: what a command is given, and what it printed.

import { Writable } from 'node:stream';
import type { CliIo } from '../../cli/io.js';

export interface Terminal extends CliIo {
  /** Everything printed so far. */
  readonly out: string;
  readonly err: string;
  /** Calls back after each write to standard output. */
  onOut: () => void;
  interrupt(): void;
}

export function terminal(stdin: string | Uint8Array = '', env: Record<string, string> = {}): Terminal {
  const controller = new AbortController();
  const written = { out: '', err: '' };
  const collect = (name: 'out' | 'err') =>
    new Writable({
      write(chunk, _, done) {
        written[name] += String(chunk);
        if (name === 'out') self.onOut();
        done();
      },
    });
  const self: Terminal = {
    stdin: (async function* () {
      yield Buffer.from(stdin);
    })(),
    stdout: collect('out'),
    stderr: collect('err'),
    signal: controller.signal,
    outliveTerminal: () => {},
    env,
    onOut: () => {},
    interrupt: () => controller.abort(),
    get out() {
      return written.out;
    },
    get err() {
      return written.err;
    },
  };
  return self;
}
