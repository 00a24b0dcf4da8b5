// The host's side of the agent in the guest.

import type { Socket } from 'node:net';
import type { AgentCommand, AgentReply } from '../guest/protocol.js';
import type { Calls } from './calls.js';
import { onLine } from './lines.js';

const ANSWER_MS = 180_000;

export class AgentClient {
  readonly #socket: Socket;
  readonly #calls: Calls;

  constructor(socket: Socket, calls: Calls) {
    this.#socket = socket;
    this.#calls = calls;
    onLine(socket, line => {
      const { id, ...outcome } = JSON.parse(line) as AgentReply;
      calls.answer(id, outcome);
    });
  }

  /** Runs a line in the guest's shell. Throws with its complaint when it fails. */
  shell(line: string): Promise<string> {
    return this.#ask({ do: 'shell', line });
  }

  /** Starts a program of ../guest/programs and waits until it serves. */
  async start(
    program: string,
    options: { nodeArguments?: readonly string[]; environment?: Readonly<Record<string, string>> } = {},
  ): Promise<void> {
    await this.#ask({ do: 'start', program, ...options });
  }

  call<T>(program: string, method: string, argument?: unknown): Promise<T> {
    return this.#ask<T>({ do: 'call', program, method, argument });
  }

  async stop(program: string): Promise<void> {
    await this.#ask({ do: 'stop', program });
  }

  /** Answers once the guest has booted. */
  ping(timeoutMs: number): Promise<number> {
    return this.#ask({ do: 'ping' }, timeoutMs);
  }

  #ask<T>(command: AgentCommand, timeoutMs = ANSWER_MS): Promise<T> {
    const what = 'program' in command ? `${command.do} ${command.program}` : command.do;
    return this.#calls.ask<T>(`guest: ${what}`, timeoutMs, id => {
      this.#socket.write(`${JSON.stringify({ ...command, id })}\n`);
    });
  }
}
