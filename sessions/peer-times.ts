// Times and counts of all peers, side by side in memory.
// Promises: those that belong to sessions end for all peers by two fills. A peer that was removed goes on with a record of
// its own: who still holds it does no harm to the next peer.
// Read on: docs/performance.md "After a fork, with 100,000 sessions".

/*
 * As a field of an object each would be a number in a place of its own, of which the object has the address: a walk over
 * all peers, or a packet of one of very many, then waits for one place in memory after the other. A piece of memory has
 * three areas, and each peer of the piece has some words of each.
 */

/** Records in one piece of memory. A piece is never given back. */
const RECORDS_PER_PIECE = 1024;

/** The timers of a peer: Linux timers.c has the same five. */
export const Timer = {
  /** Something was received, and nothing sent back. */
  keepalive: 0,
  /** Data was sent, and nothing came back. */
  newHandshake: 1,
  /** The initiation was not answered. */
  retransmit: 2,
  /** The session is at its end, with all keys. */
  erase: 3,
  /** A persistent keepalive is due. The one timer that outlives a session. */
  persistent: 4,
} as const;
export type TimerName = (typeof Timer)[keyof typeof Timer];

// What a wipe ends, all at once: the timers but the last, and where the deadline queue keeps the peer.
const SESSION_TIMERS = 4;
const SCHEDULED_FOR = 4;
const ENDED_WORDS = 5;

// What a wipe forgets, all at once: monotonic milliseconds, -Infinity before the first.
const LAST_SENT_HANDSHAKE = 0;
const COOKIE_RECEIVED_AT = 1;
const FORGOTTEN_WORDS = 2;

// What outlives a wipe.
const LAST_TRAFFIC = 0;
const PERSISTENT_AT = 1;
const PERSISTENT_KEEPALIVE_MS = 2;
const TX_BYTES = 3;
const RX_BYTES = 4;
const NEW_HANDSHAKE_JITTER_MS = 5;
const LAST_CONSUMED_INITIATION = 6;
const LAST_HANDSHAKE_AT = 7;
const KEPT_WORDS = 8;

const FORGOTTEN_FROM = RECORDS_PER_PIECE * ENDED_WORDS;
const KEPT_FROM = FORGOTTEN_FROM + RECORDS_PER_PIECE * FORGOTTEN_WORDS;
const PIECE_WORDS = KEPT_FROM + RECORDS_PER_PIECE * KEPT_WORDS;

const OFF = Number.POSITIVE_INFINITY;
const NEVER = Number.NEGATIVE_INFINITY;

/** Where a record lies: from which words of a piece on, in each of its areas. */
interface Place {
  readonly piece: Float64Array;
  readonly ended: number;
  readonly forgotten: number;
  readonly kept: number;
}

/** The memory of all records of a device. */
export class PeerRecords {
  readonly #pieces: Float64Array[] = [];
  readonly #free: Place[] = [];

  allocate(): Place {
    const freed = this.#free.pop();
    if (freed) return freed;
    const piece = new Float64Array(PIECE_WORDS);
    this.#pieces.push(piece);
    for (let i = RECORDS_PER_PIECE - 1; i >= 0; i--) {
      this.#free.push({
        piece,
        ended: i * ENDED_WORDS,
        forgotten: FORGOTTEN_FROM + i * FORGOTTEN_WORDS,
        kept: KEPT_FROM + i * KEPT_WORDS,
      });
    }
    return this.allocate();
  }

  free(place: Place): void {
    this.#free.push(place);
  }

  /** Ends the session timers of all peers, and forgets the times of their handshakes. Empty the deadline queue too. */
  endSessions(): void {
    for (const piece of this.#pieces) {
      piece.fill(OFF, 0, FORGOTTEN_FROM);
      piece.fill(NEVER, FORGOTTEN_FROM, KEPT_FROM);
    }
  }
}

/** The part of a peer that lies in its record. */
export class PeerTimes {
  #piece: Float64Array;
  #ended: number;
  #forgotten: number;
  #kept: number;

  constructor(records: PeerRecords) {
    const { piece, ended, forgotten, kept } = records.allocate();
    this.#piece = piece;
    this.#ended = ended;
    this.#forgotten = forgotten;
    this.#kept = kept;
    piece.fill(OFF, ended, ended + ENDED_WORDS);
    piece.fill(NEVER, forgotten, forgotten + FORGOTTEN_WORDS);
    piece.fill(0, kept, kept + KEPT_WORDS);
    this.lastTraffic = NEVER;
    this.setTimer(Timer.persistent, OFF);
    this.lastConsumedInitiation = NEVER;
  }

  /** Call when the peer is removed: its record is for another then, and it keeps a copy. */
  leave(records: PeerRecords): void {
    const left = { piece: this.#piece, ended: this.#ended, forgotten: this.#forgotten, kept: this.#kept };
    this.#piece = new Float64Array(ENDED_WORDS + FORGOTTEN_WORDS + KEPT_WORDS);
    this.#ended = 0;
    this.#forgotten = ENDED_WORDS;
    this.#kept = ENDED_WORDS + FORGOTTEN_WORDS;
    const { piece, ended, forgotten, kept } = left;
    this.#piece.set(piece.subarray(ended, ended + ENDED_WORDS), this.#ended);
    this.#piece.set(piece.subarray(forgotten, forgotten + FORGOTTEN_WORDS), this.#forgotten);
    this.#piece.set(piece.subarray(kept, kept + KEPT_WORDS), this.#kept);
    records.free(left);
  }

  /** When it goes off, in monotonic milliseconds; Infinity when it is off. */
  timer(timer: TimerName): number {
    return this.#piece[this.#placeOf(timer)];
  }

  /** The deadline queue is told by whoever sets it: see timers.ts. */
  setTimer(timer: TimerName, at: number): void {
    this.#piece[this.#placeOf(timer)] = at;
  }

  #placeOf(timer: TimerName): number {
    return timer === Timer.persistent ? this.#kept + PERSISTENT_AT : this.#ended + timer;
  }

  /** The earliest deadline; Infinity when every timer is off. */
  nextDeadline(): number {
    let next = this.timer(Timer.persistent);
    for (let i = 0; i < SESSION_TIMERS; i++) next = Math.min(next, this.#piece[this.#ended + i]);
    return next;
  }

  /** Turns off the timers that belong to a session; a persistent keepalive goes on. */
  stopSessionTimers(): void {
    this.#piece.fill(OFF, this.#ended, this.#ended + SESSION_TIMERS);
  }

  /** Where the deadline queue keeps this peer. */
  get scheduledFor(): number {
    return this.#piece[this.#ended + SCHEDULED_FOR];
  }

  set scheduledFor(value: number) {
    this.#piece[this.#ended + SCHEDULED_FOR] = value;
  }

  get lastSentHandshake(): number {
    return this.#piece[this.#forgotten + LAST_SENT_HANDSHAKE];
  }

  set lastSentHandshake(value: number) {
    this.#piece[this.#forgotten + LAST_SENT_HANDSHAKE] = value;
  }

  get cookieReceivedAt(): number {
    return this.#piece[this.#forgotten + COOKIE_RECEIVED_AT];
  }

  set cookieReceivedAt(value: number) {
    this.#piece[this.#forgotten + COOKIE_RECEIVED_AT] = value;
  }

  /** Monotonic milliseconds of the last authenticated packet, in or out; -Infinity before the first. */
  get lastTraffic(): number {
    return this.#piece[this.#kept + LAST_TRAFFIC];
  }

  set lastTraffic(value: number) {
    this.#piece[this.#kept + LAST_TRAFFIC] = value;
  }

  /** 0 when there is no persistent keepalive. */
  get persistentKeepaliveMs(): number {
    return this.#piece[this.#kept + PERSISTENT_KEEPALIVE_MS];
  }

  set persistentKeepaliveMs(value: number) {
    this.#piece[this.#kept + PERSISTENT_KEEPALIVE_MS] = value;
  }

  get txBytes(): number {
    return this.#piece[this.#kept + TX_BYTES];
  }

  set txBytes(value: number) {
    this.#piece[this.#kept + TX_BYTES] = value;
  }

  get rxBytes(): number {
    return this.#piece[this.#kept + RX_BYTES];
  }

  set rxBytes(value: number) {
    this.#piece[this.#kept + RX_BYTES] = value;
  }

  /** Spreads new handshakes of many peers; drawn with each keypair. */
  get newHandshakeJitterMs(): number {
    return this.#piece[this.#kept + NEW_HANDSHAKE_JITTER_MS];
  }

  set newHandshakeJitterMs(value: number) {
    this.#piece[this.#kept + NEW_HANDSHAKE_JITTER_MS] = value;
  }

  /** Monotonic milliseconds; -Infinity before the first. */
  get lastConsumedInitiation(): number {
    return this.#piece[this.#kept + LAST_CONSUMED_INITIATION];
  }

  set lastConsumedInitiation(value: number) {
    this.#piece[this.#kept + LAST_CONSUMED_INITIATION] = value;
  }

  /** Wall-clock milliseconds; 0 before the first. */
  get lastHandshakeAt(): number {
    return this.#piece[this.#kept + LAST_HANDSHAKE_AT];
  }

  set lastHandshakeAt(value: number) {
    this.#piece[this.#kept + LAST_HANDSHAKE_AT] = value;
  }
}
