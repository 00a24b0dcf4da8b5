// A device's status in lines for a person, in the manner of `wg show`.
// Promises: what is wrong comes first, then what protects, then the peers, and counters last.
// Read on: tunnel/daemon/status-rows.ts (the words); status.ts.

import type { DeviceStatus } from '../tunnel/daemon/status.js';
import type { Rates } from '../tunnel/daemon/status-picture.js';
import { type Row, detailRows, deviceRows, peerRows } from '../tunnel/daemon/status-rows.js';

/** `now`: wall-clock milliseconds. `rates`: where they are known. */
export function statusLines(status: DeviceStatus, now: number, rates: Rates = new Map()): string[] {
  const lines = [`interface: ${status.interface}`];
  if (status.hints.length > 0) lines.push('  look at:', ...status.hints.map(hint => `    - ${hint}`));
  lines.push(...aligned(deviceRows(status, now)));
  for (const peer of status.peers) {
    lines.push('', `peer: ${peer.publicKey}`, ...aligned(peerRows(peer, status, now, rates)));
  }
  lines.push('', `details of ${status.interface}:`, ...aligned(detailRows(status)));
  return lines;
}

function aligned(rows: readonly Row[]): string[] {
  const width = Math.max(...rows.map(([label]) => label.length)) + 2;
  return rows.map(([label, value]) => `  ${`${label}:`.padEnd(width)}${value}`);
}
