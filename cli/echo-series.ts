// The echo requests of one ping and what came back for them: numbers and times, no I/O.
// Promises: only an answer with our id, a sequence number that we sent and the very payload counts as received.
// Read on: icmp.ts; iputils ping_common.c gather_statistics(), finish().

import type { Randomness } from '../crng/randomness.js';
import { equalBytes } from '../native/bytes.js';
import { DEFAULT_HOP_LIMIT, echoPacket, parseIcmp } from './icmp.js';

export interface EchoSeriesOptions {
  /** 4 or 16 bytes each. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** Bytes of payload. */
  readonly size: number;
  readonly randomness: Randomness;
}

export interface EchoReply {
  readonly type: 'reply';
  readonly sequence: number;
  readonly from: Uint8Array;
  /** Of the ICMP message: 8 and the payload. */
  readonly bytes: number;
  readonly ttl: number;
  readonly timeMs: number;
  readonly duplicate: boolean;
  /** Another address answered than the one that was asked. */
  readonly differentAddress: boolean;
}

export interface EchoError {
  readonly type: 'error';
  readonly sequence: number;
  readonly from: Uint8Array;
  readonly text: string;
}

/** An answer to our request, whose payload is not what we sent. */
export interface EchoMismatch {
  readonly type: 'mismatch';
  readonly sequence: number;
  readonly from: Uint8Array;
  readonly text: string;
}

export type EchoEvent = EchoReply | EchoError | EchoMismatch;

/** Round trips in milliseconds; `mdev` is the standard deviation, as in ping. */
export interface RoundTrips {
  readonly min: number;
  readonly avg: number;
  readonly max: number;
  readonly mdev: number;
}

/** Requests that are remembered; an answer that comes so much later is none. */
const REMEMBERED = 4_096;

interface Sent {
  readonly payload: Uint8Array;
  readonly at: number;
  answered: boolean;
  settled: boolean;
}

export class EchoSeries {
  transmitted = 0;
  received = 0;
  duplicates = 0;
  errors = 0;
  mismatches = 0;
  /** Requests that neither an answer nor an error has settled. */
  pending = 0;
  readonly #options: EchoSeriesOptions;
  readonly #id: number;
  readonly #sent = new Map<number, Sent>();
  #min = Number.POSITIVE_INFINITY;
  #max = 0;
  #sum = 0;
  #squares = 0;

  /** Draws the id. Throws what the generator throws. */
  constructor(options: EchoSeriesOptions) {
    this.#options = options;
    this.#id = options.randomness.below(0x1_0000);
  }

  /** Makes the next request, counted as sent `now` (milliseconds). Throws what the generator throws, counting nothing. */
  next(now: number): { readonly sequence: number; readonly packet: Uint8Array } {
    const { source, destination, size, randomness } = this.#options;
    const payload = new Uint8Array(size);
    randomness.fill(payload);
    const sequence = (this.transmitted + 1) & 0xffff;
    this.#sent.set(sequence, { payload, at: now, answered: false, settled: false });
    this.#sent.delete((sequence - REMEMBERED) & 0xffff);
    this.transmitted++;
    this.pending++;
    const numbers = { id: this.#id, sequence, hopLimit: DEFAULT_HOP_LIMIT };
    return { sequence, packet: echoPacket({ kind: 'request', source, destination, payload, ...numbers }) };
  }

  /** Looks at a packet that came out of the tunnel; `undefined` when it has nothing to do with our requests. */
  receive(packet: Uint8Array, now: number): EchoEvent | undefined {
    const { source, destination } = this.#options;
    const message = parseIcmp(packet);
    if (!message || message.kind === 'request' || message.id !== this.#id) return undefined;
    const { sequence, source: from } = message;
    const sent = this.#sent.get(sequence);
    if (!sent) return undefined;
    if (message.kind === 'error') {
      if (!equalBytes(message.destination, destination)) return undefined;
      this.errors++;
      this.#settle(sent);
      return { type: 'error', sequence, from, text: message.text };
    }
    if (!equalBytes(message.destination, source)) return undefined;
    if (!equalBytes(message.payload, sent.payload)) {
      this.mismatches++;
      return { type: 'mismatch', sequence, from, text: 'wrong data: not what was sent' };
    }
    const timeMs = Math.max(0, now - sent.at);
    const duplicate = sent.answered;
    if (duplicate) this.duplicates++;
    else this.#count(timeMs);
    sent.answered = true;
    this.#settle(sent);
    const differentAddress = !equalBytes(from, destination);
    const bytes = 8 + message.payload.length;
    return {
      type: 'reply',
      sequence,
      from,
      bytes,
      ttl: message.hopLimit,
      timeMs,
      duplicate,
      differentAddress,
    };
  }

  /** 0 to 100; 0 before the first request. */
  get lossPercent(): number {
    return this.transmitted === 0 ? 0 : (100 * (this.transmitted - this.received)) / this.transmitted;
  }

  /** `undefined` before the first answer. */
  get roundTrips(): RoundTrips | undefined {
    if (this.received === 0) return undefined;
    const avg = this.#sum / this.received;
    const variance = Math.max(0, this.#squares / this.received - avg * avg);
    return { min: this.#min, avg, max: this.#max, mdev: Math.sqrt(variance) };
  }

  #count(timeMs: number): void {
    this.received++;
    this.#min = Math.min(this.#min, timeMs);
    this.#max = Math.max(this.#max, timeMs);
    this.#sum += timeMs;
    this.#squares += timeMs * timeMs;
  }

  #settle(sent: Sent): void {
    if (!sent.settled) this.pending--;
    sent.settled = true;
  }
}
