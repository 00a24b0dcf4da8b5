// The broker's socket: who listens, who wants to be waited for, and when a fork is settled.
// Promises: no client, slow or hostile, holds up another, or a fork for longer than its time.

import { type Server, type Socket, createServer } from 'node:net';
import { VmGenIdError } from '../errors.js';
import { type SocketFile, listenAt } from '../../native/socket-file.js';
import { BrokerClient, type BrokerClientOwner } from './client.js';
import type { BrokerLine } from './lines.js';

const MAX_CLIENTS = 256;

/** How many of those that were waited for have answered in time. */
export interface Outcome {
  readonly acknowledged: number;
  readonly missed: number;
}

export interface BrokerSocketOptions {
  readonly path: string;
  readonly mode: number;
  readonly ackTimeoutMs: number;
  /** The first line for whoever connects. */
  readonly greet: () => BrokerLine;
  readonly epoch: () => number;
  /** A client was refused or sent away. */
  readonly onTrouble: (reason: string) => void;
}

/** A fork that waits for its subscribers. */
interface Round {
  readonly epoch: number;
  readonly pending: Set<BrokerClient>;
  acknowledged: number;
  missed: number;
  readonly end: () => void;
}

export class BrokerSocket {
  readonly #options: BrokerSocketOptions;
  readonly #owner: BrokerClientOwner;
  readonly #server: Server;
  #waiting: Socket[] | undefined = [];
  #file: SocketFile | undefined;
  readonly #clients = new Set<BrokerClient>();
  readonly #rounds = new Set<Round>();

  private constructor(options: BrokerSocketOptions) {
    this.#options = options;
    const owner: BrokerClientOwner = {
      get epoch() {
        return options.epoch();
      },
      acknowledged: client => this.#acknowledged(client),
      closed: (client, reason) => this.#closed(client, reason),
    };
    this.#owner = owner;
    // Not read, nor told anything, before `welcome`.
    this.#server = createServer({ pauseOnConnect: true }, socket => {
      if (this.#waiting) this.#waiting.push(socket);
      else this.#admit(socket);
    });
  }

  /** Takes the name; who connects waits for `welcome`. Throws `ERR_BROKER_LISTEN`: address in use, no permission, no such folder. */
  static async listen(options: BrokerSocketOptions): Promise<BrokerSocket> {
    const { path, mode } = options;
    const socket = new BrokerSocket(options);
    try {
      socket.#file = await listenAt(socket.#server, path, mode);
    } catch (error) {
      throw new VmGenIdError('ERR_BROKER_LISTEN', `broker socket ${path}: ${(error as Error).message}`, {
        cause: error,
      });
    }
    socket.#server.on('error', error => options.onTrouble(error.message));
    return socket;
  }

  /** From now on whoever connects is greeted, and so are those who have connected already. */
  welcome(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const socket of waiting) this.#admit(socket);
  }

  get clients(): number {
    return this.#clients.size;
  }

  tell(line: BrokerLine): void {
    for (const client of this.#clients) client.tell(line);
  }

  /** Resolves when every client that is subscribed now has acknowledged `epoch`, has gone, or was too slow. */
  acknowledgements(epoch: number): Promise<Outcome> {
    return new Promise(resolve => {
      const pending = new Set([...this.#clients].filter(client => client.subscribed));
      const timer = setTimeout(() => round.end(), this.#options.ackTimeoutMs);
      const round: Round = {
        epoch,
        pending,
        acknowledged: 0,
        missed: 0,
        end: () => {
          clearTimeout(timer);
          this.#rounds.delete(round);
          resolve({ acknowledged: round.acknowledged, missed: round.missed + pending.size });
        },
      };
      this.#rounds.add(round);
      if (pending.size === 0) round.end();
    });
  }

  async close(): Promise<void> {
    await this.#file?.remove();
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()));
    for (const client of this.#clients) client.close();
    for (const socket of this.#waiting ?? []) socket.destroy();
    await closed;
    for (const round of this.#rounds) round.end();
  }

  #admit(socket: Socket): void {
    if (this.#clients.size >= MAX_CLIENTS && !this.#makeRoom()) {
      this.#options.onTrouble(`more than ${MAX_CLIENTS} subscribers: a client was refused`);
      socket.destroy();
      return;
    }
    const client = new BrokerClient(socket, this.#owner);
    this.#clients.add(client);
    client.tell(this.#options.greet());
    socket.resume();
  }

  /** The one that has listened longest without having subscribed gives way. */
  #makeRoom(): boolean {
    const idle = [...this.#clients].find(({ subscribed }) => !subscribed);
    if (!idle) return false;
    this.#clients.delete(idle);
    idle.sendAway('a newcomer takes its place, as it has not subscribed');
    return true;
  }

  #acknowledged(client: BrokerClient): void {
    for (const round of this.#rounds) {
      if (client.acknowledgedEpoch < round.epoch || !round.pending.delete(client)) continue;
      round.acknowledged++;
      if (round.pending.size === 0) round.end();
    }
  }

  #closed(client: BrokerClient, reason: string | undefined): void {
    this.#clients.delete(client);
    if (reason !== undefined) this.#options.onTrouble(`a client was sent away: ${reason}`);
    for (const round of this.#rounds) {
      if (!round.pending.delete(client)) continue;
      round.missed++;
      if (round.pending.size === 0) round.end();
    }
  }
}
