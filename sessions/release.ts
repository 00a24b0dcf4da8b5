// Check-then-release: the last gate before a byte may leave. Everything that depends on a secret passes here.
// Promises: a datagram leaves only if the generation, read after it was sealed, is still the one it was sealed in.
// Read on: docs/architecture.md "Why no nonce is used twice".

/*
 *   copy plaintext -> spend counter -> push -> seal ==== check ====> sendDatagram
 *                                                    |
 *       snapshot before the check: every clone reads | snapshot after the check: every clone sends
 *       a new generation and discards                | the same bytes, a duplicate and no reuse
 */

import type { Sealer } from '../protocol/suite.js';
import type { ForkGuard } from '../vmgenid/driver.js';
import { NO_EPOCH } from '../vmgenid/generation.js';
import type { Peer } from './peer.js';
import type { Clock, Endpoint, OutboxSlot, Sink } from './ports.js';

export type OutputKind = 'data' | 'keepalive' | 'initiation' | 'response' | 'cookie';

/** A datagram in the making, and then on its way through the gate. Used again when it has left. */
export interface Output {
  /** The datagram: as many bytes as were asked for. */
  bytes: Uint8Array;
  /** What `bytes` is a view of; empty if they are those of the slot. */
  readonly memory: Uint8Array;
  /** Of the sink's outbox. */
  slot: OutboxSlot | undefined;
  to: Endpoint | undefined;
  peer: Peer | undefined;
  kind: OutputKind;
  /** The epoch in which every secret in it was born. */
  epoch: number;
  /** Monotonic milliseconds: when it was sealed or, if held back, may leave. What left counts from then on. */
  notBefore: number;
}

export interface ReleaseOptions {
  /** What is pushed may still have to be sealed: settled before each check. */
  readonly sealer: Pick<Sealer, 'settle'>;
  readonly vmgenid: ForkGuard;
  readonly clock: Clock;
  readonly sink: Sink;
  /** Milliseconds by which each sealed datagram is held and checked again; 0 releases at once. */
  readonly holdBackMs: number;
  readonly onReleased: (output: Output) => void;
  readonly onDiscarded: (output: Output) => void;
}

/** Memory of this size is kept for reuse; from the first longer datagram on it is twice as long, or more. */
const FIRST_POOLED_BYTES = 2048;
/** A queue that is never quite empty, as while datagrams are held back, is cut when so many in it are finished. */
const COMPACT_AT = 1024;
const NONE = new Uint8Array(0);

export class ReleaseGate {
  readonly #options: ReleaseOptions;
  #pooledBytes = FIRST_POOLED_BYTES;
  readonly #spare: Output[] = [];
  /** Outputs for slots of the sink's outbox, without any. */
  readonly #spareSlotless: Output[] = [];
  readonly #queue: Output[] = [];
  #head = 0;
  #flushing = false;

  constructor(options: ReleaseOptions) {
    this.#options = options;
  }

  /**
   * Room for one datagram of `length` bytes, which is then pushed, or abandoned. `to`: where it will go, if that is
   * certain; then it may be sealed in memory of the sink's own.
   */
  output(length: number, to?: Endpoint): Output {
    const slot = to && this.#options.sink.outbox?.take(length, to);
    if (slot) {
      const output = this.#spareSlotless.pop() ?? emptyOutput(NONE);
      output.slot = slot;
      output.bytes = slot.bytes;
      return output;
    }
    if (length > this.#pooledBytes) {
      while (length > this.#pooledBytes) this.#pooledBytes *= 2;
      this.#spare.length = 0;
    }
    const output = this.#spare.pop() ?? emptyOutput(new Uint8Array(this.#pooledBytes));
    // Datagrams of one length tend to follow each other: the view of the last one mostly fits.
    if (output.bytes.length !== length) output.bytes = output.memory.subarray(0, length);
    return output;
  }

  /** Takes a datagram that the sealer has. `now`: when its sealing began. It leaves with the next `flush`, or not at all. */
  push(
    output: Output,
    kind: OutputKind,
    to: Endpoint,
    peer: Peer | undefined,
    epoch: number,
    now: number = this.#options.clock.now(),
  ): void {
    output.to = to;
    output.peer = peer;
    output.kind = kind;
    output.epoch = epoch;
    // Whoever holds back reads the clock anew: a time from before the counter was spent may be one from before a snapshot.
    const { holdBackMs, clock } = this.#options;
    output.notBefore = holdBackMs > 0 ? clock.now() + holdBackMs : now;
    this.#queue.push(output);
  }

  /** Takes back an output that is not to be pushed, whatever is in it. */
  abandon(output: Output): void {
    output.bytes.fill(0);
    if (output.slot) this.#options.sink.outbox?.discard(output.slot);
    this.#recycle(output);
  }

  /** Nothing of what was pushed leaves any more. */
  clear(): void {
    while (this.#head < this.#queue.length) this.abandon(this.#queue[this.#head++]);
  }

  /**
   * Reads the generation once, after everything so far was sealed, and releases or discards all of it. False when
   * something was discarded.
   */
  flush(): boolean {
    if (this.#flushing) return true;
    const queue = this.#queue;
    let released = true;
    this.#flushing = true;
    try {
      // What is pushed while these are released, by whoever is handed one, gets a check of its own.
      while (this.#head < queue.length) {
        // Before anything else, so that neither keys nor plaintext wait with what is held back.
        this.#seal();
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
    return this.#head < this.#queue.length ? this.#queue[this.#head].notBefore : Number.POSITIVE_INFINITY;
  }

  // What was not sealed is zeroed, and must not go out even so.
  #seal(): void {
    let isSealed = false;
    try {
      this.#options.sealer.settle();
      isSealed = true;
    } finally {
      if (!isSealed) {
        const end = this.#queue.length;
        while (this.#head < end) this.#finish(this.#queue[this.#head++], NO_EPOCH);
      }
    }
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
    const released = output.epoch === epoch;
    if (released) {
      const { sink } = this.#options;
      const to = output.to as Endpoint;
      if (output.slot) sink.outbox?.send(output.slot, to);
      else sink.sendDatagram(output.bytes, to);
      this.#options.onReleased(output);
      this.#recycle(output);
    } else {
      output.bytes.fill(0);
      this.#options.onDiscarded(output);
      this.abandon(output);
    }
    return released;
  }

  #recycle(output: Output): void {
    output.to = undefined;
    output.peer = undefined;
    if (output.slot) {
      output.slot = undefined;
      output.bytes = NONE;
      this.#spareSlotless.push(output);
    } else if (output.memory.length === this.#pooledBytes) this.#spare.push(output);
  }
}

function emptyOutput(memory: Uint8Array): Output {
  return {
    bytes: memory,
    memory,
    slot: undefined,
    to: undefined,
    peer: undefined,
    kind: 'data',
    epoch: NO_EPOCH,
    notBefore: 0,
  };
}
