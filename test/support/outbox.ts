// An outbox that watches its borrower: slots come back once, and what was not sent comes back as zeros.

import type { Endpoint, Outbox, OutboxSlot } from '../../sessions/ports.js';

export class WatchedOutbox implements Outbox {
  /** What the device holds. */
  readonly out = new Set<OutboxSlot>();
  readonly counts = { sent: 0, discarded: 0, refused: 0 };
  readonly #free: Uint8Array[];
  readonly #onSend: (datagram: Uint8Array, to: Endpoint) => void;

  constructor(count: number, onSend: (datagram: Uint8Array, to: Endpoint) => void, bufferBytes = 2_048) {
    this.#onSend = onSend;
    this.#free = Array.from({ length: count }, () => new Uint8Array(bufferBytes));
  }

  take(length: number): OutboxSlot | undefined {
    const buffer = this.#free.at(-1);
    if (!buffer || buffer.length < length) {
      this.counts.refused++;
      return undefined;
    }
    this.#free.pop();
    const slot = { bytes: buffer.subarray(0, length) };
    this.out.add(slot);
    return slot;
  }

  send(slot: OutboxSlot, to: Endpoint): void {
    this.#comesBack(slot);
    this.counts.sent++;
    this.#onSend(slot.bytes, to);
    slot.bytes.fill(0);
  }

  discard(slot: OutboxSlot): void {
    this.#comesBack(slot);
    this.counts.discarded++;
    if (slot.bytes.some(byte => byte !== 0)) throw new Error('what was sealed and not sent is still there');
  }

  #comesBack(slot: OutboxSlot): void {
    if (!this.out.delete(slot)) throw new Error('a slot came back that was not taken');
    this.#free.push(new Uint8Array(slot.bytes.buffer));
  }
}
