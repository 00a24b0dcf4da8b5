// Everything that gets through, both ways at once, on streams and datagrams whose every byte is checked.
// Twenty seconds; WIREONCE_FULL_LOAD_SECONDS=1800 makes it thirty minutes, and then it says what it saw (CONTRIBUTING.md).
// Read on: support/load.ts (what is sent and what is counted), support/full-load.ts (what is looked at meanwhile).

import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { DropReason } from '../../../sessions/drops.js';
import type { DeviceStatus } from '../../../tunnel/daemon/status.js';
import { sleep, until } from '../support/run.js';
import { type Observations, observe } from './support/full-load.js';
import {
  descriptorsOf,
  growth,
  medians,
  memoryOf,
  MIB,
  sample,
  SLACK_BYTES,
  thirds,
} from './support/levels.js';
import { type Counts, type Flow, flowsTo, type Harm, Load, total } from './support/load.js';
import { closeMachines, folder, INNER, startPair } from './support/machine.js';
import { Relay } from './support/relay.js';

afterEach(closeMachines);

const SECONDS = Number(process.env['WIREONCE_FULL_LOAD_SECONDS'] ?? 20);
/** Of the rate in the second third, that of the last may be so much less: others use the machine too. */
const LEAST_SHARE = 0.5;
/** REKEY_AFTER_TIME is 120 s, REJECT_AFTER_TIME 180 s; `wg` counts whole seconds, and is itself late on a busy machine. */
const REKEY_AGE_S = { least: 115, most: 185 };
/** A fork's own handshake comes within this time. */
const FORK_HANDSHAKE_MS = 30_000;
/**
 * What a fork costs: datagrams under wiped keys, packets that waited for the handshake. And what the system sends into
 * the tunnel for nobody, such as questions for routers.
 */
const EXPECTED_DROPS: readonly DropReason[] = [
  'unknownIndex',
  'staleEpoch',
  'expiredKeypair',
  'stagedOverflow',
  'noRoute',
];
const CONTROL_MS = 3_000;

/** The counters that are not 0, without those of `expected`. */
function unexpected(counters: Readonly<Record<string, number>>, expected: readonly string[] = []) {
  return Object.fromEntries(
    Object.entries(counters).filter(([name, count]) => count !== 0 && !expected.includes(name)),
  );
}

/** Of the handshakes that no fork had called for: how old the session was, in seconds. */
function rekeyAges({ handshakes, forks }: Observations): number[] {
  const called = (handshake: number) =>
    forks.some(({ at }) => handshake >= at && handshake < at + FORK_HANDSHAKE_MS);
  return handshakes
    .map((handshake, i) => ({ handshake, ageS: (handshake - handshakes[i - 1]) / 1_000 }))
    .slice(1)
    .filter(({ handshake }) => !called(handshake))
    .map(({ ageS }) => ageS);
}

function say(
  seen: Observations,
  flows: readonly Counts[],
  memory: readonly number[],
  descriptors: readonly number[],
  statuses: readonly DeviceStatus[],
): void {
  const rate = (read: (interval: Observations['intervals'][number]) => number, unit: number) => {
    const { second, last } = thirds(seen.intervals.map(read));
    return `${(second / unit).toFixed(1)}, ${(last / unit).toFixed(1)}`;
  };
  const inTenths = medians(memory, 10).map(bytes => Math.round(bytes / MIB));
  const mib = thirds(memory);
  const { bytes, records, lost, twice, late, corrupt } = total(flows);
  const [a, b] = statuses;
  console.log(
    [
      `${SECONDS} s at full load, both ways together; two figures are those of the second and the last third`,
      `TCP ${rate(each => each.streamBitsPerSecond, 1e6)} Mbit/s`,
      `UDP ${rate(each => each.datagramBitsPerSecond, 1e6)} Mbit/s, ${rate(each => each.datagramsPerSecond, 1e3)} thousand/s`,
      `checked ${(bytes / 1e9).toFixed(2)} GB in ${records} records: ${twice} twice, ${late} late, ${corrupt} corrupt; ${lost} lost`,
      `forks ${seen.forks.length}, all flows went on within ms: ${seen.forks.map(each => Math.round(each.goneOnAfterMs)).join(' ')}`,
      `rekeys by age in s: ${rekeyAges(seen).map(Math.round).join(' ') || 'none'}; oldest handshake ${Math.round(seen.oldestHandshakeS)} s`,
      `memory ${(mib.second / MIB).toFixed(1)}, ${(mib.last / MIB).toFixed(1)} MiB, in tenths ${inTenths.join(' ')}; descriptors ${Object.values(thirds(descriptors)).join(', ')}`,
      `drops of A ${JSON.stringify(unexpected(a.drops))}, of B ${JSON.stringify(unexpected(b.drops))}; offloads ${a.offloads.join(' ')}; suite ${a.suite}`,
    ].join('\n  '),
  );
}

test(
  `${SECONDS} seconds at full load: every byte as it was sent, nothing twice or late, forks or not; no leak, no drift`,
  async () => {
    const hook = join(folder(), 'hook');
    const pair = await startPair({ a: { flags: ['--hook', hook] } });
    const { a, b } = pair;
    expect(await a.ping(INNER.b4)).toBe(3);
    const loads = [
      await Load.start(a.namespace, b.namespace, flowsTo(INNER.b4, INNER.b6)),
      await Load.start(b.namespace, a.namespace, flowsTo(INNER.a4, INNER.a6)),
    ];

    const seeing = observe(pair, loads, SECONDS, hook);
    const both = (read: (pid: number) => number) => () => read(a.pid) + read(b.pid);
    const [seen, memory, descriptors] = await Promise.all([
      seeing,
      sample(both(memoryOf), seeing),
      sample(both(descriptorsOf), seeing),
    ]);
    const flows = loads.flatMap(load => load.report().flows);
    const statuses = [await a.status(), await b.status()];
    say(seen, flows, memory, descriptors, statuses);

    for (const counts of flows) {
      expect(counts).toMatchObject({ twice: 0, late: 0, corrupt: 0 });
      expect(counts.records).toBeGreaterThan(SECONDS);
    }
    for (const { drops, transportDrops, interfaceDrops, clonedPeers } of statuses) {
      expect(unexpected(drops, EXPECTED_DROPS)).toEqual({});
      expect(unexpected(transportDrops)).toEqual({});
      expect(unexpected(interfaceDrops)).toEqual({});
      expect(clonedPeers).toBe(0);
    }
    expect(seen.forks.length).toBeGreaterThan(0);
    expect(statuses.map(({ forks }) => forks)).toEqual([seen.forks.length, 0]);

    // The engine lets old garbage lie until a thread's heap has some 40 MB, which takes minutes: less than the slack.
    expect(growth(memory)).toBeLessThan(SLACK_BYTES);
    expect(growth(descriptors)).toBeLessThanOrEqual(0);
    const rates = thirds(seen.intervals.map(each => each.streamBitsPerSecond + each.datagramBitsPerSecond));
    expect(rates.last).toBeGreaterThan(rates.second * LEAST_SHARE);
    expect(seen.clockBehindMs).toBe(0);
    expect(seen.oldestHandshakeS).toBeLessThan(REKEY_AGE_S.most);
    const ages = rekeyAges(seen);
    if (SECONDS >= 2 * REKEY_AGE_S.most) expect(ages.length).toBeGreaterThan(0);
    for (const age of ages) expect(age).toBeGreaterThan(REKEY_AGE_S.least);
  },
  SECONDS * 1_000 + 180_000,
);

test('the same load on the wire without a tunnel: every byte as it was sent, nothing twice or late', async () => {
  const { a, b, outer } = await startPair();
  const load = await Load.start(a.namespace, b.namespace, flowsTo(outer.b));
  await sleep(CONTROL_MS);
  for (const counts of load.report().flows) {
    expect(counts).toMatchObject({ twice: 0, late: 0, corrupt: 0 });
    expect(counts.records).toBeGreaterThan(0);
  }
});

test.each<Harm>(['twice', 'late', 'corrupt'])(
  'a sender that sends a record %s is found out by the receiver (control)',
  async harm => {
    const { a, b, outer } = await startPair();
    const flows = flowsTo(outer.b).filter(({ kind }) => kind !== 'datagrams');
    const load = await Load.start(
      a.namespace,
      b.namespace,
      flows,
      flows.map(flow => ({ ...flow, harm })),
    );
    const [stream, segments] = await until('a fault in each', () => {
      const found = load.report().flows;
      return found[0].corrupt > 0 && found[1][harm] > 0 ? found : undefined;
    });
    expect(stream).toMatchObject({ twice: 0, late: 0 });
    expect(segments).toMatchObject({ twice: 0, late: 0, corrupt: 0, [harm]: segments[harm] });
  },
);

test('a network that doubles and reorders datagrams is found out by the receiver (control)', async () => {
  const pair = await startPair();
  const { a, b, outer } = pair;
  const relay = await Relay.between(pair, { duplication: 0.01, reordering: 0.01 });
  const flow: Flow = { kind: 'datagrams', flow: 3, address: outer.b, port: 9_001 };
  // The relay sends to where B's daemon was.
  pair.ports.b = flow.port;
  const load = await Load.start(
    a.namespace,
    b.namespace,
    [flow],
    [{ ...flow, address: outer.a, port: 7_000 }],
  );
  const found = await until('both faults', () => {
    const [counts] = load.report().flows;
    return counts.twice > 0 && counts.late > 0 ? counts : undefined;
  });
  expect(found.corrupt).toBe(0);
  expect(relay.counters.doubled).toBeGreaterThan(0);
  expect(relay.counters.delayed).toBeGreaterThan(0);
});
