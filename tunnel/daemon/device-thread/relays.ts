// WebSockets of the main thread on behalf of a device thread: it dials, it listens, and passes datagrams both ways.
// Promises: one connection for each URL, ended when no peer uses it; on a fork all connections are cut; whoever sends
// faster than the device takes is read no further; a turn of the event loop passes on a bounded part.
// Read on: datagram-ring.ts (how they cross), ../../websocket/index.ts, ../relay-endpoint.ts (the other thread's view).

import type { Randomness } from '../../../crng/randomness.js';
import type { Endpoint } from '../../../sessions/ports.js';
import type { TunnelError } from '../../errors.js';
import { type Transport, type TransportCounters, newCounters } from '../../transport.js';
import {
  WebSocketDialer,
  type WebSocketDialerOptions,
  WebSocketListener,
  type WebSocketListenerOptions,
} from '../../websocket/index.js';
import type { RingReader, RingWriter } from './datagram-ring.js';

export interface RelaysOptions {
  readonly crng: Randomness;
  readonly dialer?: Omit<WebSocketDialerOptions, 'randomness'> | undefined;
  /** To the device, and from it. */
  readonly arrivals: RingWriter;
  readonly departures: RingReader;
  /** See `Transport`. */
  readonly isHeld: () => boolean;
  readonly onTrouble: (error: TunnelError) => void;
  /** What is dialled under this number was lost, and is open again. */
  readonly onReopened: (number: number) => void;
}

/** What unproven connections may fill of the ring, all together. */
const UNPROVEN_SHARE = 1 / 4;
/** Of what a connection may fill: beyond it it is read no more. What was read already still finds room. */
const CROWDED = 1 / 2;
/** Connections that are read again in one turn: each brings up to 64 KiB, before it can be stopped. */
const RESUMED_AT_ONCE = 8;
/** Datagrams of the device that one turn of the event loop passes on. */
const DEPARTURES_AT_ONCE = 256;

/** What of a connection counts here, of either kind. */
type Relayed = Pick<WebSocketDialer | WebSocketListener, 'send' | 'pause' | 'resume'>;

export class Relays {
  readonly #options: RelaysOptions;
  readonly #dialers = new Map<string, WebSocketDialer>();
  #listener: WebSocketListener | undefined;
  readonly #numbers = new Map<Endpoint, number>();
  readonly #endpoints = new Map<number, Endpoint>();
  readonly #transports = new Map<number, Relayed>();
  #lastNumber = 0;
  readonly #counters = newCounters();
  /** Those that are not read, as long as there is no room, in the order in which they will be. */
  readonly #stopped = new Set<number>();
  #isLetOn = false;
  #isDeparting = false;
  #closed = false;

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
    return [this.#counters, ...transports.map(({ counters }) => counters)];
  }

  /** By which number the device knows each URL that is dialled. */
  get numbers(): ReadonlyMap<string, number> {
    return new Map(
      Array.from(this.#dialers, ([url, { endpoint }]) => [url, this.#numbers.get(endpoint) as number]),
    );
  }

  /** Throws `ERR_WEBSOCKET_LISTEN`. */
  async listen(options: WebSocketListenerOptions): Promise<void> {
    const listener = await WebSocketListener.listen(options);
    this.#listener = listener;
    listener.isHeld = this.#options.isHeld;
    listener.onDatagram = (bytes, from) => {
      const number = this.#numbers.get(from) ?? this.#add(from, listener);
      this.#arrived(bytes, from, number, listener.isProven(from) ? 1 : UNPROVEN_SHARE);
    };
    listener.onGone = endpoint => this.#forget(endpoint);
    listener.onError = this.#options.onTrouble;
  }

  /** Dials a URL, unless it is dialled already. Throws `ERR_WEBSOCKET_URL`. */
  dial(url: string): void {
    if (this.#dialers.has(url)) return;
    const dialer = new WebSocketDialer(url, { ...this.#options.dialer, randomness: this.#options.crng });
    const number = this.#add(dialer.endpoint, dialer);
    dialer.isHeld = this.#options.isHeld;
    dialer.onDatagram = (bytes, from) => this.#arrived(bytes, from, number, 1);
    dialer.onError = this.#options.onTrouble;
    dialer.onReopened = () => this.#options.onReopened(number);
    this.#dialers.set(url, dialer);
    dialer.start();
  }

  /** Ends the connections to all other URLs. */
  keep(urls: readonly string[]): void {
    for (const [url, dialer] of this.#dialers) {
      if (urls.includes(url)) continue;
      this.#dialers.delete(url);
      this.#forget(dialer.endpoint);
      void dialer.close();
    }
  }

  /** A message of this connection was authenticated. */
  prove(number: number): void {
    this.#endpoints.get(number)?.authenticated?.();
  }

  /** The device has taken what was in the ring: whoever waits is read again, a few at a time. */
  letOn(): void {
    if (this.#isLetOn) return;
    this.#isLetOn = true;
    setImmediate(() => {
      this.#isLetOn = false;
      let left = RESUMED_AT_ONCE;
      for (const number of this.#stopped) {
        if (left-- === 0) break;
        this.#stopped.delete(number);
        this.#transports.get(number)?.resume(this.#endpoints.get(number) as Endpoint);
      }
      this.#waitForRoom();
    });
  }

  /** The device has put datagrams into its ring. */
  depart(): void {
    if (this.#isDeparting) return;
    const { departures } = this.#options;
    let left = DEPARTURES_AT_ONCE;
    try {
      while (left-- > 0 && departures.next()) this.#send(departures.number, departures.datagram());
    } finally {
      departures.release();
    }
    if (departures.isEmpty || this.#closed) return;
    // Everybody else has a turn meanwhile.
    this.#isDeparting = true;
    setImmediate(() => {
      this.#isDeparting = false;
      this.depart();
    });
  }

  dropAll(reason: string): void {
    for (const dialer of this.#dialers.values()) dialer.dropAll(reason);
    this.#listener?.dropAll();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#dialers.values()].map(dialer => dialer.close()));
    await this.#listener?.close();
  }

  #send(number: number, datagram: Uint8Array): void {
    const transport = this.#transports.get(number);
    if (transport) transport.send(datagram, this.#endpoints.get(number) as Endpoint);
    else this.#counters.dropped.notConnected++;
  }

  #arrived(bytes: Uint8Array, from: Endpoint, number: number, share: number): void {
    const { arrivals } = this.#options;
    const limit = arrivals.capacity * share;
    if (!arrivals.push(bytes, number, from.ip, from.port, limit)) this.#counters.dropped.queueFull++;
    if (arrivals.used <= limit * CROWDED || this.#stopped.has(number)) return;
    this.#transports.get(number)?.pause(from);
    this.#stopped.add(number);
    this.#waitForRoom();
  }

  #waitForRoom(): void {
    if (this.#stopped.size > 0 && !this.#options.arrivals.wantRoom()) this.letOn();
  }

  #add(endpoint: Endpoint, transport: Relayed): number {
    const number = ++this.#lastNumber;
    this.#numbers.set(endpoint, number);
    this.#endpoints.set(number, endpoint);
    this.#transports.set(number, transport);
    return number;
  }

  #forget(endpoint: Endpoint): void {
    const number = this.#numbers.get(endpoint);
    if (number === undefined) return;
    this.#numbers.delete(endpoint);
    this.#endpoints.delete(number);
    this.#transports.delete(number);
    this.#stopped.delete(number);
  }
}
