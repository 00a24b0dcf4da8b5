// Where datagrams come from and go to, over UDP and over WebSockets.
// Promises: a UDP endpoint never changes and compares by value; a cache keeps a socket from making one per datagram.
// Read on: sessions/ports.ts (what a device asks of an endpoint); RFC 3986 section 3.2.2 ([v6]:port).

import { equalBytes } from '../native/bytes.js';
import { formatHostPort, parseAddressPort } from '../native/host-port.js';
import type { Endpoint } from '../sessions/ports.js';
import { TunnelError } from './errors.js';
import { formatIp, parseIp, unmapIp } from './ip.js';
import { parseWebSocketUrl, withoutCredentials } from './websocket/url.js';

const MAX_PORT = 65_535;

/** A UDP address and port. An IPv4-mapped IPv6 address becomes the IPv4 address that it stands for. */
export class UdpEndpoint implements Endpoint {
  readonly ip: Uint8Array;
  readonly port: number;
  /** The interface of a link-local IPv6 address, `eth0`; empty otherwise. */
  readonly zone: string;
  /** The address in text, as a socket takes it: `192.0.2.1`, `fe80::1%eth0`. */
  readonly address: string;

  /** `ip`: 4 or 16 bytes, copied. Throws `ERR_ENDPOINT` for any other length or a port outside 0..65535. */
  constructor(ip: Uint8Array, port: number, zone = '') {
    if ((ip.length !== 4 && ip.length !== 16) || !Number.isInteger(port) || port < 0 || port > MAX_PORT) {
      throw new TunnelError('ERR_ENDPOINT', `no endpoint: ${ip.length} address bytes, port ${port}`);
    }
    this.ip = unmapIp(ip.slice());
    this.port = port;
    this.zone = this.ip.length === 16 ? zone : '';
    this.address = formatIp(this.ip, this.zone);
  }

  /** From an address in text and a port. Throws `ERR_ENDPOINT`; names are not resolved here. */
  static of(address: string, port: number): UdpEndpoint {
    const parsed = parseIp(address);
    if (!parsed) throw new TunnelError('ERR_ENDPOINT', `not an IP address: ${JSON.stringify(address)}`);
    return new UdpEndpoint(parsed.ip, port, parsed.zone);
  }

  /** Reads `192.0.2.1:51820` or `[2001:db8::1%scope]:51820`. Throws `ERR_ENDPOINT`. The port is 1..65535. */
  static parse(text: string): UdpEndpoint {
    const { host, port } = parseAddressPort(text) ?? { host: '', port: 0 };
    if (port > 0) return UdpEndpoint.of(host, port);
    const shown = JSON.stringify(text.slice(0, 80));
    throw new TunnelError('ERR_ENDPOINT', `not an endpoint (address:port or [address]:port): ${shown}`);
  }

  /** The same address, port and zone. */
  equals(other: Endpoint): boolean {
    if (this === other) return true;
    return (
      other instanceof UdpEndpoint &&
      other.port === this.port &&
      other.zone === this.zone &&
      equalBytes(other.ip, this.ip)
    );
  }

  toString(): string {
    return formatHostPort(this.address, this.port);
  }
}

/**
 * Endpoints by the address and port that a socket reports. Bounded: two halves of `limit` entries each; when the
 * young half is full it becomes the old one, and what nobody asked for since is forgotten. So a flood from forged
 * addresses costs memory once, and the endpoints in use stay.
 */
export class EndpointCache {
  readonly #limit: number;
  #young = new Map<string, UdpEndpoint>();
  #old = new Map<string, UdpEndpoint>();
  // Datagrams come in runs from one sender: the last answer often serves again.
  #lastAddress = '';
  #last: UdpEndpoint | undefined;

  constructor(limit = 2_048) {
    this.#limit = limit;
  }

  /** The endpoint of a numeric address and port. Throws `ERR_ENDPOINT` when the address is none. */
  get(address: string, port: number): UdpEndpoint {
    const last = this.#last;
    if (last !== undefined && last.port === port && this.#lastAddress === address) return last;
    const key = `${address} ${port}`;
    const endpoint = this.#young.get(key) ?? this.#promote(key, this.#old.get(key), address, port);
    this.#lastAddress = address;
    this.#last = endpoint;
    return endpoint;
  }

  /** Entries held now; never more than twice the limit. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  #promote(key: string, known: UdpEndpoint | undefined, address: string, port: number): UdpEndpoint {
    const endpoint = known ?? UdpEndpoint.of(address, port);
    if (this.#young.size >= this.#limit) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#old.delete(key);
    this.#young.set(key, endpoint);
    return endpoint;
  }
}

const UNKNOWN_IP = new Uint8Array(4);

/**
 * The far end of a WebSocket: one URL that we dial, across all its reconnections, or one connection that came in.
 * Two of them are equal when they dial the same URL, or are the same connection.
 */
export class WebSocketEndpoint implements Endpoint {
  /** What is dialled; `undefined` for a connection that came in. */
  readonly url: string | undefined;
  /** Hears of each authenticated message. */
  onAuthenticated: (() => void) | undefined;
  #ip: Uint8Array = UNKNOWN_IP;
  #port: number;

  private constructor(url: string | undefined, port: number) {
    this.url = url;
    this.#port = port;
  }

  /** An endpoint to dial. Throws `ERR_WEBSOCKET_URL` unless the URL is `ws:` or `wss:` without a fragment. */
  static dial(url: string): WebSocketEndpoint {
    const parsed = parseWebSocketUrl(url);
    if (!parsed)
      throw new TunnelError('ERR_WEBSOCKET_URL', 'not a WebSocket URL (ws:// or wss://, no fragment)');
    const defaultPort = parsed.protocol === 'wss:' ? 443 : 80;
    return new WebSocketEndpoint(parsed.href, parsed.port === '' ? defaultPort : Number(parsed.port));
  }

  /** The endpoint of a connection that came in. A Unix socket has no address: all its clients count as 0.0.0.0. */
  static accepted(address: string | undefined, port: number | undefined): WebSocketEndpoint {
    const endpoint = new WebSocketEndpoint(undefined, port ?? 0);
    endpoint.connected(address, port);
    return endpoint;
  }

  /** The address of the remote socket; 0.0.0.0 before the first connection of a dialled URL. */
  get ip(): Uint8Array {
    return this.#ip;
  }

  /** The port of the remote socket, or of the URL. */
  get port(): number {
    return this.#port;
  }

  /** Call when a connection stands: from here on `ip` and `port` are those of its socket. */
  connected(address: string | undefined, port: number | undefined): void {
    const parsed = address === undefined ? undefined : parseIp(address);
    if (parsed) this.#ip = unmapIp(parsed.ip);
    if (port !== undefined) this.#port = port;
  }

  authenticated(): void {
    this.onAuthenticated?.();
  }

  /** The same URL, or the same connection that came in. */
  equals(other: Endpoint): boolean {
    if (this === other) return true;
    return other instanceof WebSocketEndpoint && this.url !== undefined && other.url === this.url;
  }

  /** The URL without user name, password and query, or address and port of a connection that came in. */
  toString(): string {
    if (this.url === undefined) return new UdpEndpoint(this.#ip, this.#port).toString();
    return withoutCredentials(this.url);
  }
}
