// A device's status as Prometheus metrics, served over HTTP on an address of the operator's.
// Promises: each scrape shows one status, whole; no key but public ones; bounded clients, of whom none
// holds up the device nor keeps another out; a page in a browser reads nothing.
// Read on: metrics-format.ts (what is shown).

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { boundConnections } from '../../native/strangers.js';
import { isOwnHost } from '../../vmgenid/own-host.js';
import { TunnelError } from '../errors.js';
import { parseMetricsAddress } from './metrics-address.js';
import { METRICS_CONTENT_TYPE, formatMetrics } from './metrics-format.js';
import type { DeviceStatus } from './status.js';

export interface MetricsOptions {
  /** `9586` (on 127.0.0.1), `192.0.2.1:9586` or `[::1]:9586`; port 0 takes any free one. */
  readonly listen: string;
  /** Names, in lower case, by which scrapers call this machine; by an address and `localhost` they always may. */
  readonly hosts?: readonly string[] | undefined;
  readonly status: () => Promise<DeviceStatus> | DeviceStatus;
  /** Milliseconds in which a client has asked, or has read some of its answer. Default 10000. */
  readonly timeoutMs?: number | undefined;
  /** Hears why a scrape failed. */
  readonly log?: ((message: string) => void) | undefined;
}

/** Each may hold an answer, which has a kilobyte for a peer. */
const MAX_CONNECTIONS = 8;
const TIMEOUT_MS = 10_000;

export class MetricsServer {
  readonly #server: Server;
  readonly #options: MetricsOptions;
  /** Scrapes that come while one is at work share its answer. */
  #rendering: Promise<Buffer> | undefined;

  private constructor(options: MetricsOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => void this.#answer(request, response));
    this.#server.timeout = options.timeoutMs ?? TIMEOUT_MS;
    boundConnections(this.#server, MAX_CONNECTIONS);
  }

  /** Throws `ERR_METRICS_LISTEN` when the address is none, or cannot be had. */
  static async listen(options: MetricsOptions): Promise<MetricsServer> {
    const { host, port } = parseMetricsAddress(options.listen);
    const metrics = new MetricsServer(options);
    const server = metrics.#server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', cause => {
        const message = `cannot serve metrics at ${options.listen}: ${cause.message}`;
        reject(new TunnelError('ERR_METRICS_LISTEN', message, { cause }));
      });
      server.listen({ host, port }, resolve);
    });
    server.removeAllListeners('error');
    server.on('error', error => options.log?.(`metrics: ${error.message}`));
    return metrics;
  }

  /** Where it listens, as `address:port`. */
  get address(): string {
    const at = this.#server.address();
    if (at === null || typeof at === 'string') return '';
    return at.family === 'IPv6' ? `[${at.address}]:${at.port}` : `${at.address}:${at.port}`;
  }

  /** Sends every client away. May be called twice. */
  async close(): Promise<void> {
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // Nothing that a client sends is read; an answer sends it away.
    response.setHeader('Connection', 'close');
    if (!isOwnHost(request.headers.host, this.#options.hosts))
      return end(response, 421, 'Call this server by its address, or set MetricsHost to the name.\n');
    if (request.url?.split('?', 1)[0] !== '/metrics')
      return end(response, 404, 'The metrics are at /metrics.\n');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      return end(response, 405, 'GET /metrics is all there is.\n');
    }
    try {
      const text = await this.#render();
      response.setHeader('Content-Type', METRICS_CONTENT_TYPE);
      end(response, 200, text);
    } catch (error) {
      this.#options.log?.(`metrics: no status: ${(error as Error).message}`);
      end(response, 503, 'The device gives no status now.\n');
    }
  }

  #render(): Promise<Buffer> {
    this.#rendering ??= (async () => {
      try {
        return Buffer.from(await formatMetrics(await this.#options.status()));
      } finally {
        this.#rendering = undefined;
      }
    })();
    return this.#rendering;
  }
}

function end(response: ServerResponse, code: number, text: string | Buffer): void {
  response.statusCode = code;
  response.end(text);
}
