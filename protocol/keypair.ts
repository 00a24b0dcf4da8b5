// A pair of transport keys with everything that belongs to it: indices, counter, replay window, age and epoch.
// Promises: the keys and the sending counter have one home, the caller's slab; a keypair of another epoch is of no use.
// Read on: WireGuard paper 5.4.5; Linux drivers/net/wireguard/noise.h struct noise_keypair.

import { NonceCounter } from './nonce-counter.js';
import { ReceivedTags } from './received-tags.js';
import { ReplayFilter } from './replay-filter.js';
import { KEY_BYTES } from './suite.js';

/** Bytes a keypair takes in a slab: two keys and the 64-bit sending counter, padded to a multiple of 16. */
export const KEYPAIR_BYTES = 80;

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

export class Keypair {
  readonly sendKey: Uint8Array;
  readonly receiveKey: Uint8Array;
  readonly counter: NonceCounter;
  readonly replay = new ReplayFilter();
  readonly receivedTags: ReceivedTags | undefined;
  readonly createdAt: number;
  readonly localIndex: number;
  readonly remoteIndex: number;
  readonly isInitiator: boolean;
  /** The one epoch in which this keypair seals. */
  sendEpoch: number;
  /** The one epoch in which it opens: the same, unless a policy lets receiving survive a fork. */
  receiveEpoch: number;

  /** Lives in `storage` (80 bytes, at a multiple of 4, zeroed); the caller writes the keys. */
  constructor(storage: Uint8Array, input: KeypairInput) {
    this.sendKey = storage.subarray(0, KEY_BYTES);
    this.receiveKey = storage.subarray(KEY_BYTES, 2 * KEY_BYTES);
    this.counter = new NonceCounter(new Uint32Array(storage.buffer, storage.byteOffset + 2 * KEY_BYTES, 2));
    this.createdAt = input.createdAt;
    this.sendEpoch = input.epoch;
    this.receiveEpoch = input.epoch;
    this.localIndex = input.localIndex;
    this.remoteIndex = input.remoteIndex;
    this.isInitiator = input.isInitiator;
    this.receivedTags = input.tripwire ? new ReceivedTags() : undefined;
  }
}
