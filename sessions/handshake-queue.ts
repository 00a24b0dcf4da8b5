// Handshake messages that wait for their turn: data never waits behind them, and whoever has proven himself goes before
// strangers. Promises: bounded; nothing is allocated for a message in a place that has held one of its type; no source
// takes more than half of it, as long as there are others.
// Read on: receive-handshakes.ts, which fills and empties it; Linux drivers/net/wireguard/device.h handshake_queue.

import { INITIATION_BYTES } from '../protocol/constants.js';
import type { Endpoint } from './ports.js';

/** Messages of strangers that wait at most. Linux: MAX_QUEUED_INCOMING_HANDSHAKES. */
export const MAX_QUEUED_STRANGERS = 4_096;
/** Messages that we wait for, of senders who have proven their address, or of peers: there are never many. */
export const MAX_QUEUED_EXPECTED = 256;
/** While the strangers' part is half full, one source has no more of it than this. */
export const MAX_QUEUED_OF_SOURCE = MAX_QUEUED_STRANGERS / 8;

/** Sources are told apart by a hash of their address: some share a place, and its limit. */
const SOURCE_BITS = 10;
/** Bytes of an address that count: all of IPv4, and of IPv6 the network that one customer has. */
const SOURCE_BYTES = 8;

/** A message, copied. Good until it is recycled. */
export interface QueuedHandshake {
  message: Uint8Array;
  from: Endpoint | undefined;
  /** The epoch in which it came. */
  epoch: number;
  /** Whether its sender has proven its address, and was within its rate. */
  isAdmitted: boolean;
}

interface Place extends QueuedHandshake {
  readonly memory: Uint8Array;
  /** Of the memory, by message type. */
  readonly views: (Uint8Array | undefined)[];
  /** Of a stranger: where its source is counted. */
  source: number;
}

export class HandshakeQueue {
  readonly #expected = new Lane(MAX_QUEUED_EXPECTED);
  readonly #strangers = new Lane(MAX_QUEUED_STRANGERS);
  readonly #spare: Place[] = [];
  readonly #ofSource = new Uint16Array(2 ** SOURCE_BITS);
  #isStrangersTurn = false;

  get length(): number {
    return this.#expected.length + this.#strangers.length;
  }

  /** Queues a copy of a message that is one. False when there is no room for it. */
  putStranger(message: Uint8Array, from: Endpoint, epoch: number, isAdmitted: boolean): boolean {
    const lane = this.#strangers;
    if (lane.isFull) return false;
    const source = sourceOf(from.ip);
    const isCrowded = lane.length >= MAX_QUEUED_STRANGERS / 2;
    if (isCrowded && this.#ofSource[source] >= MAX_QUEUED_OF_SOURCE) return false;
    this.#ofSource[source]++;
    lane.push(this.#place(message, from, epoch, isAdmitted, source));
    return true;
  }

  /** As `putStranger`, for a message that we wait for, or whose sender we have reason to prefer. */
  putExpected(message: Uint8Array, from: Endpoint, epoch: number, isAdmitted: boolean): boolean {
    if (this.#expected.isFull) return false;
    this.#expected.push(this.#place(message, from, epoch, isAdmitted, 0));
    return true;
  }

  /** The next: by turns one that is expected and one of a stranger, as long as there are both. To be recycled. */
  take(): QueuedHandshake | undefined {
    const isStranger = this.#expected.length === 0 || (this.#isStrangersTurn && this.#strangers.length > 0);
    const place = (isStranger ? this.#strangers : this.#expected).shift();
    if (!place) return undefined;
    this.#isStrangersTurn = !isStranger;
    if (isStranger) this.#ofSource[place.source]--;
    return place;
  }

  /** Takes back what `take` gave, to be used for another. */
  recycle(taken: QueuedHandshake): void {
    taken.from = undefined;
    this.#spare.push(taken as Place);
  }

  clear(): void {
    for (let taken = this.take(); taken; taken = this.take()) this.recycle(taken);
  }

  #place(message: Uint8Array, from: Endpoint, epoch: number, isAdmitted: boolean, source: number): Place {
    const place = this.#spare.pop() ?? newPlace();
    const [type] = message;
    place.views[type] ??= place.memory.subarray(0, message.length);
    place.message = place.views[type];
    place.message.set(message);
    place.from = from;
    place.epoch = epoch;
    place.isAdmitted = isAdmitted;
    place.source = source;
    return place;
  }
}

/** First in, first out. */
class Lane {
  readonly #places: (Place | undefined)[];
  #head = 0;
  length = 0;

  constructor(capacity: number) {
    this.#places = Array.from<Place | undefined>({ length: capacity }).fill(undefined);
  }

  get isFull(): boolean {
    return this.length === this.#places.length;
  }

  push(place: Place): void {
    this.#places[(this.#head + this.length++) % this.#places.length] = place;
  }

  shift(): Place | undefined {
    if (this.length === 0) return undefined;
    const place = this.#places[this.#head];
    this.#places[this.#head] = undefined;
    this.#head = (this.#head + 1) % this.#places.length;
    this.length--;
    return place;
  }
}

function newPlace(): Place {
  const memory = new Uint8Array(INITIATION_BYTES);
  return { memory, views: [], message: memory, from: undefined, epoch: 0, isAdmitted: false, source: 0 };
}

function sourceOf(ip: Uint8Array): number {
  const length = Math.min(ip.length, SOURCE_BYTES);
  let hash = 0;
  for (let i = 0; i < length; i++) {
    hash = Math.imul(hash ^ ip[i], 0x9e37_79b1);
    hash ^= hash >>> 15;
  }
  return hash >>> (32 - SOURCE_BITS);
}
