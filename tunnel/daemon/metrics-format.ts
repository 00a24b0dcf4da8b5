// A device's status and its process, in the text format of Prometheus.
// Promises: whole as the status is; no key but public ones; what there is none of is left out.
// Read on: status.ts (what each means), process-metrics.ts; docs/monitoring.md; prometheus.io/docs/practices/naming.

import { Counter, Gauge, type Metric, Registry } from 'prom-client';
import { eventLoopLag, processMetrics } from './process-metrics.js';
import { RECOVERY_BUCKETS_S, type RecoveryHistogram } from './recovery-times.js';
import { type DeviceStatus, ENROLMENT_STAGES } from './status.js';

/** Of what `formatMetrics` makes. */
export const METRICS_CONTENT_TYPE: string = Registry.PROMETHEUS_CONTENT_TYPE;

const MS_PER_S = 1_000;

/** One status in the text format of Prometheus. */
export async function formatMetrics(status: DeviceStatus): Promise<string> {
  // A registry for each scrape: nothing is carried over, and two scrapes at once cannot mix.
  const registry = new Registry();
  registry.setDefaultLabels({ interface: status.interface });
  const metrics = new Metrics(registry);
  describeDevice(metrics, status);
  describeGateway(metrics, status);
  describeRecovery(metrics, status);
  describePeers(metrics, status);
  describeProcess(metrics, await eventLoopLag());
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

  /** Times that were counted elsewhere, in seconds, for each value of one label. */
  histogram(
    name: string,
    help: string,
    label: string,
    of: Readonly<Record<string, RecoveryHistogram>>,
  ): void {
    const named = this.#named(name, help);
    const values = Object.entries(of).flatMap(([value, histogram]) =>
      histogramValues(named.name, { [label]: value }, histogram),
    );
    const metric = { ...named, type: 'histogram', aggregator: 'sum', values };
    // A Histogram of the library can be filled by single observations alone.
    this.#registry.registerMetric({ name: named.name, get: async () => metric } as unknown as Metric);
  }

  #named(name: string, help: string) {
    const isOurs = !/^(?:process|nodejs)_/.test(name);
    return { name: isOurs ? `wireonce_${name}` : name, help, registers: [this.#registry] };
  }
}

function histogramValues(metricName: string, labels: Labels, { counts, sumMs }: RecoveryHistogram) {
  let count = 0;
  const buckets = counts.map((each, i) => ({
    metricName: `${metricName}_bucket`,
    labels: { le: String(RECOVERY_BUCKETS_S[i] ?? '+Inf'), ...labels },
    value: (count += each),
  }));
  return [
    ...buckets,
    { metricName: `${metricName}_sum`, labels, value: sumMs / MS_PER_S },
    { metricName: `${metricName}_count`, labels, value: count },
  ];
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

function describeRecovery(metrics: Metrics, status: DeviceStatus): void {
  const { lastForkAt, lastDrillAt, recovery, recoveries, openssl, epoch, staleKeypairs } = status;
  const at = (ms: number | null) => (ms === null ? [] : ms / MS_PER_S);
  metrics.gauge('last_fork_timestamp_seconds', 'When the machine was last seen to be forked', at(lastForkAt));
  metrics.gauge('last_drill_timestamp_seconds', 'When a drill was last held', at(lastDrillAt));
  metrics.histogram(
    'recovery_seconds',
    'From a fork, or a drill, to keys of its epoch with a peer that was called for it',
    'after',
    { ...recoveries },
  );
  metrics.gauge(
    'recovery_peers_called',
    'Peers called for the last fork or drill',
    recovery === null ? [] : recovery.called,
  );
  metrics.gauge(
    'recovery_peers_back',
    'Those of them with which there are new keys',
    recovery === null ? [] : recovery.back,
  );
  metrics.gauge(
    'stale_keypairs',
    'Keypairs that would seal in another epoch than this; 0, unless something is wrong',
    staleKeypairs,
  );
  metrics.gauge(
    'openssl_healed',
    "Whether OpenSSL's generator was seeded in this epoch with what siblings lack",
    openssl === null ? [] : Number(openssl.epoch === epoch && openssl.parted),
  );
}

function describeProcess(metrics: Metrics, lagS: number): void {
  for (const { type, name, help, value } of processMetrics()) metrics[type](name, help, value);
  metrics.gauge('nodejs_eventloop_lag_seconds', 'Lag of the event loop of the main thread in seconds', lagS);
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
