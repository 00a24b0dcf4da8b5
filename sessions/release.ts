// Check-then-release: the last gate before a byte may leave. Everything that depends on a secret passes here.
// Promises: a datagram leaves only if the generation, read after it was sealed, is still the one it was sealed in.
// Read on: docs/architecture.md "Why no nonce is used twice".

/*
 *   copy plaintext -> spend counter -> seal -> push ==== check ====> sendDatagram
 *                                                    |
 *       snapshot before the check: every clone reads | snapshot after the check: every clone sends
 *       a new generation and discards                | the same bytes, a duplicate and no reuse
 */

import type { ForkGuard } from '../vmgenid/driver.js';
import type { Peer } from './peer.js';
import type { Clock, Endpoint, Sink } from './ports.js';

export type OutputKind = 'data' | 'keepalive' | 'initiation' | 'response' | 'cookie';

/** A sealed datagram that waits for the check. Entries are reused. */
export interface Output {
  buffer: Uint8Array;
  length: number;
  to: Endpoint | undefined;
  peer: Peer | undefined;
  kind: OutputKind;
  /** The epoch in which every secret in it was born. */
  epoch: number;
  /** Monotonic milliseconds: when it was sealed or, if held back, may leave. What left counts from then on. */
  notBefore: number;
}

export interface ReleaseOptions {
  readonly vmgenid: ForkGuard;
  readonly clock: Clock;
  readonly sink: Sink;
  /** Milliseconds by which each sealed datagram is held and checked again; 0 releases at once. */
  readonly holdBackMs: number;
  readonly onReleased: (output: Output) => void;
  readonly onDiscarded: (output: Output) => void;
}

/** Buffers of this size are kept for reuse; from the first longer datagram on they are twice as long, or more. */
const FIRST_POOLED_BYTES = 2048;
/** A queue that is never quite empty, as while datagrams are held back, is cut when so many in it are finished. */
const COMPACT_AT = 1024;
const EMPTY = new Uint8Array(0);

export class ReleaseGate {
  readonly #options: ReleaseOptions;
  readonly #buffers: Uint8Array[] = [];
  #pooledBytes = FIRST_POOLED_BYTES;
  readonly #spare: Output[] = [];
  readonly #queue: Output[] = [];
  #viewed: Uint8Array = EMPTY;
  #view: Uint8Array = EMPTY;
  #head = 0;
  #corks = 0;
  #flushing = false;

  constructor(options: ReleaseOptions) {
    this.#options = options;
  }

  /** A buffer of at least `length` bytes, for one datagram that is then pushed. */
  buffer(length: number): Uint8Array {
    if (length > this.#pooledBytes) {
      while (length > this.#pooledBytes) this.#pooledBytes *= 2;
      this.#buffers.length = 0;
    }
    return this.#buffers.pop() ?? new Uint8Array(this.#pooledBytes);
  }

  /** Takes a sealed datagram. `now`: when its sealing began. It leaves with the next `flush`, or not at all. */
  push(
    kind: OutputKind,
    buffer: Uint8Array,
    length: number,
    to: Endpoint,
    peer: Peer | undefined,
    epoch: number,
    now: number = this.#options.clock.now(),
  ): void {
    const output = this.#spare.pop() ?? ({} as Output);
    output.buffer = buffer;
    output.length = length;
    output.to = to;
    output.peer = peer;
    output.kind = kind;
    output.epoch = epoch;
    // Whoever holds back reads the clock anew: a time from before the sealing may be one from before a snapshot.
    const { holdBackMs, clock } = this.#options;
    output.notBefore = holdBackMs > 0 ? clock.now() + holdBackMs : now;
    this.#queue.push(output);
  }

  /** While corked, sealed datagrams gather: `uncork` then checks once for all of them. Calls may nest. */
  cork(): void {
    this.#corks++;
  }

  uncork(): void {
    if (this.#corks > 0) this.#corks--;
    this.flush();
  }

  /**
   * Reads the generation once, after everything so far was sealed, and releases or discards all of it. False when
   * something was discarded.
   */
  flush(): boolean {
    if (this.#corks > 0 || this.#flushing) return true;
    const queue = this.#queue;
    let released = true;
    this.#flushing = true;
    try {
      // What is pushed while these are released was sealed after this check, and gets one of its own.
      while (this.#head < queue.length) {
        const end = this.#due();
        if (end === this.#head) break;
        const epoch = this.#check();
        while (this.#head < end) released = this.#finish(queue[this.#head++], epoch) && released;
      }
    } finally {
      this.#flushing = false;
      this.#forgetFinished();
    }
    return released;
  }

  /** When the oldest datagram held back may leave; Infinity when none is. */
  nextDeadline(): number {
    return this.#head < this.#queue.length && this.#corks === 0
      ? this.#queue[this.#head].notBefore
      : Number.POSITIVE_INFINITY;
  }

  // Datagrams of one length tend to follow each other in one buffer.
  #viewOf(buffer: Uint8Array, length: number): Uint8Array {
    if (buffer !== this.#viewed || length !== this.#view.length) {
      this.#viewed = buffer;
      this.#view = buffer.subarray(0, length);
    }
    return this.#view;
  }

  // Popped one by one: an array whose length is set to 0 gives its memory back, and the next push fetches it again.
  #forgetFinished(): void {
    const queue = this.#queue;
    if (this.#head === queue.length) {
      while (queue.length > 0) queue.pop();
      this.#head = 0;
    } else if (this.#head >= COMPACT_AT) {
      queue.splice(0, this.#head);
      this.#head = 0;
    }
  }

  #due(): number {
    const queue = this.#queue;
    if (this.#options.holdBackMs === 0) return queue.length;
    const now = this.#options.clock.now();
    let end = this.#head;
    while (end < queue.length && queue[end].notBefore <= now) end++;
    return end;
  }

  // Held-back datagrams exist for the sake of delayed sources: these are asked too.
  #check(): number {
    const { vmgenid, holdBackMs } = this.#options;
    return holdBackMs > 0 ? vmgenid.poll() : vmgenid.check();
  }

  #finish(output: Output, epoch: number): boolean {
    const { buffer, length, to } = output;
    const released = output.epoch === epoch;
    if (released) {
      this.#options.sink.sendDatagram(this.#viewOf(buffer, length), to as Endpoint);
      this.#options.onReleased(output);
    } else {
      buffer.fill(0, 0, length);
      this.#options.onDiscarded(output);
    }
    if (buffer.length === this.#pooledBytes) this.#buffers.push(buffer);
    output.buffer = EMPTY;
    output.to = undefined;
    output.peer = undefined;
    this.#spare.push(output);
    return released;
  }
}
