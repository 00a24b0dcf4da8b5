// The hook's door: a port that every local user can reach, and a call that must be heard whatever they do.
// Promises: a newcomer always gets in; who has not shown that it may call gives way to it, the oldest first, and costs
// nothing but a few bytes until it has; who has shown it never gives way.
// Read on: hook.ts, which serves those that were let in.

import { readFileSync } from 'node:fs';
import { type Server, type Socket, createServer } from 'node:net';
import { Strangers } from '../../native/strangers.js';

export interface HookDoorOptions {
  /** Whether a call that begins so may go on: its first lines, without the empty one that ends them. */
  readonly admits: (head: string) => boolean;
  /** With a token a head that `admits` lets pass has shown it. Without, only a whole call shows anything: see `keep`. */
  readonly headIsProof: boolean;
  /** Gets each connection that was let in, with all that it has sent so far still to be read. */
  readonly enter: (socket: Socket) => void;
  /** The answer to a head that `admits` does not let pass. */
  readonly refusal: string;
  /** Milliseconds in which a caller must have sent all of its call. */
  readonly timeoutMs: number;
}

export const HEADERS_MAX = 8_192;
/** Connections that have shown nothing yet. A thousand take us some 50 ms to accept: time enough to send a call. */
const STRANGERS_MAX = 1_024;
/** The part of the process's descriptors that strangers may have. */
const STRANGERS_SHARE = 1 / 8;
/** So much more a caller who was refused may send, so that it comes to read why. Bytes. */
const UNREAD_MAX = 65_536;
/** And so long it may take. Milliseconds. */
const FAREWELL_MS = 1_000;
const HEAD_END = '\r\n\r\n';

/** A whole answer, after which the connection ends. */
export function plainAnswer(status: string, reason: string, header = ''): string {
  const body = JSON.stringify({ error: reason });
  const length = Buffer.byteLength(body);
  return `HTTP/1.1 ${status}\r\nConnection: close\r\n${header}Content-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${body}`;
}

interface Caller {
  /** All of its call must be there by then. None once it is. */
  deadline: number;
  /** What it has sent until it was let in. May hold a token, and a seed. */
  head: Buffer;
}

export class HookDoor {
  /** Not yet listening. */
  readonly server: Server;
  readonly #options: HookDoorOptions;
  readonly #strangers = new Strangers<Socket>(
    Math.min(STRANGERS_MAX, Math.floor(openFilesMax() * STRANGERS_SHARE)),
  );
  /** In the order of their arrival. */
  readonly #callers = new Map<Socket, Caller>();
  readonly #sweeper: NodeJS.Timeout;

  constructor(options: HookDoorOptions) {
    this.#options = options;
    this.server = createServer({ allowHalfOpen: true }, socket => this.arrived(socket));
    const { timeoutMs } = options;
    const interval = Math.max(10, Math.min(1_000, timeoutMs >> 2));
    this.#sweeper = setInterval(() => this.#sweep(performance.now()), interval).unref();
  }

  /** This one does not give way any more. */
  keep(socket: Socket): void {
    this.#strangers.keep(socket);
  }

  /** All of its call is there: from now on it waits for us. */
  heard(socket: Socket): void {
    this.keep(socket);
    const caller = this.#callers.get(socket);
    if (caller) caller.deadline = Number.POSITIVE_INFINITY;
  }

  /** Gives back the descriptors of all that have shown nothing. */
  clear(): void {
    this.#strangers.clear();
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    const isListening = this.server.listening;
    await new Promise<void>(resolve => {
      if (isListening) this.server.close(() => resolve());
      for (const socket of this.#callers.keys()) socket.destroy();
      if (!isListening) resolve();
    });
  }

  /** Of a newcomer, half open allowed, who did not come by `server`. */
  arrived(socket: Socket): void {
    const oldest = this.#strangers.arrived(socket);
    if (oldest) this.#forget(oldest);
    const caller = { deadline: performance.now() + this.#options.timeoutMs, head: Buffer.alloc(0) };
    this.#callers.set(socket, caller);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#forget(socket));
    socket.on('end', () => socket.destroySoon());
    socket.on('data', chunk => this.#read(socket, caller, chunk));
  }

  #read(socket: Socket, caller: Caller, chunk: Buffer): void {
    const before = caller.head;
    caller.head = before.length === 0 ? chunk : Buffer.concat([before, chunk]);
    if (before.length > 0) for (const part of [before, chunk]) part.fill(0);
    // The end may lie across two chunks.
    const end = caller.head.indexOf(HEAD_END, Math.max(0, before.length - HEAD_END.length + 1));
    if ((end === -1 ? caller.head.length : end) > HEADERS_MAX) this.#sendAway(socket, TOO_LONG);
    else if (end !== -1) this.#headRead(socket, caller.head, end);
  }

  #headRead(socket: Socket, head: Buffer, end: number): void {
    const { admits, headIsProof, enter, refusal } = this.#options;
    if (!admits(head.toString('latin1', 0, end))) return this.#sendAway(socket, refusal);
    if (headIsProof) this.keep(socket);
    socket.removeAllListeners('data');
    socket.removeAllListeners('end');
    socket.pause();
    socket.unshift(head);
    enter(socket);
    socket.resume();
  }

  #sendAway(socket: Socket, answer: string): void {
    const caller = this.#callers.get(socket);
    if (caller) caller.deadline = Number.POSITIVE_INFINITY;
    socket.removeAllListeners('data');
    let unread = 0;
    socket.on('data', chunk => {
      unread += chunk.length;
      if (unread > UNREAD_MAX) socket.destroy();
    });
    socket.end(answer);
    socket.setTimeout(FAREWELL_MS, () => socket.destroy());
  }

  #sweep(now: number): void {
    for (const [socket, { deadline }] of this.#callers) {
      if (deadline === Number.POSITIVE_INFINITY) continue;
      if (deadline > now) return;
      this.#sendAway(socket, TOO_SLOW);
    }
  }

  #forget(socket: Socket): void {
    this.#callers.get(socket)?.head.fill(0);
    this.#callers.delete(socket);
  }
}

const TOO_LONG = plainAnswer(
  '431 Request Header Fields Too Large',
  `headers: more than ${HEADERS_MAX} bytes`,
);
const TOO_SLOW = plainAnswer('408 Request Timeout', 'the call took too long');

/** How many descriptors this process may have. */
function openFilesMax(): number {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? [];
    if (soft !== undefined) return Number(soft);
  } catch {
    // No Linux.
  }
  return STRANGERS_MAX;
}
