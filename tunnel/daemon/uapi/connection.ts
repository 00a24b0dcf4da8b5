// One client of the UAPI: its requests one after another, each answered before the next is read.
// Promises: takes no more from the socket than the request at hand; a client that stops in a request, or does not read
// its answer, is dropped after a while; whatever it sends, nothing is thrown.
// Read on: wireguard-go device/uapi.go IpcHandle().

import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { DrillAnswer } from '../drill.js';
import type { DeviceStatus } from '../status.js';
import { formatAnswer, formatErrno, formatState } from './format.js';
import { readIntoOwnMemory } from './own-memory-socket.js';
import { type UapiLimits, type UapiRequest, UapiRequestParser, wipeKeys } from './parse.js';
import { ERRNO, type UapiChanges, UapiError, type UapiState } from './types.js';

/** What a connection needs from its server. */
export interface UapiConnectionOwner {
  /** All wait for their turn among all clients. */
  get(): Promise<UapiState>;
  set(changes: UapiChanges): Promise<void>;
  /** Absent where the daemon has no such operation. */
  readonly status?: (() => Promise<DeviceStatus>) | undefined;
  readonly drill?: (() => Promise<DrillAnswer>) | undefined;
  log(message: string): void;
  closed(connection: UapiConnection): void;
}

export interface UapiConnectionOptions extends UapiLimits {
  /** For a whole request from its first byte, and for each piece of an answer to be taken. Milliseconds. */
  readonly timeoutMs: number;
}

/** An error's chain of causes is followed this far; it may be a circle. */
const MAX_CAUSES = 8;

/** The client is gone, or was sent away. */
class Gone extends Error {}

export class UapiConnection {
  readonly #socket: Socket;
  readonly #owner: UapiConnectionOwner;
  readonly #timeoutMs: number;
  readonly #parser: UapiRequestParser;
  #timer: NodeJS.Timeout | undefined;
  #working = false;
  /** The client has closed its half. */
  #ended = false;
  /** We have closed ours: what still comes is thrown away. */
  #leaving = false;

  /** `accepted`: as `readIntoOwnMemory` wants it. */
  constructor(accepted: Socket, owner: UapiConnectionOwner, options: UapiConnectionOptions) {
    const socket = readIntoOwnMemory(accepted, bytes => this.#receive(bytes));
    this.#socket = socket;
    this.#owner = owner;
    this.#timeoutMs = options.timeoutMs;
    this.#parser = new UapiRequestParser(options);
    socket.on('end', () => {
      this.#ended = true;
      void this.#work();
    });
    // 'close' follows, and says all that matters.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#stopTimer();
      this.#parser.clear();
      owner.closed(this);
    });
  }

  /** Whether nothing is under way: the client may be sent away without harm. */
  get idle(): boolean {
    return !this.#working && !this.#leaving && !this.#parser.midRequest;
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #receive(bytes: Uint8Array): void {
    if (!this.#leaving) this.#parser.push(bytes);
    void this.#work();
  }

  async #work(): Promise<void> {
    if (this.#working || this.#leaving) return;
    this.#working = true;
    this.#socket.pause();
    try {
      for (let request = this.#next(); request; request = this.#next()) {
        this.#stopTimer();
        await this.#serve(request);
      }
    } catch (error) {
      if (!(error instanceof Gone)) this.#owner.log(`UAPI: a connection failed: ${(error as Error).message}`);
      this.#socket.destroy();
    } finally {
      this.#working = false;
    }
    if (this.#ended) this.#leave();
    // An unfinished request has its time from here on, however often a byte of it comes.
    else if (this.#parser.midRequest) this.#startTimer('a request did not end');
    this.#socket.resume();
  }

  #next(): UapiRequest | undefined {
    if (this.#socket.destroyed || this.#leaving) return undefined;
    return this.#parser.next() ?? (this.#ended ? this.#parser.end() : undefined);
  }

  async #serve(request: UapiRequest): Promise<void> {
    const { operation } = request;
    const isOurs = operation === 'status' || operation === 'drill';
    const ask = isOurs ? this.#owner[operation] : undefined;
    if (operation === 'unknown' || (isOurs && !ask)) {
      this.#owner.log('UAPI: not an operation; closed');
      throw new Gone();
    }
    let errno = 0;
    try {
      if (request.refused) throw request.refused;
      if (request.operation === 'get') {
        await this.#sendState(await this.#owner.get());
      } else if (request.operation === 'set') {
        await this.#apply(request.changes);
      } else if (ask) {
        await this.#send(formatAnswer(request.operation, await ask()));
      }
    } catch (error) {
      if (error instanceof Gone) throw error;
      errno = errnoOf(error);
      this.#owner.log(`UAPI: ${request.operation} refused with ${errno}: ${(error as Error)?.message}`);
    }
    await this.#send(Buffer.from(formatErrno(request.operation, errno), 'latin1'));
    if (request.refused && request.last) this.#leave();
  }

  async #apply(changes: UapiChanges): Promise<void> {
    try {
      await this.#owner.set(changes);
    } finally {
      wipeKeys(changes);
    }
  }

  async #sendState(state: UapiState): Promise<void> {
    try {
      for (const piece of formatState(state)) {
        await this.#send(piece);
        // A long answer lets the others have their turn.
        await nextTurn();
      }
    } finally {
      wipeKeys(state);
    }
  }

  /** Sends and erases. Waits until the client has taken it; throws `Gone` when it does not. */
  async #send(piece: Uint8Array): Promise<void> {
    try {
      if (this.#socket.destroyed) throw new Gone();
      await new Promise<void>(resolve => {
        this.#startTimer('an answer was not read');
        this.#socket.write(piece, () => resolve());
      });
      this.#stopTimer();
      if (this.#socket.destroyed) throw new Gone();
    } finally {
      piece.fill(0);
    }
  }

  /**
   * Closes our half and throws away what still comes: a socket closed with bytes unread would reset the connection,
   * and the client might lose its answer.
   */
  #leave(): void {
    if (this.#leaving || this.#socket.destroyed) return;
    this.#leaving = true;
    this.#parser.clear();
    this.#socket.end();
    this.#startTimer('a refused client did not hang up');
  }

  #startTimer(problem: string): void {
    this.#timer ??= setTimeout(() => {
      this.#owner.log(`UAPI: ${problem} within ${this.#timeoutMs} ms; closed`);
      this.#socket.destroy();
    }, this.#timeoutMs).unref();
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** The number for whatever a backend threw: its own, or that of the system call behind it. */
function errnoOf(error: unknown): number {
  let at = error;
  for (let depth = 0; depth < MAX_CAUSES && at instanceof Error; depth++) {
    if (at instanceof UapiError) return at.errorNumber;
    const { errno } = at as { errno?: unknown };
    // Node has negative numbers, this folder's errors have names.
    const number = typeof errno === 'string' ? (constants.errno as Record<string, number>)[errno] : errno;
    if (typeof number === 'number' && Number.isInteger(number) && number !== 0) return Math.abs(number);
    at = at.cause;
  }
  return ERRNO.ENOANO;
}
