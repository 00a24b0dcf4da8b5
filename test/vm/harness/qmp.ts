// QEMU's own control channel: stop, save, go on.
// Read on: QEMU docs/interop/qmp-spec.rst.

import type { Socket } from 'node:net';
import type { Calls } from './calls.js';
import { onLine } from './lines.js';
import { sleep } from './waiting.js';

const ANSWER_MS = 60_000;
const POLL_MS = 5;

interface QmpMessage {
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

export class Qmp {
  readonly #socket: Socket;
  readonly #calls: Calls;

  private constructor(socket: Socket, calls: Calls) {
    this.#socket = socket;
    this.#calls = calls;
    onLine(socket, line => {
      const { id, return: result, error } = JSON.parse(line) as QmpMessage;
      if (id !== undefined) calls.answer(id, error ? { error: error.desc } : { result });
    });
  }

  static async open(socket: Socket, calls: Calls): Promise<Qmp> {
    const qmp = new Qmp(socket, calls);
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  execute<T>(command: string, argument: object = {}): Promise<T> {
    return this.#calls.ask<T>(`QMP ${command}`, ANSWER_MS, id => {
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: argument, id })}\n`);
    });
  }

  /** Writes memory and devices of a machine that stands still to a file. */
  async save(file: string): Promise<void> {
    await this.execute('migrate-set-parameters', { 'max-bandwidth': 8_000_000_000 });
    await this.execute('migrate', { uri: `exec:cat > ${shellQuoted(file)}` });
    for (;;) {
      const info = await this.execute<{ status: string; 'error-desc'?: string }>('query-migrate');
      if (info.status === 'completed') return;
      if (info.status === 'failed' || info.status === 'cancelled') {
        throw new Error(`the state was not saved: ${info['error-desc'] ?? info.status}`);
      }
      await sleep(POLL_MS);
    }
  }

  /** Waits until a machine that was started with a saved state has taken it in. It then stands still. */
  async loaded(): Promise<void> {
    while ((await this.execute<{ status: string }>('query-status')).status === 'inmigrate')
      await sleep(POLL_MS);
  }
}

/** For the shell through which QEMU reads and writes states. */
export function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
