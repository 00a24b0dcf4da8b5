// Everything that a daemon can export, by name, with the labels and values that it can have.

import { RecoveryTimes } from '../../tunnel/daemon/recovery-times.js';
import { formatMetrics } from '../../tunnel/daemon/metrics-format.js';
import type { DeviceStatus } from '../../tunnel/daemon/status.js';
import { deviceStatus, keyText, peerStatus } from '../tunnel/daemon/status.js';

/** A status in which there is something of everything. */
export function busyStatus(): DeviceStatus {
  return deviceStatus({
    sources: [{ name: 'acpi', timing: 'immediate', uniqueness: 'unique', readable: true }],
    nonceHeadroom: '7',
    lastTripwire: { peer: keyText(9), at: 1 },
    lastForkAt: 1,
    lastDrillAt: 2,
    recovery: { epoch: 2, ageMs: 1, called: 1, back: 1, lastBackMs: 1 },
    recoveries: { fork: new RecoveryTimes().histogram, drill: new RecoveryTimes().histogram },
    enrolment: {
      method: 'exec',
      stage: 'enrolled',
      addresses: [],
      since: 1,
      parent: null,
      waitsFor: null,
    },
    gateway: {
      known: 1,
      present: 1,
      provisional: 1,
      awaited: 1,
      lookups: 1,
      admitted: 1,
      unproven: 1,
      evicted: 1,
      expired: 1,
      refused: { revoked: 1, notEnrolled: 1, addressTaken: 1, full: 1, storeFailed: 1 },
    },
    peers: [peerStatus()],
  });
}

/** By name of the metric, by label, its values. */
export type Exported = ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<string>>>;

export async function exported(): Promise<Exported> {
  const found = new Map<string, Map<string, Set<string>>>();
  for (const line of (await formatMetrics(busyStatus())).split('\n')) {
    const [, name, labels] = /^(\w+)\{(.*)\} \S+$/.exec(line) ?? [];
    if (name === undefined) continue;
    const of = found.get(name) ?? new Map<string, Set<string>>();
    found.set(name, of);
    for (const [, label, value] of labels.matchAll(/(\w+)="([^"]*)"/g))
      of.set(label, (of.get(label) ?? new Set()).add(value));
  }
  return found;
}
