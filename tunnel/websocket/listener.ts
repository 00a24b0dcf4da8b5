// The listening end of datagrams over WebSockets: on a port of its own, or on an HTTP(S) server of the caller's.
// Promises: bounded memory and connections, whoever comes; after `dropAll` no key of an older connection is used.
// Read on: connection.ts (what a connection may send), dialer.ts (the other end).

import { createServer, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Endpoint } from '../../sessions/ports.js';
import { systemClock } from '../clock.js';
import { UdpEndpoint, WebSocketEndpoint } from '../endpoint.js';
import { TunnelError } from '../errors.js';
import { Places } from './places.js';
import { newCounters, type Transport, type TransportDrop } from '../transport.js';
import { UnprovenConnections } from './unproven.js';
import { WebSocketConnection, WS_OPTIONS } from './connection.js';
import { MAX_QUEUED_BYTES } from './limits.js';

// oxlint-disable-next-line typescript/no-explicit-any -- each event has arguments of its own.
type Listener = (...values: any[]) => void;

/** What is used of a server of `node:http` or `node:https`. */
export interface HttpServer {
  /** As an EventEmitter. */
  on(event: string, listener: Listener): unknown;
  /** As an EventEmitter. */
  off(event: string, listener: Listener): unknown;
  /** As an EventEmitter. */
  listenerCount(event: string): number;
  /** Where it listens; `null` before it does. */
  address(): { readonly address: string; readonly port: number } | string | null;
  /** Stops listening. */
  close(callback?: (error?: Error) => void): unknown;
}

/** Where it listens, and how many it lets in. */
export interface WebSocketListenerOptions {
  /** Listen on a port of our own, without TLS. 0, the default, takes any free one. */
  readonly port?: number | undefined;
  /** The address of that port. Default: every address of the machine. */
  readonly host?: string | undefined;
  /**
   * Listen on this server instead; it stays the caller's to start and to close, and TLS is its business. Hand it over
   * before it listens: `dropAll` knows no connection that is older than the listener.
   */
  readonly server?: HttpServer | undefined;
  /** Take only upgrades of this path. Default: any. */
  readonly path?: string | undefined;
  /** Connections at a time. One more is refused when all are proven. Default 1024. */
  readonly maxConnections?: number | undefined;
  /**
   * Of these, unproven at a time: from which no message has come that the device authenticated; and so many sockets beside
   * them that have not asked for an upgrade. Half of them from one address (or IPv6 /64). When they are taken, the oldest
   * of the address that holds most gives way. Default: a quarter of the connections.
   */
  readonly maxUnproven?: number | undefined;
  /** How long a client may take over its HTTP request, in milliseconds. Port of our own only. Default 10,000. */
  readonly handshakeTimeoutMs?: number | undefined;
  /** Cut a connection from which no frame came for so long, in milliseconds; 0 for never. Default 120,000. */
  readonly idleTimeoutMs?: number | undefined;
  /** Ping each connection this often, in milliseconds; 0, the default, for never. */
  readonly pingIntervalMs?: number | undefined;
  /** Bytes that may wait in a proven connection, with what their frames cost, before datagrams are dropped. Default 1 MiB. */
  readonly maxQueuedBytes?: number | undefined;
}

const DEFAULT_CONNECTIONS = 1_024;
/** Sockets that may come in one turn of the event loop, before anybody else has theirs. Others try again after a second. */
const BACKLOG = 128;
const BODY_426 = 'This port speaks WebSocket only.\n';

/** A transport that WebSockets come in at. */
export class WebSocketListener implements Transport {
  readonly kind = 'websocket';
  readonly counters = newCounters();
  onDatagram: (datagram: Uint8Array, from: Endpoint) => void = () => {};
  onError: (error: TunnelError) => void = () => {};
  /** Hears when nothing will come from an endpoint any more. */
  onGone: (endpoint: Endpoint) => void = () => {};
  isHeld: () => boolean = () => false;
  /** Upgrade requests turned away: broken, too many, or from before a fork. */
  refused = 0;
  readonly #server: HttpServer;
  readonly #ownsServer: boolean;
  readonly #options: WebSocketListenerOptions;
  readonly #maxConnections: number;
  readonly #maxUnproven: number;
  readonly #ws = new WebSocketServer({ noServer: true, clientTracking: false, ...WS_OPTIONS });
  readonly #connections = new Map<Endpoint, WebSocketConnection>();
  /** From which nothing has come that was authenticated, and what they may cost. */
  readonly #unproven = new Places<WebSocketConnection>();
  readonly #budget = new UnprovenConnections(systemClock.now);
  #proven = 0;
  /** Every connection of the server, upgraded or not yet. */
  readonly #sockets = new Set<Duplex>();
  /** On a port of our own: those that have not asked for an upgrade. */
  readonly #silent = new Places<Duplex>();
  /** Those that nobody has had time to read. */
  readonly #arriving = new Set<Socket>();
  #closed: Promise<void> | undefined;

  private constructor(server: HttpServer, options: WebSocketListenerOptions) {
    this.#server = server;
    this.#ownsServer = options.server === undefined;
    this.#options = options;
    this.#maxConnections = options.maxConnections ?? DEFAULT_CONNECTIONS;
    this.#maxUnproven = options.maxUnproven ?? Math.ceil(this.#maxConnections / 4);
    this.#ws.on('wsClientError', (_, socket) => this.#refuse(socket, '400 Bad Request'));
    server.on('connection', this.#accepted);
    server.on('upgrade', this.#upgrade);
    if (this.#ownsServer) server.on('error', this.#serverError);
  }

  /** Resolves when the port is open. Throws `ERR_WEBSOCKET_LISTEN`. */
  static async listen(options: WebSocketListenerOptions = {}): Promise<WebSocketListener> {
    if (options.server) return new WebSocketListener(options.server, options);
    const { port = 0, host, handshakeTimeoutMs = 10_000 } = options;
    const server = createServer(
      {
        headersTimeout: handshakeTimeoutMs,
        requestTimeout: handshakeTimeoutMs,
        connectionsCheckingInterval: Math.max(10, Math.floor(handshakeTimeoutMs / 4)),
      },
      (_, response) => {
        response.writeHead(426, { Upgrade: 'websocket', Connection: 'close', 'Content-Type': 'text/plain' });
        response.end(BODY_426);
      },
    );
    await new Promise<void>((resolve, reject) => {
      server.once('error', cause => {
        const message = `cannot listen for WebSockets on port ${port}: ${cause.message}`;
        reject(new TunnelError('ERR_WEBSOCKET_LISTEN', message, { cause }));
      });
      server.listen({ port, backlog: BACKLOG, host }, resolve);
    });
    server.removeAllListeners('error');
    return new WebSocketListener(server, options);
  }

  /** The TCP port, or 0 when the caller's server has none (yet). */
  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' ? (address?.port ?? 0) : 0;
  }

  get localAddresses(): readonly string[] {
    const address = this.#server.address();
    if (address === null) return [];
    return [typeof address === 'string' ? address : UdpEndpoint.of(address.address, address.port).toString()];
  }

  /** Open connections. */
  get connections(): number {
    return this.#connections.size;
  }

  owns(to: Endpoint): boolean {
    return this.#connections.has(to);
  }

  send(datagram: Uint8Array, to: Endpoint): boolean {
    if (this.#closed) return this.#drop('closed');
    const connection = this.#connections.get(to);
    if (!connection) {
      const wasOurs = to instanceof WebSocketEndpoint && to.url === undefined;
      return this.#drop(wasOurs ? 'notConnected' : 'notOurs');
    }
    return this.isHeld() ? this.#drop('held') : connection.send(datagram);
  }

  /** Reads no more from a connection until `resume`: whoever takes its datagrams has no room. */
  pause(from: Endpoint): void {
    this.#connections.get(from)?.pause();
  }

  /** Reads on. */
  resume(from: Endpoint): void {
    this.#connections.get(from)?.resume();
  }

  /** Whether a message of this connection was authenticated. */
  isProven(from: Endpoint): boolean {
    return this.#connections.get(from)?.isProven ?? false;
  }

  /**
   * Cuts every connection of the server, also those that are not WebSockets (yet): whatever TLS keys they have, or are
   * just agreeing on, were cloned. Clients dial anew.
   */
  dropAll(): void {
    for (const connection of this.#connections.values()) connection.cut();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Says goodbye to the clients, waits a second for them at most, and closes the port if it is ours. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#server.off('upgrade', this.#upgrade);
    this.#server.off('connection', this.#accepted);
    const open = [...this.#connections.values()];
    for (const connection of open) connection.close();
    const stopped = this.#ownsServer
      ? new Promise<void>(resolve => this.#server.close(() => resolve()))
      : undefined;
    await Promise.all(open.map(connection => connection.closed));
    if (!this.#ownsServer) return;
    for (const socket of this.#sockets) socket.destroy();
    await stopped;
  }

  readonly #serverError = (cause: Error): void =>
    this.onError(new TunnelError('ERR_WEBSOCKET_LISTEN', cause.message, { cause }));

  readonly #accepted = (socket: Socket): void => {
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#arriving.delete(socket);
      this.#silent.delete(socket);
    });
    // On the caller's server these may be anything.
    if (!this.#ownsServer) return;
    this.#arriving.add(socket);
    // What came with a crowd is read in the next turn: until then nobody can tell who is silent.
    if (this.#arriving.size === 1) setImmediate(() => setImmediate(this.#settle));
  };

  /** Whoever has been read, and has not asked for an upgrade, needs a place among the silent. */
  readonly #settle = (): void => {
    const arrived = [...this.#arriving];
    this.#arriving.clear();
    for (const socket of arrived) {
      if (socket.destroyed) continue;
      const { ip } = WebSocketEndpoint.accepted(socket.remoteAddress, socket.remotePort);
      const giveWay = this.#whoGivesWay(this.#silent, this.#maxUnproven, ip);
      this.#silent.add(socket, ip);
      if (!giveWay) continue;
      this.#silent.delete(giveWay);
      giveWay.destroy();
    }
  };

  readonly #upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const { path } = this.#options;
    if (path !== undefined && request.url?.split('?', 1)[0] !== path) {
      // On the caller's server another listener may be waiting for this one.
      if (this.#server.listenerCount('upgrade') === 1) this.#refuse(socket, '404 Not Found');
      return;
    }
    const { remoteAddress, remotePort } = request.socket;
    const endpoint = WebSocketEndpoint.accepted(remoteAddress, remotePort);
    if (!this.#makeRoom(endpoint)) return this.#refuse(socket, '503 Service Unavailable');
    this.#ws.handleUpgrade(request, socket, head, webSocket => this.#connected(webSocket, socket, endpoint));
  };

  #makeRoom({ ip }: Endpoint): boolean {
    const room = Math.min(this.#maxConnections - this.#proven, this.#maxUnproven);
    if (room <= 0) return false;
    this.#whoGivesWay(this.#unproven, room, ip)?.cut();
    return true;
  }

  /** Who has to go so that one more from `ip` has a place among `room`, half of them for an address; none if there is. */
  #whoGivesWay<T>(places: Places<T>, room: number, ip: Uint8Array): T | undefined {
    if (places.countOf(ip) >= Math.ceil(this.#maxUnproven / 2)) return places.oldestOf(ip);
    return places.size >= room ? places.oldestOfMost() : undefined;
  }

  #connected(webSocket: WebSocket, stream: Duplex, endpoint: WebSocketEndpoint): void {
    const { pingIntervalMs = 0, idleTimeoutMs = 120_000, maxQueuedBytes = MAX_QUEUED_BYTES } = this.#options;
    const unproven = { allowance: this.#budget.join(), stream };
    const connection = new WebSocketConnection(
      webSocket,
      endpoint,
      this.counters,
      { pingIntervalMs, idleTimeoutMs, maxQueuedBytes, unproven },
      {
        onDatagram: (datagram, from) => this.onDatagram(datagram, from),
        onEnd: () => {
          this.#connections.delete(endpoint);
          this.onGone(endpoint);
        },
        onGone: () => {
          if (!this.#unproven.delete(connection)) this.#proven--;
        },
      },
    );
    endpoint.onAuthenticated = () => {
      endpoint.onAuthenticated = undefined;
      if (!this.#unproven.delete(connection)) return;
      this.#proven++;
      connection.prove();
    };
    this.#arriving.delete(stream as Socket);
    this.#silent.delete(stream);
    this.#connections.set(endpoint, connection);
    this.#unproven.add(connection, endpoint.ip);
  }

  #refuse(socket: Duplex, status: string): void {
    this.refused++;
    socket.on('error', () => socket.destroy());
    socket.once('finish', () => socket.destroy());
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  }

  #drop(reason: TransportDrop): false {
    this.counters.dropped[reason]++;
    return false;
  }
}
