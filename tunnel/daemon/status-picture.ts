// How all watched interfaces stand at one moment, and what two such moments say: bytes a second.
// Promises: JSON as it is, without secrets; a counter that began anew makes no rate.
// Read on: status.ts; cli/status-feed.ts (who makes them), cli/status-watch.ts and web/status (who shows them).

import type { DeviceStatus } from './status.js';

/** An interface: how it stands, or in words why that is not known. */
export type InterfaceState =
  | { readonly name: string; readonly status: DeviceStatus }
  | { readonly name: string; readonly waiting: string };

export interface StatusPicture {
  /** Monotonic milliseconds. */
  readonly at: number;
  /** Wall-clock milliseconds since 1970. */
  readonly now: number;
  readonly interfaces: readonly InterfaceState[];
}

/** A status, and when it was seen in monotonic milliseconds. */
export interface SeenStatus {
  readonly status: DeviceStatus;
  readonly at: number;
}

/** Bytes a second. */
export interface Rate {
  readonly rx: number;
  readonly tx: number;
}

/** By public key. */
export type Rates = ReadonlyMap<string, Rate>;

/** None where there was no status before, and of a daemon or a peer whose counters began anew. */
export function ratesOf({ status, at }: SeenStatus, before: SeenStatus | undefined): Rates {
  const rates = new Map<string, Rate>();
  if (!before || status.uptimeMs < before.status.uptimeMs) return rates;
  const seconds = Math.max(at - before.at, 1) / 1_000;
  const then = new Map(before.status.peers.map(peer => [peer.publicKey, peer]));
  for (const { publicKey, rxBytes, txBytes } of status.peers) {
    const last = then.get(publicKey);
    if (!last || rxBytes < last.rxBytes || txBytes < last.txBytes) continue;
    rates.set(publicKey, { rx: (rxBytes - last.rxBytes) / seconds, tx: (txBytes - last.txBytes) / seconds });
  }
  return rates;
}
