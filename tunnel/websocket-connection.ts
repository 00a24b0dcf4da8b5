// One WebSocket that carries datagrams, the same at both ends: one binary message per datagram.
// Promises: what is no datagram ends the connection and is counted; the queue is bounded; a cut connection is silent.
// Read on: RFC 6455 sections 5.3 (masking) and 7.4.1 (close codes).

import type { RawData, WebSocket } from 'ws';
import type { Endpoint } from '../sessions/ports.js';
import type { WebSocketEndpoint } from './endpoint.js';
import type { TransportCounters, TransportDrop } from './transport.js';

/** The longest message: any UDP datagram fits. */
export const MAX_MESSAGE_BYTES = 65_600;
/** Bytes that may wait in one connection before datagrams are dropped. */
export const MAX_QUEUED_BYTES = 1024 * 1024;
/** How long the other end may take to answer a close, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1_000;

const GOING_AWAY = 1001;
const UNSUPPORTED_DATA = 1003;

/** What `ws` is told at both ends: no compression (datagrams are ciphertext), and no more memory than is needed. */
export const WS_OPTIONS = {
  maxPayload: MAX_MESSAGE_BYTES,
  perMessageDeflate: false,
  skipUTF8Validation: true,
  maxFragments: 64,
  maxBufferedChunks: 4_096,
  maxPendingAutoPongs: 8,
  closeTimeout: CLOSE_TIMEOUT_MS,
} as const;

export interface ConnectionOptions {
  /** Milliseconds between pings of our own; 0 for none. */
  readonly pingIntervalMs: number;
  /** Milliseconds after which a connection is cut when no frame came from the other end; 0 for never. */
  readonly idleTimeoutMs: number;
  /** Bytes that may wait before datagrams are dropped. */
  readonly maxQueuedBytes: number;
}

export interface ConnectionEvents {
  onOpen?(): void;
  onDatagram(datagram: Uint8Array, from: Endpoint): void;
  /** What the system or `ws` reports: a refused dial, a lost connection, a broken frame. `onEnd` follows. */
  onError?(error: Error): void;
  /** Called once, when the connection is over, whoever ended it. */
  onEnd(): void;
}

export class WebSocketConnection {
  readonly endpoint: WebSocketEndpoint;
  /** Resolves when the socket is gone. */
  readonly closed: Promise<void>;
  readonly #socket: WebSocket;
  readonly #counters: TransportCounters;
  readonly #events: ConnectionEvents;
  readonly #maxQueuedBytes: number;
  #idleTimer: NodeJS.Timeout | undefined;
  #pingTimer: NodeJS.Timeout | undefined;
  #ended = false;

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
    const heard = () => this.#idleTimer?.refresh();
    this.closed = new Promise(resolve => socket.once('close', () => resolve()));
    socket.on('message', (data, isBinary) => {
      heard();
      this.#received(data, isBinary);
    });
    socket.on('ping', heard);
    socket.on('pong', heard);
    socket.on('error', error => this.#failed(error));
    socket.once('close', () => this.#end());
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
    if (this.#socket.bufferedAmount + datagram.length > this.#maxQueuedBytes) return this.#drop('queueFull');
    // `ws` may keep the buffer until the system takes it, and the caller will use it again before that.
    this.#socket.send(Buffer.from(datagram));
    this.#counters.sent++;
    return true;
  }

  /** Cuts the connection: no close frame, no TLS farewell, nothing of what waits, nothing more received. */
  cut(): void {
    this.#end();
    this.#socket.terminate();
  }

  /** Ends it politely. What the other end still sends is ignored. */
  close(): void {
    this.#end();
    this.#socket.close(GOING_AWAY);
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
    if (this.isOpen && this.#socket.bufferedAmount <= this.#maxQueuedBytes) this.#socket.ping();
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
    this.#events.onEnd();
  }

  #drop(reason: TransportDrop): false {
    this.#counters.dropped[reason]++;
    return false;
  }
}
