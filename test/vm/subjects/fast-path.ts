// Whether wireonce in a guest runs as fast as it can: batches by libipsec-mb, and all that the kernel can be told to do.
// Promises: a proof on a slower path than the one it speaks of fails, and says what is missing.

import type { DeviceStatus } from '../../../tunnel/daemon/status.js';

const OFFLOADS = ['TUN_TSO', 'TUN_USO', 'UDP_SEGMENT', 'UDP_GRO'];

/** Throws an `Error` unless data is sealed by libipsec-mb and all offloads are on. */
export function requireFastPath(name: string, { suite, offloads }: DeviceStatus): void {
  const missing = OFFLOADS.filter(offload => !offloads.includes(offload));
  if (!/^ipsec-mb(\+|$)/.test(suite)) missing.unshift('libipsec-mb');
  if (missing.length === 0) return;
  const has = `suite ${suite}, offloads ${offloads.join(' ') || 'none'}`;
  throw new Error(
    `${name}: the guest is not on the fast path, ${missing.join(', ')} missing (it has: ${has})`,
  );
}
