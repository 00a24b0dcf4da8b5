// What a turn has found to be due, and has not done yet: per peer, in the order in which it was first wished for.
// Promises: a wish is data, and calls nobody; what was wished for twice is done once; what nobody waits for comes last, but for
// a share of the turns: it comes, whatever else is wished for meanwhile.
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

/** Of so many that are taken one is of those for whom nobody waits. */
const LATER_EVERY = 8;

export class Wishes {
  /** In the order in which they were added. */
  readonly #peers = new Set<Peer>();
  /** As `#peers`, of those for whom nothing else is wished for. After a fork there may be very many. */
  readonly #later = new Set<Peer>();
  /** Taken before those of `#later` since one of them was. */
  #before = 0;

  get isEmpty(): boolean {
    return this.#peers.size === 0 && this.#later.size === 0;
  }

  add(peer: Peer, wish: number): void {
    peer.wishes |= wish;
    this.#peers.add(peer);
    this.#later.delete(peer);
  }

  /** For what no packet waits for: after what is or will be added, but for one in eight. */
  addLater(peer: Peer, wish: number): void {
    peer.wishes |= wish;
    if (!this.#peers.has(peer)) this.#later.add(peer);
  }

  /** The peer that has waited longest, its wishes as they are: whoever takes it clears them. */
  take(): Peer | undefined {
    const isTurnOfLater = this.#later.size > 0 && (this.#peers.size === 0 || ++this.#before >= LATER_EVERY);
    const peers = isTurnOfLater ? this.#later : this.#peers;
    if (isTurnOfLater) this.#before = 0;
    for (const peer of peers) {
      peers.delete(peer);
      return peer;
    }
    return undefined;
  }

  /** Takes back what is wished for a peer. */
  forget(peer: Peer): void {
    peer.wishes = 0;
    this.#peers.delete(peer);
    this.#later.delete(peer);
  }

  clear(): void {
    for (const peers of [this.#peers, this.#later]) {
      for (const peer of peers) peer.wishes = 0;
      peers.clear();
    }
  }
}
