// A peer that a device thread reaches by another thread's connection, such as a WebSocket of the main thread.

import { equalBytes } from '../../native/bytes.js';
import type { Endpoint } from '../../sessions/ports.js';
import { UdpEndpoint } from '../endpoint.js';
import { withoutCredentials } from '../websocket/url.js';

const NOWHERE = new Uint8Array(4);

export class RelayEndpoint implements Endpoint {
  /** By this number the two threads know it: what is dialled, or a connection that came in. */
  readonly number: number;
  /** What is dialled, `undefined` for a connection that came in. */
  readonly url: string | undefined;
  readonly #onProven: ((number: number) => void) | undefined;
  #isProven = false;
  #ip: Uint8Array = NOWHERE;
  #port = 0;

  /** `onProven` hears once that a message from here was authenticated. */
  constructor(number: number, url?: string, onProven?: (number: number) => void) {
    this.number = number;
    this.url = url;
    this.#onProven = onProven;
  }

  /** The address of the far socket; 0.0.0.0 before the first connection. Cookies and rate limits are bound to it. */
  get ip(): Uint8Array {
    return this.#ip;
  }

  get port(): number {
    return this.#port;
  }

  /** Call with every datagram: a dialled name may be another machine after each connection. `ip` is copied. */
  at(ip: Uint8Array, port: number): void {
    if (this.#port === port && equalBytes(this.#ip, ip)) return;
    this.#ip = new Uint8Array(ip);
    this.#port = port;
  }

  authenticated(): void {
    if (this.#isProven) return;
    this.#isProven = true;
    this.#onProven?.(this.number);
  }

  equals(other: Endpoint): boolean {
    return this === other || (other instanceof RelayEndpoint && other.number === this.number);
  }

  /** The URL without user name, password and query, or address and port of a connection that came in. */
  toString(): string {
    return this.url === undefined
      ? new UdpEndpoint(this.#ip, this.#port).toString()
      : withoutCredentials(this.url);
  }
}

/** Connections that came in, remembered at most; one more forgets the one heard from least recently. */
const MAX_ACCEPTED = 4_096;

/** The relay endpoints that a device thread has met, by number. */
export class RelayTable {
  readonly #dialled = new Map<string, RelayEndpoint>();
  readonly #dialledBy = new Map<number, RelayEndpoint>();
  readonly #accepted = new Map<number, RelayEndpoint>();
  /** Datagrams come in runs from one sender. */
  #last: RelayEndpoint | undefined;

  /** Hears when a message of a connection that came in was authenticated. */
  onProven: (number: number) => void = () => {};

  /** Tells by which number the main thread dials a URL. */
  number(url: string, number: number): void {
    const known = this.#dialled.get(url);
    if (known?.number === number) return;
    if (known) this.#dialledBy.delete(known.number);
    const endpoint = new RelayEndpoint(number, url);
    this.#dialled.set(url, endpoint);
    this.#dialledBy.set(number, endpoint);
  }

  /** The endpoint of a URL that the main thread dials, once `number` was told of it. */
  dialled(url: string): RelayEndpoint {
    return this.#dialled.get(url) as RelayEndpoint;
  }

  /** The endpoint that is dialled under this number. */
  dialledAs(number: number): RelayEndpoint | undefined {
    return this.#dialledBy.get(number);
  }

  /** The endpoint of a datagram that was relayed to us. `ip` is copied. */
  from(number: number, ip: Uint8Array, port: number): RelayEndpoint {
    const isLast = this.#last?.number === number;
    const endpoint = isLast
      ? (this.#last as RelayEndpoint)
      : (this.#dialledBy.get(number) ?? this.#find(number));
    endpoint.at(ip, port);
    this.#last = endpoint;
    return endpoint;
  }

  #find(number: number): RelayEndpoint {
    const known = this.#accepted.get(number) ?? new RelayEndpoint(number, undefined, n => this.onProven(n));
    this.#accepted.delete(number);
    this.#accepted.set(number, known);
    if (this.#accepted.size > MAX_ACCEPTED) {
      const [oldest] = this.#accepted.keys();
      this.#accepted.delete(oldest);
    }
    return known;
  }
}
