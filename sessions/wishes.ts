// What a turn has found to be due, and has not done yet: per peer, in the order in which it was first wished for.
// Promises: a wish is data, and calls nobody; what was wished for twice is done once.
// Read on: pump.ts, which makes messages of wishes.

import type { Peer } from './peer.js';

export const Wish = {
  /** Answer the initiation that was consumed. */
  respond: 1,
  /** Send what is staged; if nothing is, a keepalive. */
  keepalive: 2,
  /** Send what is staged, or begin the handshake that it waits for. */
  flush: 4,
  /** Begin a handshake, unless one was begun less than REKEY_TIMEOUT ago. */
  handshake: 8,
  /** As `handshake`, one of the attempts that are counted. */
  retry: 16,
} as const;

export class Wishes {
  /** In the order in which they were added. */
  readonly #peers = new Set<Peer>();

  get isEmpty(): boolean {
    return this.#peers.size === 0;
  }

  add(peer: Peer, wish: number): void {
    peer.wishes |= wish;
    this.#peers.add(peer);
  }

  /** The peer that has waited longest, its wishes as they are: whoever takes it clears them. */
  take(): Peer | undefined {
    for (const peer of this.#peers) {
      this.#peers.delete(peer);
      return peer;
    }
    return undefined;
  }

  /** Takes back what is wished for a peer. */
  forget(peer: Peer): void {
    peer.wishes = 0;
    this.#peers.delete(peer);
  }

  clear(): void {
    for (const peer of this.#peers) peer.wishes = 0;
    this.#peers.clear();
  }
}
