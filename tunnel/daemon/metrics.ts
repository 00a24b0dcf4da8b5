// A device's status as Prometheus metrics, served over HTTP on an address of the operator's.
// Promises: each scrape shows one status, whole; no key but public ones; bounded clients, and none holds up the device; a
// page in a browser reads nothing.
// Read on: status.ts; prometheus.io/docs/practices/naming.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Counter, Gauge, Registry } from 'prom-client';
import { isOwnHost } from '../../vmgenid/own-host.js';
import { TunnelError } from '../errors.js';
import { parseMetricsAddress } from './metrics-address.js';
import { type DeviceStatus, ENROLMENT_STAGES } from './status.js';

export interface MetricsOptions {
  /** `9586` (on 127.0.0.1), `192.0.2.1:9586` or `[::1]:9586`; port 0 takes any free one. */
  readonly listen: string;
  /** Names, in lower case, by which scrapers call this machine; by an address and `localhost` they always may. */
  readonly hosts?: readonly string[] | undefined;
  readonly status: () => Promise<DeviceStatus> | DeviceStatus;
  /** Hears why a scrape failed. */
  readonly log?: ((message: string) => void) | undefined;
}

const MAX_CONNECTIONS = 32;
const REQUEST_TIMEOUT_MS = 10_000;
const MS_PER_S = 1_000;

export class MetricsServer {
  readonly #server: Server;
  readonly #options: MetricsOptions;
  /** Scrapes that come while one is at work share its answer. */
  #rendering: Promise<string> | undefined;

  private constructor(options: MetricsOptions) {
    this.#options = options;
    this.#server = createServer(
      { headersTimeout: REQUEST_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
      (request, response) => void this.#answer(request, response),
    );
    this.#server.maxConnections = MAX_CONNECTIONS;
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
      response.setHeader('Content-Type', Registry.PROMETHEUS_CONTENT_TYPE);
      end(response, 200, text);
    } catch (error) {
      this.#options.log?.(`metrics: no status: ${(error as Error).message}`);
      end(response, 503, 'The device gives no status now.\n');
    }
  }

  #render(): Promise<string> {
    this.#rendering ??= (async () => {
      try {
        return await formatMetrics(await this.#options.status());
      } finally {
        this.#rendering = undefined;
      }
    })();
    return this.#rendering;
  }
}

function end(response: ServerResponse, code: number, text: string): void {
  response.statusCode = code;
  response.end(text);
}

/** One status in the text format of Prometheus. */
export function formatMetrics(status: DeviceStatus): Promise<string> {
  // A registry for each scrape: nothing is carried over, and two scrapes at once cannot mix.
  const registry = new Registry();
  registry.setDefaultLabels({ interface: status.interface });
  const metrics = new Metrics(registry);
  describeDevice(metrics, status);
  describeGateway(metrics, status);
  describePeers(metrics, status);
  return registry.metrics();
}

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

class Metrics {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** What goes up and down. Without samples the metric is left out. */
  gauge(name: string, help: string, samples: readonly Sample[] | number): void {
    const list = listOf(samples);
    if (list.length === 0) return;
    const gauge = new Gauge({ ...this.#named(name, help), labelNames: Object.keys(list[0][0]) });
    for (const [labels, value] of list) gauge.set(labels, value);
  }

  /** What only grows, until the device is made anew. */
  counter(name: string, help: string, samples: readonly Sample[] | number): void {
    const list = listOf(samples);
    if (list.length === 0) return;
    const counter = new Counter({ ...this.#named(name, help), labelNames: Object.keys(list[0][0]) });
    for (const [labels, value] of list) counter.inc(labels, value);
  }

  #named(name: string, help: string) {
    return { name: `wireonce_${name}`, help, registers: [this.#registry] };
  }
}

function listOf(samples: readonly Sample[] | number): readonly Sample[] {
  return typeof samples === 'number' ? [[{}, samples]] : samples;
}

function describeDevice(metrics: Metrics, status: DeviceStatus): void {
  const { version, suite, forkPolicy, protection, sources, lastTripwire, nonceHeadroom } = status;
  metrics.gauge('info', 'What runs', [[{ version, suite, fork_policy: forkPolicy }, 1]]);
  metrics.gauge('uptime_seconds', 'Since the device was made', status.uptimeMs / MS_PER_S);
  metrics.gauge(
    'protection',
    'The class of protection against forks: 1 for the one that holds',
    ['immediate', 'delayed', 'none'].map(name => [{ class: name }, Number(name === protection)]),
  );
  metrics.gauge(
    'source_readable',
    'Whether a source of generations works',
    sources.map(({ name, timing, uniqueness, readable }) => [
      { source: name, timing, uniqueness },
      Number(readable),
    ]),
  );
  metrics.gauge('epoch', 'Grows by one with each fork that is seen, and with each drill', status.epoch);
  metrics.counter('forks_total', 'Forks of the machine responded to', status.forks);
  metrics.counter('drills_total', 'Drills responded to', status.drills);
  metrics.counter(
    'keypairs_wiped_total',
    'Keypairs erased by forks and changes of identity',
    status.wipedKeypairs,
  );
  metrics.counter(
    'discarded_at_release_total',
    'Sealed datagrams that were not sent, as the machine had been forked',
    status.discardedAtRelease,
  );
  metrics.counter('handshakes_total', 'Handshakes completed', status.handshakes.completed);
  metrics.counter('drops_total', 'What was not processed, by reason', byReason(status.drops));
  metrics.counter(
    'transport_drops_total',
    'Datagrams that did not go on between device and network, by reason',
    byReason(status.transportDrops),
  );
  metrics.counter(
    'interface_drops_total',
    'Packets that did not go on between device and interface, by reason',
    byReason(status.interfaceDrops),
  );
  // A bigint beyond 2^53 loses digits here, which nobody reads from a gauge.
  metrics.gauge(
    'nonce_headroom',
    'The fewest messages that a current keypair may still seal',
    nonceHeadroom === null ? [] : Number(nonceHeadroom),
  );
  metrics.counter('peers_cloned_total', 'How often a peer proved that it was cloned', status.clonedPeers);
  metrics.gauge(
    'tripwire_last_timestamp_seconds',
    'When a peer last proved that it was cloned',
    lastTripwire ? [[{ peer: lastTripwire.peer }, lastTripwire.at / MS_PER_S]] : [],
  );
  metrics.gauge(
    'waiting_for_freshness',
    'Peers whose handshake waits for fresh randomness',
    status.waitingForFreshness,
  );
  metrics.gauge(
    'clock_behind_seconds',
    'How far a fork left the clock behind the hardware clock',
    status.clockBehindMs / MS_PER_S,
  );
  metrics.gauge('held', 'Whether the device is silent until a new private key is set', Number(status.held));
  describeEnrolment(metrics, status);
  metrics.gauge('mtu_bytes', 'The largest inner packet', status.mtu);
  metrics.gauge('peers', 'Peers configured', status.peers.length);
}

function describeGateway(metrics: Metrics, { gateway }: DeviceStatus): void {
  if (!gateway) return;
  metrics.gauge('gateway_known_peers', 'Peers in the store', gateway.known ?? []);
  metrics.gauge('gateway_peers', 'Peers that were not configured: admitted, answered, being looked up', [
    [{ state: 'admitted' }, gateway.present],
    [{ state: 'provisional' }, gateway.provisional],
    [{ state: 'awaited' }, gateway.awaited],
  ]);
  metrics.counter('gateway_lookups_total', 'Strangers looked up in the store', gateway.lookups);
  metrics.counter('gateway_admitted_total', 'Peers that proved themselves', gateway.admitted);
  metrics.counter('gateway_unproven_total', 'Answered, and not proven in time', gateway.unproven);
  metrics.counter('gateway_evicted_total', 'Admitted peers put out of memory', gateway.evicted);
  metrics.counter(
    'gateway_expired_total',
    'Peers forgotten, as they were not seen for too long',
    gateway.expired,
  );
  metrics.counter('gateway_refused_total', 'Not admitted, by reason', byReason(gateway.refused));
}

function describeEnrolment(metrics: Metrics, { enrolment }: DeviceStatus): void {
  if (!enrolment) return;
  metrics.gauge(
    'enrolment_stage',
    'How far a clone has come: 1 for the stage that it is in',
    ENROLMENT_STAGES.map(stage => [{ stage }, Number(stage === enrolment.stage)]),
  );
  metrics.gauge(
    'enrolled_timestamp_seconds',
    'Since when a clone has its identity',
    enrolment.since === null ? [] : enrolment.since / MS_PER_S,
  );
}

function describePeers(metrics: Metrics, { peers }: DeviceStatus): void {
  const each = (value: (peer: DeviceStatus['peers'][number]) => number): Sample[] =>
    peers.map(peer => [{ peer: peer.publicKey }, value(peer)]);
  metrics.counter(
    'peer_received_bytes_total',
    'As wg show transfer counts',
    each(peer => peer.rxBytes),
  );
  metrics.counter(
    'peer_sent_bytes_total',
    'As wg show transfer counts',
    each(peer => peer.txBytes),
  );
  metrics.gauge(
    'peer_session',
    'Whether there is a session that may send',
    each(peer => Number(peer.hasSession)),
  );
  metrics.gauge(
    'peer_handshakes_unanswered',
    'Handshakes begun by us since the latest one that was completed',
    each(peer => peer.unanswered),
  );
  metrics.gauge(
    'peer_last_handshake_timestamp_seconds',
    'When the latest handshake was completed; 0 before the first',
    each(peer => peer.lastHandshakeAt / MS_PER_S),
  );
}

function byReason(counts: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(counts).map(([reason, count]) => [{ reason }, count]);
}
