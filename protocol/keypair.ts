// A pair of transport keys with everything that belongs to it: indices, counter, replay window, age and epoch.
// Promises: the keys and the sending counter have one home, the caller's slab; a keypair of another epoch is of no use.
// Read on: WireGuard paper 5.4.5; Linux drivers/net/wireguard/noise.h struct noise_keypair.

import { NonceCounter } from './nonce-counter.js';
import { ReceivedTags } from './received-tags.js';
import { ReplayFilter } from './replay-filter.js';
import { KEY_BYTES } from './suite.js';

/** Bytes a keypair takes in a slab: two keys and the 64-bit sending counter, padded to a multiple of 16. */
export const KEYPAIR_BYTES = 80;

/** Twelve days, which is what milliseconds in a small integer are enough for. */
const CREATED_AT_UNIT_MS = 2 ** 30;

/** What a keypair is made of, beside its memory. */
export interface KeypairInput {
  /** Monotonic milliseconds at which the keys were derived. */
  readonly createdAt: number;
  readonly epoch: number;
  readonly localIndex: number;
  readonly remoteIndex: number;
  readonly isInitiator: boolean;
  /** Keep a tag of each message received, to notice a peer that was cloned. Default false. */
  readonly tripwire?: boolean;
}

/** The transport keys of one session, with their counter, replay window, age and epoch. */
export class Keypair {
  readonly sendKey: Uint8Array;
  readonly receiveKey: Uint8Array;
  readonly counter: NonceCounter;
  readonly replay = new ReplayFilter();
  readonly receivedTags: ReceivedTags | undefined;
  readonly localIndex: number;
  readonly isInitiator: boolean;
  /** The one epoch in which this keypair seals. */
  sendEpoch: number;
  /** The one epoch in which it opens: the same, unless a policy lets receiving survive a fork. */
  receiveEpoch: number;
  // What every message asks for, as small integers: any other number lies in a place of its own in memory, and with very
  // many peers each place is one more to wait for.
  readonly #remoteIndex: number;
  readonly #createdAtHigh: number;
  readonly #createdAtLow: number;

  /** Lives in `storage` (80 bytes, at a multiple of 4, zeroed); the caller writes the keys. */
  constructor(storage: Uint8Array, input: KeypairInput) {
    this.sendKey = storage.subarray(0, KEY_BYTES);
    this.receiveKey = storage.subarray(KEY_BYTES, 2 * KEY_BYTES);
    this.counter = new NonceCounter(new Uint32Array(storage.buffer, storage.byteOffset + 2 * KEY_BYTES, 2));
    this.sendEpoch = input.epoch;
    this.receiveEpoch = input.epoch;
    this.localIndex = input.localIndex;
    this.#remoteIndex = input.remoteIndex | 0;
    this.#createdAtHigh = Math.floor(input.createdAt / CREATED_AT_UNIT_MS) | 0;
    this.#createdAtLow = Math.floor(input.createdAt - this.#createdAtHigh * CREATED_AT_UNIT_MS) | 0;
    this.isInitiator = input.isInitiator;
    this.receivedTags = input.tripwire ? new ReceivedTags() : undefined;
  }

  /** The index by which the peer knows it: an unsigned 32-bit integer. */
  get remoteIndex(): number {
    return this.#remoteIndex >>> 0;
  }

  /** Monotonic milliseconds, rounded down to whole ones: so a keypair may end a part of one early, and none late. */
  get createdAt(): number {
    return this.#createdAtHigh * CREATED_AT_UNIT_MS + this.#createdAtLow;
  }
}
