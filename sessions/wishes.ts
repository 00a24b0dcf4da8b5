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
  readonly #peers: Peer[] = [];
  #head = 0;

  get isEmpty(): boolean {
    return this.#head === this.#peers.length;
  }

  add(peer: Peer, wish: number): void {
    if (peer.wishes === 0) this.#peers.push(peer);
    peer.wishes |= wish;
  }

  /** The peer that has waited longest, its wishes as they are: whoever takes it clears them. */
  take(): Peer | undefined {
    while (this.#head < this.#peers.length) {
      const peer = this.#peers[this.#head++];
      if (this.isEmpty) this.#reset();
      // Taken back meanwhile.
      if (peer.wishes !== 0) return peer;
    }
    return undefined;
  }

  /** Takes back what is wished for a peer. */
  forget(peer: Peer): void {
    if (peer.wishes === 0) return;
    peer.wishes = 0;
    this.#peers.splice(this.#peers.indexOf(peer, this.#head), 1);
    if (this.isEmpty) this.#reset();
  }

  clear(): void {
    for (const peer of this.#peers) peer.wishes = 0;
    this.#reset();
  }

  #reset(): void {
    this.#peers.length = 0;
    this.#head = 0;
  }
}
