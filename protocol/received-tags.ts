// A short tag for each counter that a receiving key has accepted: what tells a replay from a second message.
// Promises: one store per message; exact for every counter that the replay filter still knows; grows with the traffic,
// from nothing to 32 KiB. Holds no secret: tags were on the wire.
// Read on: sessions/tripwire.ts.

import { RING_BITS } from './replay-filter.js';

/** Entries of the first ring: a session that carries a few packets takes 256 bytes. */
const FIRST_ENTRIES = 64;

/**
 * Which counter an entry is for need not be kept. While the ring is longer than the highest counter, entry and counter
 * are the same number. From then on there is an entry for each bit of the replay filter, and it was last written by the
 * one counter that this bit stands for: the next that shares it is a ring ahead, and moves the window past the first.
 * So `of` is right for a counter that `ReplayFilter.accepted` knows; what it says of any other means nothing.
 */
export class ReceivedTags {
  #ring: Uint32Array<ArrayBuffer> | undefined;

  /** Bytes held now: 4 for each counter up to the highest, as a power of two from 256 to 32,768. */
  get bytes(): number {
    return this.#ring?.byteLength ?? 0;
  }

  /** Call with every counter that the replay filter accepts, as two unsigned 32-bit words. */
  remember(high: number, low: number, tag: number): void {
    let ring = this.#ring;
    if (ring === undefined || (ring.length < RING_BITS && (high > 0 || low >= ring.length))) {
      ring = this.#grow(high, low);
    }
    ring[low & (ring.length - 1)] = tag;
  }

  /** The tag under which a counter was accepted that the replay filter still knows. */
  of(low: number): number | undefined {
    const ring = this.#ring;
    return ring?.[low & (ring.length - 1)];
  }

  #grow(high: number, low: number): Uint32Array<ArrayBuffer> {
    const least = high > 0 ? RING_BITS : Math.min(low + 1, RING_BITS);
    let entries = this.#ring?.length ?? FIRST_ENTRIES;
    while (entries < least) entries *= 2;
    const ring = new Uint32Array(entries);
    if (this.#ring) ring.set(this.#ring);
    this.#ring = ring;
    return ring;
  }
}
