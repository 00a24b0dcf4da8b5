// Peers whose handshake waits: for somebody to vouch for the generation, or for randomness of this clone's own.
// Promises: the wait is told once; what waited goes on where it was.
// Read on: crng/freshness.ts.

import type { Context } from './context.js';
import type { Peer } from './peer.js';
import { Wish } from './wishes.js';

/** Has `retryWaiting` look after this peer. */
export function waitForFreshness(context: Context, peer: Peer): void {
  if (context.held || context.waiting.has(peer) || context.peers.get(peer.id) !== peer) return;
  context.waiting.add(peer);
  context.emit({ type: 'waitingForFreshness', peer: peer.publicKey });
}

/** Call when the generation can be read and the randomness is fresh: what had to wait is wished for again. */
export function retryWaiting({ waiting, wishes }: Context): void {
  for (const peer of waiting) {
    if (peer.waitingInitiation) wishes.add(peer, Wish.respond);
    else wishes.add(peer, peer.staged.length > 0 ? Wish.flush : Wish.handshake);
  }
  waiting.clear();
}
