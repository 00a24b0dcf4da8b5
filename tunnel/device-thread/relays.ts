// WebSockets of the main thread on behalf of a device thread: it dials, it listens, and passes datagrams both ways.
// Promises: one connection for each URL, ended when no peer uses it; on a fork all connections are cut.
// Read on: ../websocket.ts, ../relay-endpoint.ts (the other thread's view).

import type { Randomness } from '../../crng/randomness.js';
import type { Endpoint } from '../../sessions/ports.js';
import type { TunnelError } from '../errors.js';
import type { Transport, TransportCounters } from '../transport.js';
import {
  WebSocketDialer,
  type WebSocketDialerOptions,
  WebSocketListener,
  type WebSocketListenerOptions,
} from '../websocket.js';
import type { ArrivedDatagram, RelayedDatagram } from './messages.js';

export interface RelaysOptions {
  readonly crng: Randomness;
  readonly dialer?: Omit<WebSocketDialerOptions, 'randomness'>;
  readonly onArrived: (arrived: ArrivedDatagram) => void;
  readonly onTrouble: (error: TunnelError) => void;
}

export class Relays {
  readonly #options: RelaysOptions;
  readonly #dialers = new Map<string, WebSocketDialer>();
  #listener: WebSocketListener | undefined;
  readonly #names = new WeakMap<Endpoint, string>();
  readonly #accepted = new Map<string, WeakRef<Endpoint>>();
  readonly #forgotten = new FinalizationRegistry<string>(name => this.#accepted.delete(name));
  #lastName = 0;

  constructor(options: RelaysOptions) {
    this.#options = options;
  }

  /** Where it listens, as `address:port`. */
  get localAddresses(): readonly string[] {
    return this.#listener?.localAddresses ?? [];
  }

  /** What the connections sent, received and dropped. */
  get counters(): readonly Readonly<TransportCounters>[] {
    const transports: Transport[] = [...this.#dialers.values()];
    if (this.#listener) transports.push(this.#listener);
    return transports.map(({ counters }) => counters);
  }

  /** Throws `ERR_WEBSOCKET_LISTEN`. */
  async listen(options: WebSocketListenerOptions): Promise<void> {
    const listener = await WebSocketListener.listen(options);
    this.#listener = listener;
    listener.onDatagram = (bytes, from) => this.#arrived(this.#nameOf(from), bytes, from);
    listener.onError = this.#options.onTrouble;
  }

  /** Dials a URL, unless it is dialled already. Throws `ERR_WEBSOCKET_URL`. */
  dial(url: string): void {
    if (this.#dialers.has(url)) return;
    const dialer = new WebSocketDialer(url, { ...this.#options.dialer, randomness: this.#options.crng });
    dialer.onDatagram = (bytes, from) => this.#arrived(url, bytes, from);
    dialer.onError = this.#options.onTrouble;
    this.#dialers.set(url, dialer);
    dialer.start();
  }

  /** Ends the connections to all other URLs. */
  keep(urls: readonly string[]): void {
    for (const [url, dialer] of this.#dialers) {
      if (urls.includes(url)) continue;
      this.#dialers.delete(url);
      void dialer.close();
    }
  }

  send({ name, bytes }: RelayedDatagram): void {
    const dialer = this.#dialers.get(name);
    if (dialer) dialer.send(bytes, dialer.endpoint);
    else {
      const to = this.#accepted.get(name)?.deref();
      if (to) this.#listener?.send(bytes, to);
    }
  }

  dropAll(reason: string): void {
    for (const dialer of this.#dialers.values()) dialer.dropAll(reason);
    this.#listener?.dropAll();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#dialers.values()].map(dialer => dialer.close()));
    await this.#listener?.close();
  }

  #arrived(name: string, bytes: Uint8Array, from: Endpoint): void {
    // A copy of its own: a view would take its whole buffer along to the other thread.
    const own = new Uint8Array(bytes);
    this.#options.onArrived({ name, bytes: own, ip: from.ip, port: from.port, text: from.toString() });
  }

  /** A connection that came in has a number; it lives as long as anybody holds the connection's endpoint. */
  #nameOf(endpoint: Endpoint): string {
    const known = this.#names.get(endpoint);
    if (known !== undefined) return known;
    const name = String(++this.#lastName);
    this.#names.set(endpoint, name);
    this.#accepted.set(name, new WeakRef(endpoint));
    this.#forgotten.register(endpoint, name);
    return name;
  }
}
