// What seals and opens data messages: the suite's own way of doing many at a time, or one by one where it has none.
// Promises: whoever uses them need not know which; both make the same bytes in the same order.

import { type Memory, bytesOf } from '../native/room.js';
import type { Opener, Sealer, Suite } from './suite.js';

/** Messages that are opened before any of them is looked at: a run of datagrams that the kernel has joined, and more. */
export const BATCH_CAPACITY = 64;

/** A sealer of this suite, for one user. */
export function sealerOf(suite: Suite): Sealer {
  return (
    suite.sealer?.() ?? {
      seal: (key, low, high, buffer, offset, length) =>
        suite.seal(key, low, high, bytesOf(buffer), offset, length),
      settle: () => {},
    }
  );
}

/** An opener of this suite, for one user. */
export function openerOf(suite: Suite): Opener {
  return suite.opener?.() ?? new OneByOneOpener(suite);
}

class OneByOneOpener implements Opener {
  readonly capacity = BATCH_CAPACITY;
  readonly #suite: Suite;
  readonly #opened = new Uint8Array(BATCH_CAPACITY);
  #next = 0;

  constructor(suite: Suite) {
    this.#suite = suite;
  }

  open(key: Uint8Array, low: number, high: number, buffer: Memory, offset: number, length: number): number {
    const place = this.#next++;
    // Whoever throws has opened nothing.
    this.#opened[place] = 0;
    this.#opened[place] = Number(this.#suite.open(key, low, high, bytesOf(buffer), offset, length));
    return place;
  }

  settle(): void {
    this.#next = 0;
  }

  isOpened(place: number): boolean {
    return this.#opened[place] === 1;
  }
}
