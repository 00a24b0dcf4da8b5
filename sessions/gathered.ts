// Data messages that wait to be opened together, in the order in which they came.
// Promises: nothing is allocated for a message; who gathers more while these are being handed on has them handed on first.
// That may be before the packet of the one in hand, of which listeners hear before it is delivered.
// Read on: receive.ts, which fills, opens and empties it; protocol/suite.ts Opener.

import { openerOf } from '../protocol/batches.js';
import type { Keypair } from '../protocol/keypair.js';
import type { Opener, Suite } from '../protocol/suite.js';
import type { Drop } from './drops.js';
import type { IndexEntry } from './peer.js';
import type { Endpoint } from './ports.js';

/** A message, and what has been found out about it since it was gathered. Used again for others. */
export interface GatheredMessage {
  datagram: Uint8Array;
  /** Where the datagram lies; 0 if that is not known. */
  address: number;
  from: Endpoint;
  /** What its receiver index stands for. */
  entry: IndexEntry | undefined;
  /** What it is opened with. */
  keypair: Keypair | undefined;
  /** Why it was not given to the opener. */
  refused: Drop | undefined;
  /** In the opener, if it was. */
  place: number;
}

export class Gathered {
  readonly opener: Opener;
  readonly #messages: GatheredMessage[] = [];
  #size = 0;
  #next = 0;
  #isOpened = false;

  constructor(suite: Suite) {
    this.opener = openerOf(suite);
  }

  get size(): number {
    return this.#size;
  }

  /** Whether they are opened, and being handed on. */
  get isOpened(): boolean {
    return this.#isOpened;
  }

  /** Whether what is in it must be handed on before another message is put in. */
  get isClosed(): boolean {
    return this.#isOpened || this.#size === this.opener.capacity;
  }

  put(datagram: Uint8Array, address: number, from: Endpoint): void {
    const message = this.#messages[this.#size];
    if (message) {
      message.datagram = datagram;
      message.address = address;
      message.from = from;
    } else {
      const unknown = { entry: undefined, keypair: undefined, refused: undefined, place: 0 };
      this.#messages.push({ datagram, address, from, ...unknown });
    }
    this.#size++;
  }

  /** The message that was put in as number `i`, from 0. */
  at(i: number): GatheredMessage {
    return this.#messages[i];
  }

  /** Does what was given to the opener. From here on they are handed on. */
  open(): void {
    this.opener.settle();
    this.#isOpened = true;
  }

  /**
   * The next of those that are opened. `undefined` when there is none: then it is empty again, or what is in it is still
   * to be opened.
   */
  take(): GatheredMessage | undefined {
    if (!this.#isOpened) return undefined;
    if (this.#next < this.#size) return this.#messages[this.#next++];
    this.clear();
    return undefined;
  }

  /** Empties it. Until they are used again its places go on holding what was in them. */
  clear(): void {
    this.#size = 0;
    this.#next = 0;
    this.#isOpened = false;
  }
}
