// The list of peers: which of them, in which order, and which rows of it are on the screen.
// Promises: an order is total, so that rows do not jump about; of however many peers only those rows are
// drawn that are to be seen, and a few around them.
// Read on: peers.tsx.

import type { Rates } from '../../tunnel/daemon/status-picture.js';
import type { PeerStatus } from '../../tunnel/daemon/status.js';

/** What peers are put in order by. */
export type Column =
  | 'key'
  | 'allowedIps'
  | 'endpoint'
  | 'handshake'
  | 'rateIn'
  | 'rateOut'
  | 'received'
  | 'sent'
  | 'epoch'
  | 'recovery';

export interface Order {
  readonly by: Column;
  readonly descending: boolean;
}

/** Nothing comes last, in whichever direction. */
type Value = number | string | undefined;

const VALUES: Readonly<Record<Column, (peer: PeerStatus, rates: Rates) => Value>> = {
  key: peer => peer.publicKey,
  allowedIps: peer => peer.allowedIps[0],
  endpoint: peer => peer.endpoint ?? undefined,
  handshake: peer => peer.lastHandshakeAt || undefined,
  rateIn: (peer, rates) => rates.get(peer.publicKey)?.rx,
  rateOut: (peer, rates) => rates.get(peer.publicKey)?.tx,
  received: peer => peer.rxBytes,
  sent: peer => peer.txBytes,
  epoch: peer => peer.sessionEpoch ?? undefined,
  recovery: peer => (peer.recovery ? (peer.recovery.backAfterMs ?? Number.POSITIVE_INFINITY) : undefined),
};

const collator = new Intl.Collator('en', { numeric: true });

export function sorted(
  peers: readonly PeerStatus[],
  { by, descending }: Order,
  rates: Rates,
): readonly PeerStatus[] {
  const value = VALUES[by];
  const direction = descending ? -1 : 1;
  return peers
    .map(peer => ({ peer, of: value(peer, rates) }))
    .toSorted((a, b) => compare(a.of, b.of, direction) || (a.peer.publicKey < b.peer.publicKey ? -1 : 1))
    .map(({ peer }) => peer);
}

function compare(a: Value, b: Value, direction: 1 | -1): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  if (typeof a === 'number' && typeof b === 'number') return a === b ? 0 : direction * (a < b ? -1 : 1);
  return direction * collator.compare(String(a), String(b));
}

/**
 * Those of whom every word is somewhere in key, endpoint or allowed IPs. Of a key, upper and lower case are
 * one.
 */
export function matching(peers: readonly PeerStatus[], text: string): readonly PeerStatus[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return peers;
  return peers.filter(({ publicKey, endpoint, allowedIps }) => {
    const whole = [publicKey, endpoint ?? '', ...allowedIps].join(' ').toLowerCase();
    return words.every(word => whole.includes(word));
  });
}

/**
 * The same peers in the order in which they were before, whoever is new last: rows stay under the hand that
 * works there.
 */
export function inOrderOf(
  peers: readonly PeerStatus[],
  before: readonly PeerStatus[],
): readonly PeerStatus[] {
  const left = new Map(peers.map(peer => [peer.publicKey, peer]));
  const kept: PeerStatus[] = [];
  for (const { publicKey } of before) {
    const peer = left.get(publicKey);
    if (peer && left.delete(publicKey)) kept.push(peer);
  }
  return [...kept, ...left.values()];
}

/** Rows from `first` on, up to `end`; pixels above and below. */
export interface RowWindow {
  readonly first: number;
  readonly end: number;
  readonly above: number;
  readonly below: number;
}

/** Rows around those that are to be seen. */
const MORE = 6;

export function windowOf(count: number, rowHeight: number, scrolled: number, height: number): RowWindow {
  const seen = Math.ceil(height / rowHeight) + 2 * MORE;
  const first = Math.min(Math.max(0, Math.floor(scrolled / rowHeight) - MORE), Math.max(0, count - seen));
  const end = Math.min(count, first + seen);
  return { first, end, above: first * rowHeight, below: (count - end) * rowHeight };
}
