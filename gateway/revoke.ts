// What is left of a peer that is refused from now on, though the secret that it enrols with is good.

import type { PeerRecord } from './store.js';

/** Its addresses are free for others. `now`: wall-clock milliseconds. */
export function revoked(record: PeerRecord, now: number): PeerRecord {
  return { ...record, allowedIps: [], presharedKey: undefined, revokedAt: record.revokedAt ?? now };
}
