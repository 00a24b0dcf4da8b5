// Data messages that wait to be opened together, in the order in which they came.
// Promises: nothing is allocated for a message; who gathers more while these are being handed on has them handed on first.
// Read on: receive.ts, which fills and empties it; protocol/suite.ts Opener.

import { openerOf } from '../protocol/batches.js';
import type { Keypair } from '../protocol/keypair.js';
import type { Opener, Suite } from '../protocol/suite.js';
import type { IndexEntry } from './peer.js';
import type { Endpoint } from './ports.js';

/** A message and what was found out about it. Used again for others. */
export interface GatheredMessage {
  datagram: Uint8Array;
  /** Where the datagram lies; 0 if that is not known. */
  address: number;
  from: Endpoint;
  entry: IndexEntry;
  keypair: Keypair;
  /** In the opener. */
  place: number;
}

export class Gathered {
  readonly opener: Opener;
  readonly #messages: GatheredMessage[] = [];
  #count = 0;
  #next = 0;
  /** Whether they are opened, and being handed on. */
  #isOpened = false;

  constructor(suite: Suite) {
    this.opener = openerOf(suite);
  }

  /** Whether what is in it must be handed on before another message is put in. */
  get isClosed(): boolean {
    return this.#isOpened || this.#count === this.opener.capacity;
  }

  /** Takes the message that the opener was given last. */
  put(
    datagram: Uint8Array,
    address: number,
    from: Endpoint,
    entry: IndexEntry,
    keypair: Keypair,
    place: number,
  ): void {
    const message = this.#messages[this.#count];
    if (message) {
      message.datagram = datagram;
      message.address = address;
      message.from = from;
      message.entry = entry;
      message.keypair = keypair;
      message.place = place;
    } else this.#messages.push({ datagram, address, from, entry, keypair, place });
    this.#count++;
  }

  /** The next message, opened; `undefined` when there is none, and it is empty again. */
  take(): GatheredMessage | undefined {
    if (this.#count > 0 && !this.#isOpened) {
      this.opener.settle();
      this.#isOpened = true;
    }
    if (this.#next < this.#count) return this.#messages[this.#next++];
    this.clear();
    return undefined;
  }

  /** Forgets what is in it. */
  clear(): void {
    this.#count = 0;
    this.#next = 0;
    this.#isOpened = false;
  }
}
