// An outbox that watches its borrower: buffers come back once, and what was not sent comes back as zeros.

import type { Endpoint, Outbox } from '../../sessions/ports.js';

export class WatchedOutbox implements Outbox {
  /** What the device holds. */
  readonly out = new Set<Uint8Array>();
  readonly counts = { sent: 0, discarded: 0, refused: 0 };
  readonly #free: Uint8Array[];
  readonly #onSend: (datagram: Uint8Array, to: Endpoint) => void;

  constructor(count: number, onSend: (datagram: Uint8Array, to: Endpoint) => void, bufferBytes = 2_048) {
    this.#onSend = onSend;
    this.#free = Array.from({ length: count }, () => new Uint8Array(bufferBytes));
  }

  take(length: number): Uint8Array | undefined {
    const buffer = this.#free.at(-1);
    if (!buffer || buffer.length < length) {
      this.counts.refused++;
      return undefined;
    }
    this.#free.pop();
    const bytes = buffer.subarray(0, length);
    this.out.add(bytes);
    return bytes;
  }

  send(datagram: Uint8Array, to: Endpoint): void {
    this.#comesBack(datagram);
    this.counts.sent++;
    this.#onSend(datagram, to);
    datagram.fill(0);
  }

  discard(bytes: Uint8Array): void {
    this.#comesBack(bytes);
    this.counts.discarded++;
    if (bytes.some(byte => byte !== 0)) throw new Error('what was sealed and not sent is still there');
  }

  #comesBack(bytes: Uint8Array): void {
    if (!this.out.delete(bytes)) throw new Error('bytes came back that were not taken');
    this.#free.push(new Uint8Array(bytes.buffer));
  }
}
