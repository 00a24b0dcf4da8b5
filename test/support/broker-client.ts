// A program on the broker's socket, for tests: what it was told, line by line.

import { type Socket, connect } from 'node:net';

export class BrokerTestClient {
  readonly lines: string[] = [];
  closed = false;
  readonly socket: Socket;
  #wake: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    let rest = '';
    socket.setEncoding('utf8');
    socket.on('data', chunk => {
      const parts = (rest + String(chunk)).split('\n');
      rest = parts.pop() ?? '';
      this.lines.push(...parts);
      this.#wake?.();
    });
    // Whoever is sent away while it writes gets an EPIPE.
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.#wake?.();
    });
  }

  static async connect(path: string): Promise<BrokerTestClient> {
    const socket = connect(path);
    const client = new BrokerTestClient(socket);
    await client.line(/^hello /);
    return client;
  }

  say(line: string): void {
    this.socket.write(`${line}\n`);
  }

  /** The first line that matches, once it is there. */
  async line(pattern: RegExp): Promise<string> {
    return this.#until(() => this.lines.find(line => pattern.test(line)));
  }

  async end(): Promise<void> {
    await this.#until(() => this.closed || undefined);
  }

  close(): void {
    this.socket.destroy();
  }

  async #until<T>(look: () => T | undefined): Promise<T> {
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.closed) throw new Error(`closed after: ${this.lines.join(' | ')}`);
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
  }
}
