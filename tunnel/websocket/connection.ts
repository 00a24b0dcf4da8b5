// One WebSocket that carries datagrams, the same at both ends: one binary message per datagram.
// Promises: what is no datagram ends the connection and is counted; the queue is bounded, by what it costs; a cut
// connection is silent; until it is proven it sends and takes no more than its allowance.
// Read on: RFC 6455 sections 5.3 (masking) and 7.4.1 (close codes); unproven.ts.

import type { Duplex } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import type { Endpoint } from '../../sessions/ports.js';
import type { WebSocketEndpoint } from '../endpoint.js';
import type { TransportCounters, TransportDrop } from '../transport.js';
import { MAX_MESSAGE_BYTES } from './limits.js';
import type { Allowance } from './unproven.js';

/** What a frame that waits takes beside its bytes: buffers, `ws` and the stream. 570 to 640 were measured with Node 20. */
export const FRAME_BYTES = 640;
/** How long the other end may take to answer a close, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1_000;

const GOING_AWAY = 1001;
const UNSUPPORTED_DATA = 1003;

/** What `ws` is told at both ends: no compression (datagrams are ciphertext), and no more memory than is needed. */
export const WS_OPTIONS = {
  maxPayload: MAX_MESSAGE_BYTES,
  perMessageDeflate: false,
  skipUTF8Validation: true,
  maxFragments: 16,
  maxBufferedChunks: 4_096,
  maxPendingAutoPongs: 8,
  closeTimeout: CLOSE_TIMEOUT_MS,
} as const;

export interface ConnectionOptions {
  /** Milliseconds between pings of our own; 0 for none. */
  readonly pingIntervalMs: number;
  /** Milliseconds after which a connection is cut when no frame came from the other end; 0 for never. */
  readonly idleTimeoutMs: number;
  /** Bytes that may wait before datagrams are dropped, `FRAME_BYTES` for each of them among these. */
  readonly maxQueuedBytes: number;
  /** For a connection of somebody unknown: its allowance, and the socket below it. */
  readonly unproven?: { readonly allowance: Allowance; readonly stream: Duplex };
}

export interface ConnectionEvents {
  onOpen?(): void;
  onDatagram(datagram: Uint8Array, from: Endpoint): void;
  /** What the system or `ws` reports: a refused dial, a lost connection, a broken frame. `onEnd` follows. */
  onError?(error: Error): void;
  /** Called once, when the connection is over, whoever ended it. */
  onEnd(): void;
  /** Called once, when nothing of it is left: that may be some time after the end, if the other end has to answer. */
  onGone?(): void;
}

export class WebSocketConnection {
  readonly endpoint: WebSocketEndpoint;
  /** Resolves when the socket is gone. */
  readonly closed: Promise<void>;
  readonly #socket: WebSocket;
  readonly #counters: TransportCounters;
  readonly #events: ConnectionEvents;
  readonly #maxQueuedBytes: number;
  #unproven: ConnectionOptions['unproven'];
  #idleTimer: NodeJS.Timeout | undefined;
  #pingTimer: NodeJS.Timeout | undefined;
  #allowanceTimer: NodeJS.Timeout | undefined;
  /** Whether whoever takes the datagrams has no room for more. */
  #isStopped = false;
  /** Handed to `ws`, and not yet to the system. */
  #frames = 0;
  #ended = false;
  #gone = false;

  constructor(
    socket: WebSocket,
    endpoint: WebSocketEndpoint,
    counters: TransportCounters,
    options: ConnectionOptions,
    events: ConnectionEvents,
  ) {
    this.#socket = socket;
    this.endpoint = endpoint;
    this.#counters = counters;
    this.#events = events;
    this.#maxQueuedBytes = options.maxQueuedBytes;
    this.#unproven = options.unproven;
    this.#unproven?.stream.on('data', this.#spend);
    const heard = () => {
      this.#idleTimer?.refresh();
      return this.#spend();
    };
    this.closed = new Promise(resolve => socket.once('close', () => resolve()));
    socket.on('message', (data, isBinary) => {
      if (heard()) this.#received(data, isBinary);
      else this.#drop('unproven');
    });
    socket.on('ping', heard);
    socket.on('pong', heard);
    socket.on('error', error => this.#failed(error));
    socket.once('close', () => {
      this.#end();
      this.#leave();
    });
    if (this.isOpen) this.#start(options);
    else
      socket.once('open', () => {
        if (this.#ended) return;
        this.#start(options);
        events.onOpen?.();
      });
  }

  get isOpen(): boolean {
    return !this.#ended && this.#socket.readyState === this.#socket.OPEN;
  }

  /** False, and counted, when the datagram was dropped. */
  send(datagram: Uint8Array): boolean {
    if (!this.isOpen) return this.#drop('notConnected');
    if (datagram.length === 0 || datagram.length > MAX_MESSAGE_BYTES) return this.#drop('badLength');
    const cost = datagram.length + FRAME_BYTES;
    if (this.#waiting + cost > this.#maxQueuedBytes) return this.#drop('queueFull');
    if (this.#unproven?.allowance.hasRoom(cost) === false) return this.#drop('queueFull');
    this.#frames++;
    // `ws` may keep the buffer until the system takes it, and the caller will use it again before that.
    this.#socket.send(Buffer.from(datagram), this.#sent);
    this.#unproven?.allowance.queued(this.#waiting);
    this.#counters.sent++;
    return true;
  }

  /** Call when a message from here was authenticated: from now on it is trusted like any peer. */
  prove(): void {
    if (!this.#unproven) return;
    this.#unproven.stream.off('data', this.#spend);
    this.#unproven.allowance.leave();
    this.#unproven = undefined;
    clearTimeout(this.#allowanceTimer);
    this.#allowanceTimer = undefined;
    this.#flow();
  }

  get isProven(): boolean {
    return this.#unproven === undefined;
  }

  /** Reads no more until `resume`; of what has been read already datagrams may still come. */
  pause(): void {
    this.#isStopped = true;
    this.#flow();
  }

  resume(): void {
    this.#isStopped = false;
    this.#flow();
  }

  /** Cuts the connection: no close frame, no TLS farewell, nothing of what waits, nothing more received. */
  cut(): void {
    this.#end();
    this.#socket.terminate();
    this.#leave();
  }

  /** Ends it politely. What the other end still sends is ignored. */
  close(): void {
    this.#end();
    this.#socket.close(GOING_AWAY);
  }

  /** Bytes that wait, and what their frames cost. */
  get #waiting(): number {
    const { bufferedAmount } = this.#socket;
    return bufferedAmount === 0 ? 0 : bufferedAmount + this.#frames * FRAME_BYTES;
  }

  // One function for all datagrams, not one each.
  readonly #sent = (): void => {
    this.#frames--;
    this.#unproven?.allowance.queued(this.#waiting);
  };

  /** Takes one frame, or one read, from the allowance. False when there was none left. */
  readonly #spend = (): boolean => {
    if (!this.#unproven || this.#unproven.allowance.spend()) return true;
    this.#allowanceTimer ??= setTimeout(() => {
      this.#allowanceTimer = undefined;
      this.#flow();
    }, this.#unproven.allowance.waitMs).unref();
    this.#flow();
    return false;
  };

  /** Reads, or not. One that is ending is read on, to see its end, but never beyond the allowance. */
  #flow(): void {
    const isStopped = (this.#isStopped && !this.#ended) || this.#allowanceTimer !== undefined;
    if (isStopped === this.#socket.isPaused) return;
    if (isStopped) this.#socket.pause();
    else this.#socket.resume();
  }

  #start(options: ConnectionOptions): void {
    if (options.idleTimeoutMs > 0) {
      this.#idleTimer = setTimeout(() => this.cut(), options.idleTimeoutMs).unref();
    }
    if (options.pingIntervalMs > 0) {
      this.#pingTimer = setInterval(() => this.#ping(), options.pingIntervalMs).unref();
    }
  }

  // Pings wait in the same queue as datagrams, and make no exception of it.
  #ping(): void {
    if (this.isOpen && this.#waiting <= this.#maxQueuedBytes) this.#socket.ping();
  }

  #received(data: RawData, isBinary: boolean): void {
    // After a cut `ws` still hands out what its socket had read: bytes that a clone may have read too.
    if (this.#ended) return;
    const datagram = data as Buffer;
    if (!isBinary || datagram.length === 0) {
      this.#drop('malformed');
      this.#end();
      this.#socket.close(UNSUPPORTED_DATA);
      return;
    }
    this.#counters.received++;
    this.#events.onDatagram(datagram, this.endpoint);
  }

  // For a frame against the rules (too long: 1009) `ws` closes with the right code by itself, and then tells.
  #failed(error: Error): void {
    if (this.#ended) return;
    if ((error as NodeJS.ErrnoException).code?.startsWith('WS_ERR_')) this.#drop('malformed');
    this.#events.onError?.(error);
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#idleTimer);
    clearInterval(this.#pingTimer);
    this.#flow();
    this.#events.onEnd();
  }

  #leave(): void {
    if (this.#gone) return;
    this.#gone = true;
    clearTimeout(this.#allowanceTimer);
    this.#unproven?.allowance.leave();
    this.#events.onGone?.();
  }

  #drop(reason: TransportDrop): false {
    this.#counters.dropped[reason]++;
    return false;
  }
}
