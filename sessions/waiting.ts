// Peers that are called later: when what ended their sessions has been told, when somebody vouches for the generation again,
// or when there is randomness of this clone's own.
// Promises: a wait for freshness is told once.
// Read on: crng/freshness.ts.

import type { Context } from './context.js';
import type { Peer } from './peer.js';
import { Wish, type Wishes } from './wishes.js';

/** Has `retryWaiting` look after this peer. */
export function waitForFreshness(context: Context, peer: Peer): void {
  if (context.held || context.waiting.has(peer) || context.peers.get(peer.id) !== peer) return;
  context.waiting.add(peer);
  context.emit({ type: 'waitingForFreshness', peer: peer.publicKey });
}

/** Call when the generation can be read and the randomness is fresh: what had to wait is wished for. */
export function retryWaiting({ waiting, wishes }: Context): void {
  for (const peer of waiting) {
    if (peer.waitingInitiation) wishes.add(peer, Wish.respond);
    else call(wishes, peer);
  }
  waiting.clear();
}

/** Wishes for those whose sessions were ended. */
export function recall({ recalled, wishes }: Context): void {
  for (const peer of recalled) call(wishes, peer);
  recalled.clear();
}

function call(wishes: Wishes, peer: Peer): void {
  // A packet that waits goes before a thousand peers that might have something to say.
  if (peer.staged.length > 0) wishes.add(peer, Wish.flush);
  else wishes.addLater(peer, Wish.handshake);
}
