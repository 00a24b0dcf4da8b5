// Data messages that wait to be opened together, in the order in which they came.
// Promises: nothing is allocated for a message.
// Read on: receive.ts, which fills, opens and empties it; protocol/suite.ts Opener.

import { type Memory, bytesOf } from '../native/room.js';
import { openerOf } from '../protocol/batches.js';
import type { Keypair } from '../protocol/keypair.js';
import type { Opener, Suite } from '../protocol/suite.js';
import type { Drop } from './drops.js';
import type { IndexEntry } from './peer.js';
import type { Endpoint } from './ports.js';

/** A message, and what has been found out about it since it was gathered. Used again for others. */
export interface GatheredMessage {
  datagram: Uint8Array;
  /** The datagram in its room, if it lies in one. */
  memory: Memory;
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

  constructor(suite: Suite) {
    this.opener = openerOf(suite);
  }

  get size(): number {
    return this.#size;
  }

  /** Whether what is in it must be opened before another message is put in. */
  get isFull(): boolean {
    return this.#size === this.opener.capacity;
  }

  put(memory: Memory, from: Endpoint): void {
    const datagram = bytesOf(memory);
    const message = this.#messages[this.#size];
    if (message) {
      message.datagram = datagram;
      message.memory = memory;
      message.from = from;
    } else {
      const unknown = { entry: undefined, keypair: undefined, refused: undefined, place: 0 };
      this.#messages.push({ datagram, memory, from, ...unknown });
    }
    this.#size++;
  }

  /** The message that was put in as number `i`, from 0. */
  at(i: number): GatheredMessage {
    return this.#messages[i];
  }

  /** Empties it. Until they are used again its places go on holding what was in them. */
  clear(): void {
    this.#size = 0;
  }
}
