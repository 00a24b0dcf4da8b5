// A peer that a device thread reaches by another thread's connection, such as a WebSocket of the main thread.

import type { Endpoint } from '../sessions/ports.js';
import { sameBytes } from './ip.js';

export class RelayEndpoint implements Endpoint {
  /** By this name the two threads know it: the URL that is dialled, or a number for a connection that came in. */
  readonly name: string;
  /** What is dialled, without user name and password; `undefined` for a connection that came in. */
  readonly url: string | undefined;
  #ip: Uint8Array;
  #port: number;
  #text: string;

  constructor(name: string, url: string | undefined, ip: Uint8Array, port: number, text: string) {
    this.name = name;
    this.url = url;
    this.#ip = ip;
    this.#port = port;
    this.#text = text;
  }

  /** The address of the far socket; 0.0.0.0 before the first connection. Cookies and rate limits are bound to it. */
  get ip(): Uint8Array {
    return this.#ip;
  }

  get port(): number {
    return this.#port;
  }

  /** Call with every datagram: a dialled name may be another machine after each connection. */
  at(ip: Uint8Array, port: number, text: string): void {
    if (this.#port === port && sameBytes(this.#ip, ip)) return;
    this.#ip = ip;
    this.#port = port;
    this.#text = text;
  }

  equals(other: Endpoint): boolean {
    return this === other || (other instanceof RelayEndpoint && other.name === this.name);
  }

  toString(): string {
    return this.#text;
  }
}

const NOWHERE = new Uint8Array(4);
/** Connections that came in, remembered at most; one more forgets the one heard from least recently. */
const MAX_ACCEPTED = 4_096;

/** The relay endpoints that a device thread has met, by name. */
export class RelayTable {
  readonly #dialled = new Map<string, RelayEndpoint>();
  readonly #accepted = new Map<string, RelayEndpoint>();

  /** The endpoint of a URL that the main thread dials. */
  dialled(url: string): RelayEndpoint {
    let endpoint = this.#dialled.get(url);
    if (!endpoint) {
      endpoint = new RelayEndpoint(url, url, NOWHERE, 0, withoutCredentials(url));
      this.#dialled.set(url, endpoint);
    }
    return endpoint;
  }

  /** The endpoint of a datagram that was relayed to us. */
  from(name: string, ip: Uint8Array, port: number, text: string): RelayEndpoint {
    const dialled = this.#dialled.get(name);
    if (dialled) {
      dialled.at(ip, port, withoutCredentials(name));
      return dialled;
    }
    const known = this.#accepted.get(name) ?? new RelayEndpoint(name, undefined, ip, port, text);
    this.#accepted.delete(name);
    this.#accepted.set(name, known);
    if (this.#accepted.size > MAX_ACCEPTED) {
      const [oldest] = this.#accepted.keys();
      this.#accepted.delete(oldest);
    }
    return known;
  }
}

function withoutCredentials(url: string): string {
  const shown = new URL(url);
  shown.username = '';
  shown.password = '';
  return shown.href;
}
