// The dialling end of datagrams over WebSockets: one URL, dialled again whenever the connection is lost.
// Promises: the waits between attempts grow and are jittered; frame masks never come from OpenSSL's generator; while the
// device is on hold nothing is dialled, and nobody gets the password of its URL.
// Read on: RFC 6455 section 5.3 (masks) and 10.3 (why they exist), connection.ts.

import type { ClientRequest } from 'node:http';
import { WebSocket } from 'ws';
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
import { WebSocketConnection, WS_OPTIONS } from './connection.js';
import { MAX_MESSAGE_BYTES, MAX_QUEUED_BYTES } from './limits.js';

/** TLS settings that a dialer passes on. Sessions are never resumed: their secrets were cloned with the machine. */
export interface WebSocketTlsOptions {
  /** Authorities to trust instead of Node's own, in PEM. */
  readonly ca?: TlsText | TlsText[] | undefined;
  /** Our certificate, in PEM, and its private key. */
  readonly cert?: TlsText | TlsText[] | undefined;
  readonly key?: TlsText | undefined;
  /** Both of them in PKCS #12. */
  readonly pfx?: TlsText | undefined;
  /** Opens `key` or `pfx`. */
  readonly passphrase?: string | undefined;
  /** The name to ask for by SNI. Default: the host of the URL. */
  readonly servername?: string | undefined;
  /** False: takes any certificate. Default true. */
  readonly rejectUnauthorized?: boolean | undefined;
  /** Replaces the check that the certificate is for this host: an error refuses it. */
  checkServerIdentity?(host: string, certificate: object): Error | undefined;
  readonly minVersion?: TlsVersion | undefined;
  readonly maxVersion?: TlsVersion | undefined;
  /** Cipher suites by OpenSSL's names, parted by colons. */
  readonly ciphers?: string | undefined;
}

/** Text, or the bytes of a file: a `Buffer` of Node. */
export type TlsText = string | Uint8Array;
/** A version of TLS, by Node's name. */
export type TlsVersion = 'TLSv1.3' | 'TLSv1.2' | 'TLSv1.1' | 'TLSv1';

/** How it dials. */
export interface WebSocketDialerOptions {
  /** Fills the frame masks. While it is not fresh after a fork, nothing is dialled and datagrams are dropped. */
  readonly randomness: Randomness;
  /** A number in [0, 1) that spreads the attempts. Default: drawn from `randomness`. */
  readonly random?: () => number;
  readonly tls?: WebSocketTlsOptions;
  /** HTTP headers of the request, such as a token. */
  readonly headers?: Readonly<Record<string, string>>;
  /** How long an attempt may take, in milliseconds. Default 10,000. */
  readonly handshakeTimeoutMs?: number;
  /** The first wait between attempts, in milliseconds; it doubles with each. Default 250. */
  readonly minBackoffMs?: number;
  /** The longest wait. Default 30,000. */
  readonly maxBackoffMs?: number;
  /** Ping the server this often, in milliseconds; 0 for never. Default 30,000. */
  readonly pingIntervalMs?: number;
  /** Dial anew when no frame came for so long, in milliseconds; 0 for never. Default 75,000. */
  readonly idleTimeoutMs?: number;
  /** Bytes that may wait in the connection, with what their frames cost, before datagrams are dropped. Default 1 MiB. */
  readonly maxQueuedBytes?: number;
}

/** What a dialer is doing. */
export type DialerState = 'idle' | 'connecting' | 'open' | 'waiting' | 'closed';

/** A transport that dials one URL, and again whenever the connection is lost. */
export class WebSocketDialer implements Transport {
  readonly kind = 'websocket';
  readonly counters = newCounters();
  readonly localAddresses: readonly string[] = [];
  /** Send to this one. It stays the same across reconnections. */
  readonly endpoint: WebSocketEndpoint;
  onDatagram: (datagram: Uint8Array, from: Endpoint) => void = () => {};
  /** Hears why an attempt failed or a connection broke. Another attempt follows. */
  onError: (error: TunnelError) => void = () => {};
  /** Hears of each change. `reason` is what `dropAll` was given, when that is why. Must not throw. */
  onState: (state: DialerState, reason?: string) => void = () => {};
  isHeld: () => boolean = () => false;
  onReopened: (to: Endpoint) => void = () => {};
  readonly #options: WebSocketDialerOptions;
  readonly #random: () => number;
  #state: DialerState = 'idle';
  #connection: WebSocketConnection | undefined;
  #attempts = 0;
  #waitTimer: NodeJS.Timeout | undefined;
  #attemptTimer: NodeJS.Timeout | undefined;
  #hasBeenOpen = false;
  #held: Buffer[] = [];
  #closed: Promise<void> | undefined;
  /** Not dialled since the device was on hold. */
  #waitsForHold = false;
  #waiters: { resolve(): void; reject(error: TunnelError): void }[] = [];

  /** Dials nothing yet. Throws `ERR_WEBSOCKET_URL`. */
  constructor(url: string, options: WebSocketDialerOptions) {
    this.endpoint = WebSocketEndpoint.dial(url);
    this.#options = options;
    this.#random = options.random ?? (() => jitter(options.randomness));
  }

  get state(): DialerState {
    return this.#state;
  }

  /**
   * Begins to dial, and goes on until `close`. Throws `ERR_WEBSOCKET_DIAL` when no attempt can be made at all,
   * as with a header that HTTP does not allow. Whatever goes wrong later is told to `onError`.
   */
  start(): void {
    if (this.#state !== 'idle' || this.#mustWait()) return;
    this.#dial();
  }

  /** Resolves when a connection is open. Rejects with `ERR_CLOSED` when the dialer was closed. */
  async whenOpen(): Promise<void> {
    if (this.#state === 'open') return;
    if (this.#closed) throw new TunnelError('ERR_CLOSED', 'the dialer is closed');
    await new Promise<void>((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  owns(to: Endpoint): boolean {
    return this.endpoint.equals(to);
  }

  send(datagram: Uint8Array, to: Endpoint): boolean {
    if (this.#closed) return this.#drop('closed');
    if (!this.endpoint.equals(to)) return this.#drop('notOurs');
    if (this.isHeld()) return this.#drop('held');
    if (!this.#options.randomness.isFresh()) return this.#drop('noRandomness');
    if (this.#waitsForHold) this.#redial();
    if (this.#state === 'connecting') return this.#hold(datagram);
    return this.#connection ? this.#connection.send(datagram) : this.#drop('notConnected');
  }

  /** Reads no more until `resume`: whoever takes the datagrams has no room. */
  pause(): void {
    this.#connection?.pause();
  }

  /** Reads on. */
  resume(): void {
    this.#connection?.resume();
  }

  /**
   * Cuts the connection and dials anew, as soon as `randomness` is fresh and the device not on hold. Call it on a
   * fork, after OpenSSL's generator was re-seeded: the TLS handshake that follows draws on it. Before `start` and
   * after `close` it does nothing.
   */
  dropAll(reason: string): void {
    if (this.#state === 'idle' || this.#closed) return;
    this.#forget();
    this.#attempts = 0;
    this.#redial(reason);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#stopTimers();
    this.#releaseHeld();
    this.#setState('closed');
    const error = new TunnelError('ERR_CLOSED', 'the dialer is closed');
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
    connection?.close();
    await connection?.closed;
  }

  #dial(reason?: string): void {
    const socket = this.#newSocket();
    const isCurrent = () => this.#connection === connection;
    let openedAt = Number.POSITIVE_INFINITY;
    let heard = false;
    const connection = new WebSocketConnection(
      socket,
      this.endpoint,
      this.counters,
      {
        pingIntervalMs: this.#options.pingIntervalMs ?? 30_000,
        idleTimeoutMs: this.#options.idleTimeoutMs ?? 75_000,
        maxQueuedBytes: this.#options.maxQueuedBytes ?? MAX_QUEUED_BYTES,
      },
      {
        onOpen: () => {
          if (!isCurrent() || this.#isTooLate(connection)) return;
          openedAt = performance.now();
          this.#opened(connection);
        },
        onDatagram: (datagram, from) => {
          heard = true;
          this.onDatagram(datagram, from);
        },
        onError: cause => {
          if (isCurrent()) this.#report(cause.message, cause);
        },
        onEnd: () => {
          if (!isCurrent()) return;
          // A server that accepts and hangs up would otherwise be dialled without a pause.
          const wasGood = heard || performance.now() - openedAt >= GOOD_AFTER_MS;
          this.#lost(wasGood);
        },
      },
    );
    this.#connection = connection;
    // `ws` has a timeout of its own, but it starts again with every byte that trickles in.
    const timeoutMs = this.#options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS;
    this.#attemptTimer = setTimeout(() => {
      this.#report(`no answer within ${timeoutMs} ms`);
      connection.cut();
    }, timeoutMs);
    // Last, since whoever hears it may call back.
    this.#setState('connecting', reason);
  }

  #newSocket(): WebSocket {
    const options = {
      ...this.#options.tls,
      ...WS_OPTIONS,
      ...(this.#options.headers && { headers: { ...this.#options.headers } }),
      followRedirects: false,
      finishRequest: (request: ClientRequest) => this.#sendRequest(request),
      generateMask: (mask: Buffer) => this.#mask(mask),
    };
    // The Sec-WebSocket-Key comes from OpenSSL's generator inside `ws`, which keeps it to check the answer and offers
    // no way to bring another. It is sent in the clear and shows only that the server understands WebSocket (RFC 6455
    // section 1.3): two clones that send the same one lose nothing.
    try {
      // The published types know neither the newer options nor what Node's `checkServerIdentity` returns.
      const socket = new WebSocket(this.endpoint.url as string, options);
      socket.once('upgrade', ({ socket: { remoteAddress, remotePort } }) =>
        this.endpoint.connected(remoteAddress, remotePort),
      );
      return socket;
    } catch (cause) {
      const message = `cannot dial ${this.endpoint}: ${(cause as Error).message}`;
      throw new TunnelError('ERR_WEBSOCKET_DIAL', message, { cause });
    }
  }

  // `send` has asked for freshness; what is left are pongs, pings and close frames, and a throw inside `ws` would end
  // the process. A mask keeps page authors from choosing bytes on the wire, and is no secret: zeros will do.
  #mask(mask: Buffer): void {
    try {
      this.#options.randomness.fill(mask);
    } catch {
      mask.fill(0);
    }
  }

  #opened(connection: WebSocketConnection): void {
    clearTimeout(this.#attemptTimer);
    this.#setState('open');
    for (const datagram of this.#held.splice(0)) connection.send(datagram);
    for (const waiter of this.#waiters.splice(0)) waiter.resolve();
    const isAgain = this.#hasBeenOpen;
    this.#hasBeenOpen = true;
    if (isAgain) this.onReopened(this.endpoint);
  }

  #lost(wasGood: boolean): void {
    this.#connection = undefined;
    this.#stopTimers();
    this.#releaseHeld();
    if (wasGood) this.#attempts = 0;
    this.#wait();
  }

  #wait(): void {
    const { minBackoffMs = MIN_BACKOFF_MS, maxBackoffMs = MAX_BACKOFF_MS } = this.#options;
    const waitMs = backoffMs(this.#attempts++, minBackoffMs, maxBackoffMs, this.#random());
    this.#waitTimer = setTimeout(() => this.#redial(), waitMs);
    this.#setState('waiting');
  }

  #redial(reason?: string): void {
    if (this.#mustWait(reason)) return;
    try {
      this.#dial(reason);
    } catch (error) {
      this.#wait();
      this.onError(error as TunnelError);
    }
  }

  /**
   * Whether it is not the time to dial: another attempt follows. Clones would agree on TLS keys with the same secrets, and
   * could send nothing but their handshake anyway; on hold this machine may be somebody else.
   */
  #mustWait(reason?: string): boolean {
    clearTimeout(this.#waitTimer);
    this.#waitsForHold = this.isHeld();
    if (!this.#waitsForHold && this.#options.randomness.isFresh()) return false;
    const pollMs = this.#waitsForHold ? HOLD_POLL_MS : FRESHNESS_POLL_MS;
    this.#waitTimer = setTimeout(() => this.#redial(), pollMs);
    this.#setState('waiting', reason);
    return true;
  }

  // Not before there is a connection to send it by: the machine may have been forked while it was made.
  #sendRequest(request: ClientRequest): void {
    const made = this.endpoint.url?.startsWith('wss:') ? 'secureConnect' : 'connect';
    request.once('socket', socket =>
      socket.once(made, () => {
        if (this.isHeld()) request.destroy(new Error('the device is on hold'));
        else request.end();
      }),
    );
  }

  /** Cuts a connection that a hold has overtaken. */
  #isTooLate(connection: WebSocketConnection): boolean {
    if (!this.isHeld()) return false;
    connection.cut();
    return true;
  }

  #hold(datagram: Uint8Array): boolean {
    if (datagram.length === 0 || datagram.length > MAX_MESSAGE_BYTES) return this.#drop('badLength');
    if (this.#held.length === MAX_HELD_DATAGRAMS) {
      this.#held.shift();
      this.#drop('queueFull');
    }
    this.#held.push(Buffer.from(datagram));
    return true;
  }

  #releaseHeld(): void {
    this.counters.dropped.notConnected += this.#held.length;
    this.#held = [];
  }

  /** Leaves the current connection without a word, and whatever waited for it. */
  #forget(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#stopTimers();
    this.#releaseHeld();
    connection?.cut();
  }

  #stopTimers(): void {
    clearTimeout(this.#waitTimer);
    clearTimeout(this.#attemptTimer);
  }

  #setState(state: DialerState, reason?: string): void {
    if (this.#state === state && reason === undefined) return;
    this.#state = state;
    this.onState(state, reason);
  }

  #report(message: string, cause?: Error): void {
    this.onError(new TunnelError('ERR_WEBSOCKET_DIAL', `${this.endpoint}: ${message}`, { cause }));
  }

  #drop(reason: TransportDrop): false {
    this.counters.dropped[reason]++;
    return false;
  }
}
