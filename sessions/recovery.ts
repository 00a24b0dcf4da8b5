// How far a device has come back from the last fork of its machine, or drill: whom it called for that, and who is back.
// Promises: who was called counts until it is back or removed; what belongs to an epoch counts in no other.
// Read on: fork-response.ts and identity.ts, which call; tunnel/daemon/status.ts, where it is shown.

import { NO_EPOCH } from '../vmgenid/generation.js';
import type { Peer } from './peer.js';

/** Of the last fork or drill. */
export interface RecoveryStats {
  /** The epoch that it began. */
  readonly epoch: number;
  /** Milliseconds since this device saw it. */
  readonly ageMs: number;
  /** Peers that were called for it and are still there. */
  readonly called: number;
  /** Those of them with which there are keys of this epoch, on both sides. */
  readonly back: number;
  /** Milliseconds from seeing it to the last of these; undefined while there is none. */
  readonly lastBackMs: number | undefined;
}

/** Of a peer that was called for the last fork or drill. */
export interface PeerRecovery {
  /** Milliseconds from seeing it to having keys of its epoch on both sides; undefined until then. */
  readonly backAfterMs: number | undefined;
}

export class Recovery {
  #epoch = NO_EPOCH;
  #seenAt = 0;
  #called = 0;
  #back = 0;
  #lastBackMs: number | undefined;

  /** Call when a fork is seen, before anybody is called for it. `now`: monotonic milliseconds. */
  begin(epoch: number, now: number): void {
    this.#epoch = epoch;
    this.#seenAt = now;
    this.#called = 0;
    this.#back = 0;
    this.#lastBackMs = undefined;
  }

  /** Call for each peer that will be called for the fork which began `epoch`. Of another epoch, or twice, it counts nothing. */
  called(peer: Peer, epoch: number): void {
    if (epoch !== this.#epoch || this.#counts(peer) || !peer.endpoint) return;
    peer.calledIn = epoch;
    peer.backAfterMs = undefined;
    this.#called++;
  }

  /**
   * Call when keys of `epoch` are confirmed: the response was consumed, or the first data under them. Returns the milliseconds
   * since the fork was seen, if that brings the peer back from it.
   */
  back(peer: Peer, epoch: number, now: number): number | undefined {
    if (epoch !== this.#epoch || !this.#counts(peer) || peer.backAfterMs !== undefined) return undefined;
    this.#back++;
    this.#lastBackMs = peer.backAfterMs = now - this.#seenAt;
    return this.#lastBackMs;
  }

  /** Call when a peer is removed: nobody waits for it. */
  forget(peer: Peer): void {
    if (!this.#counts(peer)) return;
    this.#called--;
    if (peer.backAfterMs !== undefined) this.#back--;
    peer.calledIn = NO_EPOCH;
  }

  /** Undefined for a peer that was not called. */
  of(peer: Peer): PeerRecovery | undefined {
    return this.#counts(peer) ? { backAfterMs: peer.backAfterMs } : undefined;
  }

  /** Undefined before the first fork or drill. */
  stats(now: number): RecoveryStats | undefined {
    if (this.#epoch === NO_EPOCH) return undefined;
    return {
      epoch: this.#epoch,
      ageMs: now - this.#seenAt,
      called: this.#called,
      back: this.#back,
      lastBackMs: this.#lastBackMs,
    };
  }

  #counts(peer: Peer): boolean {
    return this.#epoch !== NO_EPOCH && peer.calledIn === this.#epoch;
  }
}
