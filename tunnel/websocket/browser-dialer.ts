// Datagrams over the WebSocket of a page: one URL, dialled again whenever the connection is lost.
// Promises: as dialer.ts, as far as a page can: the browser masks frames, and neither pings nor cuts a connection for us.
// Read on: dialer.ts (the same in Node, with more to set); WHATWG WebSockets.

import type { Randomness } from '../../crng/randomness.js';
import type { Endpoint } from '../../sessions/ports.js';
import { WebSocketEndpoint } from '../endpoint.js';
import { TunnelError } from '../errors.js';
import { newCounters, type Transport, type TransportDrop } from '../transport.js';
import {
  FRESHNESS_POLL_MS,
  GOOD_AFTER_MS,
  HANDSHAKE_TIMEOUT_MS,
  HOLD_POLL_MS,
  MAX_BACKOFF_MS,
  MAX_HELD_DATAGRAMS,
  MIN_BACKOFF_MS,
  backoffMs,
  jitter,
} from './backoff.js';
import { MAX_MESSAGE_BYTES, MAX_QUEUED_BYTES } from './limits.js';

/** What is used of a page's WebSocket. */
export interface PageSocket {
  binaryType: string;
  readonly bufferedAmount: number;
  /** `data` is of a message, `code` of a close. */
  addEventListener(
    type: 'open' | 'message' | 'close',
    listener: (event: { readonly data?: unknown; readonly code?: number }) => void,
  ): void;
  /** One binary message. */
  send(data: Uint8Array<ArrayBuffer>): void;
  /** Begins to close: what is on its way may still come. */
  close(code?: number): void;
}

/** How a page dials. */
export interface BrowserDialerOptions {
  /** While it is not fresh after a fork nothing is dialled. It spreads the attempts, too. */
  readonly randomness: Randomness;
  /** Default: the page's own, `globalThis.WebSocket`. */
  readonly WebSocket?: (new (url: string) => PageSocket) | undefined;
  /** How long an attempt may take, in milliseconds. Default 10,000. */
  readonly handshakeTimeoutMs?: number | undefined;
  /** The first wait between attempts, in milliseconds; it doubles with each. Default 250. */
  readonly minBackoffMs?: number | undefined;
  /** The longest wait, in milliseconds. Default 30,000. */
  readonly maxBackoffMs?: number | undefined;
  /** Bytes that may wait in the connection before datagrams are dropped. Default 1 MiB. */
  readonly maxQueuedBytes?: number | undefined;
}

/** A page may close with this code and those from 3000 on alone. */
const NORMAL = 1000;

/**
 * A transport for a device in a page. The listener at the other end cuts whoever is silent for two minutes: give the peer
 * a `persistentKeepalive`, such as 25 seconds.
 */
export class BrowserDialer implements Transport {
  readonly kind = 'websocket';
  readonly counters = newCounters();
  readonly localAddresses: readonly string[] = [];
  /** Send to this one. It stays the same across reconnections. */
  readonly endpoint: WebSocketEndpoint;
  onDatagram: (datagram: Uint8Array, from: Endpoint) => void = () => {};
  /** Hears why an attempt failed or a connection broke. Another attempt follows. */
  onError: (error: TunnelError) => void = () => {};
  isHeld: () => boolean = () => false;
  onReopened: (to: Endpoint) => void = () => {};
  readonly #options: BrowserDialerOptions;
  #socket: PageSocket | undefined;
  #isOpen = false;
  #started = false;
  #closed = false;
  #attempts = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #hasBeenOpen = false;
  #held: Uint8Array<ArrayBuffer>[] = [];

  /** Dials nothing yet. Throws `ERR_WEBSOCKET_URL`. */
  constructor(url: string, options: BrowserDialerOptions) {
    this.endpoint = WebSocketEndpoint.dial(url);
    this.#options = options;
  }

  /** Whether a connection stands. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Begins to dial, and goes on until `close`. Whatever goes wrong is told to `onError`. */
  start(): void {
    if (this.#started || this.#closed) return;
    this.#started = true;
    this.#dial();
  }

  owns(to: Endpoint): boolean {
    return this.endpoint.equals(to);
  }

  send(datagram: Uint8Array, to: Endpoint): boolean {
    if (this.#closed) return this.#drop('closed');
    if (!this.endpoint.equals(to)) return this.#drop('notOurs');
    if (this.isHeld()) return this.#drop('held');
    if (datagram.length === 0 || datagram.length > MAX_MESSAGE_BYTES) return this.#drop('badLength');
    const socket = this.#socket;
    if (!socket) return this.#drop('notConnected');
    // The page may keep the bytes, and the caller will use them again.
    const copy = new Uint8Array(datagram);
    if (!this.#isOpen) return this.#hold(copy);
    const { maxQueuedBytes = MAX_QUEUED_BYTES } = this.#options;
    if (socket.bufferedAmount + copy.length > maxQueuedBytes) return this.#drop('queueFull');
    socket.send(copy);
    this.counters.sent++;
    return true;
  }

  /** Leaves the connection and dials anew, as soon as `randomness` is fresh and the device not on hold. */
  dropAll(): void {
    if (!this.#started || this.#closed) return;
    this.#leave();
    this.#attempts = 0;
    this.#dial();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#leave();
  }

  #dial(): void {
    clearTimeout(this.#timer);
    // Clones would agree on TLS keys with the same secrets; on hold this machine may be somebody else.
    if (this.isHeld() || !this.#options.randomness.isFresh()) {
      const pollMs = this.isHeld() ? HOLD_POLL_MS : FRESHNESS_POLL_MS;
      this.#timer = setTimeout(() => this.#dial(), pollMs);
      return;
    }
    const Socket = this.#options.WebSocket ?? globalThis.WebSocket;
    let socket: PageSocket;
    try {
      socket = new Socket(this.endpoint.url as string);
    } catch (cause) {
      // As a page of https: that may not dial ws:.
      this.#wait();
      this.#report((cause as Error).message, cause);
      return;
    }
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    let openedAt = Number.POSITIVE_INFINITY;
    let heard = false;
    const hear = (
      type: 'open' | 'message' | 'close',
      heed: (event: { data?: unknown; code?: number }) => void,
    ) =>
      socket.addEventListener(type, event => {
        if (this.#socket === socket) heed(event);
      });
    hear('open', () => {
      if (this.isHeld()) return this.dropAll();
      openedAt = performance.now();
      clearTimeout(this.#timer);
      this.#isOpen = true;
      for (const datagram of this.#held.splice(0)) this.send(datagram, this.endpoint);
      const isAgain = this.#hasBeenOpen;
      this.#hasBeenOpen = true;
      if (isAgain) this.onReopened(this.endpoint);
    });
    hear('message', ({ data }) => {
      heard = true;
      if (!(data instanceof ArrayBuffer) || data.byteLength === 0) {
        this.#drop('malformed');
        this.#lost(true, 'what came is no datagram');
        return;
      }
      this.counters.received++;
      this.onDatagram(new Uint8Array(data), this.endpoint);
    });
    // A page is not told more than this; of an `error` event nothing at all.
    hear('close', ({ code }) => {
      const wasGood = heard || performance.now() - openedAt >= GOOD_AFTER_MS;
      this.#lost(wasGood, `the connection is closed (${code})`);
    });
    const { handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS } = this.#options;
    this.#timer = setTimeout(
      () => this.#lost(false, `no answer within ${handshakeTimeoutMs} ms`),
      handshakeTimeoutMs,
    );
  }

  /** A server that accepts and hangs up would be dialled without a pause, if the waits did not grow. */
  #lost(wasGood: boolean, reason: string): void {
    this.#leave();
    if (wasGood) this.#attempts = 0;
    this.#wait();
    this.#report(reason);
  }

  #wait(): void {
    const { minBackoffMs = MIN_BACKOFF_MS, maxBackoffMs = MAX_BACKOFF_MS, randomness } = this.#options;
    const waitMs = backoffMs(this.#attempts++, minBackoffMs, maxBackoffMs, jitter(randomness));
    this.#timer = setTimeout(() => this.#dial(), waitMs);
  }

  /** From here on nothing of the connection is heard any more. */
  #leave(): void {
    clearTimeout(this.#timer);
    this.counters.dropped.notConnected += this.#held.length;
    this.#held = [];
    const socket = this.#socket;
    this.#socket = undefined;
    this.#isOpen = false;
    socket?.close(NORMAL);
  }

  #hold(datagram: Uint8Array<ArrayBuffer>): boolean {
    if (this.#held.length === MAX_HELD_DATAGRAMS) {
      this.#held.shift();
      this.#drop('queueFull');
    }
    this.#held.push(datagram);
    return true;
  }

  #report(message: string, cause?: unknown): void {
    this.onError(new TunnelError('ERR_WEBSOCKET_DIAL', `${this.endpoint}: ${message}`, { cause }));
  }

  #drop(reason: TransportDrop): false {
    this.counters.dropped[reason]++;
    return false;
  }
}
