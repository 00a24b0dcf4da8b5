// The handshakes of a peer that are in flight, one in each role: how they end.
// Promises: what ends is erased at once, and its index is free.

import type { IndexTable } from './index-table.js';
import type { IndexEntry, Peer } from './peer.js';

interface Indices {
  readonly indices: IndexTable<IndexEntry>;
}

/** Ends the handshakes of a peer, in both roles. */
export function endHandshakes(context: Indices, peer: Peer): void {
  endSentInitiation(context, peer);
  endWaitingInitiation(peer);
}

/** Ends the handshake that we started, if one is in flight. */
export function endSentInitiation({ indices }: Indices, peer: Peer): void {
  const { inFlight } = peer;
  if (!inFlight) return;
  peer.inFlight = undefined;
  inFlight.state.wipe();
  indices.remove(inFlight.index);
}

/** Ends the one that the peer started, if it waits for our answer. */
export function endWaitingInitiation(peer: Peer): void {
  peer.waitingInitiation?.state.wipe();
  peer.waitingInitiation = undefined;
}
