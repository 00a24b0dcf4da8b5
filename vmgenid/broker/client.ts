// One program on the broker's socket: what it is told, and what it may say.
// Promises: telling it never waits for it; one that does not read, or says too much or nonsense, is sent away.

import type { Socket } from 'node:net';
import { type BrokerLine, formatLine, parseCommand } from './lines.js';

/** What a client may have unread before it is sent away. Bytes; some hundreds of lines. */
const UNREAD_MAX = 65_536;
/** The longest command is a fifth of this. Bytes. */
const LINE_MAX = 128;
/** Commands in a row that are answered before others get their turn, and in all within a second. */
const COMMANDS_PER_SECOND = 100;
/** So long one that is sent away has to read why. Milliseconds. */
const FAREWELL_MS = 1_000;

export interface BrokerClientOwner {
  readonly epoch: number;
  /** The client has acknowledged every fork up to and including its `acknowledgedEpoch`. */
  acknowledged(client: BrokerClient): void;
  /** The client is gone. `reason`: why it was sent away, unless it went by itself. */
  closed(client: BrokerClient, reason?: string): void;
}

export class BrokerClient {
  /** Forks wait for it. */
  subscribed = false;
  acknowledgedEpoch = 0;
  readonly #socket: Socket;
  readonly #owner: BrokerClientOwner;
  #json = false;
  #rest = '';
  #commands = 0;
  #second = 0;
  #reason: string | undefined;

  constructor(socket: Socket, owner: BrokerClientOwner) {
    this.#socket = socket;
    this.#owner = owner;
    socket.setEncoding('latin1');
    socket.on('data', chunk => this.#take(String(chunk)));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => owner.closed(this, this.#reason));
  }

  tell(line: BrokerLine): void {
    const { destroyed, writable } = this.#socket;
    if (destroyed || !writable) return;
    this.#socket.write(`${this.#json ? JSON.stringify(line) : formatLine(line)}\n`);
    if (this.#socket.writableLength > UNREAD_MAX) this.sendAway('does not read');
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(chunk: string): void {
    this.#rest += chunk;
    for (let end = this.#rest.indexOf('\n'); end !== -1; end = this.#rest.indexOf('\n')) {
      const line = this.#rest.slice(0, end);
      this.#rest = this.#rest.slice(end + 1);
      if (!this.#isPatient()) return this.sendAway('too many commands');
      if (!this.#obey(line.replace(/\r$/, ''))) return;
    }
    if (this.#rest.length > LINE_MAX) this.sendAway('a line without an end');
  }

  /** False when the client was sent away. */
  #obey(line: string): boolean {
    const command = line.length > LINE_MAX ? undefined : parseCommand(line);
    const { epoch } = this.#owner;
    switch (command?.do) {
      case 'subscribe':
        this.subscribed = true;
        // It was born in this epoch: no fork so far is its business.
        this.acknowledgedEpoch = Math.max(this.acknowledgedEpoch, epoch);
        this.tell({ event: 'subscribed', epoch });
        return true;
      case 'ack':
        if (command.epoch > epoch) {
          this.tell({ event: 'error', reason: `ack ${command.epoch}: the epoch is ${epoch}` });
          return true;
        }
        this.acknowledgedEpoch = Math.max(this.acknowledgedEpoch, command.epoch);
        this.#owner.acknowledged(this);
        return true;
      case 'json':
      case 'text':
        this.#json = command.do === 'json';
        return true;
      default:
        this.sendAway('not a command: subscribe, ack EPOCH, json and text are');
        return false;
    }
  }

  #isPatient(): boolean {
    const second = Math.floor(performance.now() / 1_000);
    if (second !== this.#second) this.#commands = 0;
    this.#second = second;
    return ++this.#commands <= COMMANDS_PER_SECOND;
  }

  /** It is told why, and gone soon. */
  sendAway(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#rest = '';
    this.#socket.removeAllListeners('data');
    this.tell({ event: 'error', reason });
    // What is in its way goes with it: nobody waits for one that does not read.
    if (this.#socket.writableLength > UNREAD_MAX) this.#socket.destroy();
    else this.#socket.destroySoon();
    setTimeout(() => this.#socket.destroy(), FAREWELL_MS).unref();
  }
}
