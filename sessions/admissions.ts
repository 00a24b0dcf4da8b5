// Strangers at a gateway's door: whose admission was asked for, who was answered and is not proven yet, who was refused.
// Promises: all of it is bounded, in number and in time. Whoever is proven is none of these, and gives way to none of them.
// Read on: admission.ts, which fills and empties it.

import { BoundedMap } from '../native/bounded-map.js';
import { REKEY_TIMEOUT_MS } from '../protocol/constants.js';
import type { ConsumedInitiation } from '../protocol/handshake.js';
import type { Peer } from './peer.js';
import type { Endpoint } from './ports.js';

/** An answer that is not there after this time comes too late: the initiator sends another initiation. Milliseconds. */
export const ADMISSION_TIMEOUT_MS = REKEY_TIMEOUT_MS;
/** Initiations that are kept until an answer is there. */
export const MAX_AWAITED = 1_024;
/** Who was answered has so long to prove himself: time for two more initiations. Milliseconds. */
export const PROVISIONAL_MS = 2 * REKEY_TIMEOUT_MS;
/** Peers that are answered and not proven: one more, and the oldest of them gives way. */
export const MAX_PROVISIONAL = 2_048;
/** A key that was refused is not asked about again for so long. Milliseconds. */
export const REFUSED_MS = 10_000;
export const MAX_REFUSED = 4_096;
/** What whoever decides is asked in the long run, and at once after a silence. */
export const ASKS_PER_SECOND = 1_024;
export const ASKS_AT_ONCE = 4_096;

/** An initiation that was verified, of a static key that no peer has: until somebody says who that is. */
export interface Stranger {
  readonly id: string;
  readonly publicKey: Uint8Array;
  /** The latest of this sender; replaced when another comes. */
  initiation: ConsumedInitiation;
  /** 32 bytes: what its static key and ours share. */
  readonly staticShared: Uint8Array;
  from: Endpoint;
  /** Bytes that were received of it. */
  bytes: number;
  readonly expiresAt: number;
}

export class Admissions {
  // Each in the order in which they end, as all have the same time.
  readonly #awaited = new Map<string, Stranger>();
  readonly #provisional = new Map<Peer, number>();
  readonly #refused = new BoundedMap<string, number>(MAX_REFUSED);
  #asksLeft = ASKS_AT_ONCE;
  #asksCountedAt = Number.NEGATIVE_INFINITY;
  /** Counted since the start. */
  admitted = 0;
  evicted = 0;
  expired = 0;
  /** Peers that were admitted, and are there now. */
  present = 0;

  get awaited(): number {
    return this.#awaited.size;
  }

  get provisional(): number {
    return this.#provisional.size;
  }

  /** When the next of them ends; Infinity when there is none. */
  nextDeadline(): number {
    const [awaited] = this.#awaited.values();
    const [provisional] = this.#provisional.values();
    return Math.min(awaited?.expiresAt ?? Infinity, provisional ?? Infinity);
  }

  find(id: string): Stranger | undefined {
    return this.#awaited.get(id);
  }

  get isFull(): boolean {
    return this.#awaited.size >= MAX_AWAITED;
  }

  /** Counts a question. False: there were too many. */
  mayAsk(now: number): boolean {
    const elapsed = Math.max(0, now - this.#asksCountedAt);
    this.#asksCountedAt = now;
    this.#asksLeft = Math.min(ASKS_AT_ONCE, this.#asksLeft + (elapsed * ASKS_PER_SECOND) / 1_000);
    if (this.#asksLeft < 1) return false;
    this.#asksLeft--;
    return true;
  }

  /** Whether half of the questions are spent: from then on strangers prove their address first. */
  get isBusy(): boolean {
    return this.#asksLeft < ASKS_AT_ONCE / 2;
  }

  await(awaited: Stranger): void {
    this.#awaited.set(awaited.id, awaited);
  }

  /** It is the caller's now, to go on with or to `end`. False: it is not awaited any more. */
  take(awaited: Stranger): boolean {
    return this.#awaited.get(awaited.id) === awaited && this.#awaited.delete(awaited.id);
  }

  /** The first whose time is over. */
  takeOverdue(now: number): Stranger | undefined {
    const [first] = this.#awaited.values();
    if (!first || first.expiresAt > now) return undefined;
    this.#awaited.delete(first.id);
    return first;
  }

  refuse(id: string, now: number): void {
    this.#refused.set(id, now + REFUSED_MS);
  }

  isRefused(id: string, now: number): boolean {
    if ((this.#refused.get(id) ?? now) > now) return true;
    this.#refused.delete(id);
    return false;
  }

  forgetRefusals(): void {
    this.#refused.clear();
  }

  /** Who was answered. Returns the one that has to give way. */
  provide(peer: Peer, now: number): Peer | undefined {
    const oldest =
      this.#provisional.size >= MAX_PROVISIONAL ? this.#provisional.keys().next().value : undefined;
    this.#provisional.set(peer, now + PROVISIONAL_MS);
    return oldest;
  }

  /** The first provisional peer whose time is over; of all, without a time. */
  nextUnproven(now = Infinity): Peer | undefined {
    const [first] = this.#provisional;
    return first && first[1] <= now ? first[0] : undefined;
  }

  /** It has proven itself. */
  prove(peer: Peer): void {
    this.#provisional.delete(peer);
    this.admitted++;
    this.present++;
  }

  /** A peer is gone, or is an operator's from now on. */
  forget(peer: Peer): void {
    if (!peer.admission) return;
    if (!this.#provisional.delete(peer)) this.present--;
  }

  /** Everybody whose answer is awaited is forgotten, and what was derived for them erased. */
  endAwaited(): void {
    for (const awaited of this.#awaited.values()) endAwaited(awaited);
    this.#awaited.clear();
  }
}

/** Erases what was derived. */
export function endAwaited({
  initiation,
  staticShared,
}: Pick<Stranger, 'initiation' | 'staticShared'>): void {
  initiation.wipe();
  staticShared.fill(0);
}
