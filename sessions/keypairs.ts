// The three keypairs of a peer: previous, current, next, and the rule by which they move.
// Promises: never more than two at a time; one that is dropped is zeroed at once; the responder's new pair sends nothing
// before the first authenticated data packet has confirmed it.
// Read on: WireGuard paper 6.3; Linux noise.c add_new_keypair(), wg_noise_received_with_keypair().

import { KEYPAIR_BYTES, Keypair, type KeypairInput } from '../protocol/keypair.js';
import { KEY_BYTES } from '../protocol/suite.js';

/** Bytes that a peer's keypairs take in the slab. */
export const KEYPAIRS_BYTES = 2 * KEYPAIR_BYTES;

export class Keypairs {
  previous: Keypair | undefined;
  current: Keypair | undefined;
  next: Keypair | undefined;
  readonly #storage: Uint8Array;
  readonly #onDropped: (keypair: Keypair) => void;

  /** Lives in `storage` (160 bytes). `onDropped` forgets the index of a keypair that is gone. */
  constructor(storage: Uint8Array, onDropped: (keypair: Keypair) => void) {
    this.#storage = storage;
    this.#onDropped = onDropped;
  }

  /** How many there are. */
  get size(): number {
    return Number(!!this.previous) + Number(!!this.current) + Number(!!this.next);
  }

  /** Whether this is one of them. */
  has(keypair: Keypair): boolean {
    return keypair === this.current || keypair === this.next || keypair === this.previous;
  }

  /** Takes the keys of a finished handshake (64 bytes: send, receive), zeroes them there, and makes room as the paper says. */
  install(keys: Uint8Array, input: KeypairInput): Keypair {
    if (input.isInitiator) {
      // The response has come, so the responder has these keys: they are confirmed.
      this.#drop(this.previous);
      if (this.next) {
        this.#drop(this.current);
        this.previous = this.next;
        this.next = undefined;
      } else {
        this.previous = this.current;
      }
      this.current = undefined;
    } else {
      this.#drop(this.previous);
      this.previous = undefined;
      this.#drop(this.next);
      this.next = undefined;
    }
    const storage = this.#freeStorage();
    storage.set(keys);
    keys.fill(0);
    const keypair = new Keypair(storage, input);
    if (input.isInitiator) this.current = keypair;
    else this.next = keypair;
    return keypair;
  }

  /** Call when data was authenticated under `keypair`. True when that confirmed `next`, which is now `current`. */
  confirm(keypair: Keypair): boolean {
    if (keypair !== this.next) return false;
    this.#drop(this.previous);
    this.previous = this.current;
    this.current = keypair;
    this.next = undefined;
    return true;
  }

  /** Drops all and zeroes their keys. */
  clear(): void {
    const dropped = [this.previous, this.current, this.next].filter(keypair => keypair !== undefined);
    this.forget();
    // All are zeroed before anybody hears of it, who might throw.
    for (const keypair of dropped) erase(keypair);
    for (const keypair of dropped) this.#onDropped(keypair);
  }

  /** Drops all where the slab was erased, and the indices forgotten, as a whole. */
  forget(): void {
    this.previous = undefined;
    this.current = undefined;
    this.next = undefined;
  }

  #drop(keypair: Keypair | undefined): void {
    if (!keypair) return;
    erase(keypair);
    this.#onDropped(keypair);
  }

  // Where the one is not that stays.
  #freeStorage(): Uint8Array {
    const staying = this.previous ?? this.current;
    const isFirstTaken = staying?.sendKey.byteOffset === this.#storage.byteOffset;
    const at = isFirstTaken ? KEYPAIR_BYTES : 0;
    return this.#storage.subarray(at, at + KEYPAIR_BYTES).fill(0);
  }
}

function erase(keypair: Keypair): void {
  keypair.sendKey.fill(0);
  keypair.receiveKey.fill(0);
  keypair.counter.retire();
}

/** Bytes of the two keys that `install` takes. */
export const TRANSPORT_KEYS_BYTES = 2 * KEY_BYTES;
