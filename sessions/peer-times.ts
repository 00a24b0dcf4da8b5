// The times and counts of all peers, side by side: one record per peer, two cache lines long.
// Promises: what a packet touches lies in one of the two, what only a handshake touches in the other. A peer that was
// removed goes on with a record of its own: who still holds it does no harm to the next peer.
// Read on: docs/performance.md "After a fork, with 100,000 sessions".

/*
 * As fields of an object each would be a number in a place of its own, of which the object has the address: a packet of one
 * of very many peers then waits for one place in memory after the other, and so does the walk over all peers after a fork.
 */

// What a packet touches.
const LAST_TRAFFIC = 0;
const KEEPALIVE_AT = 1;
const NEW_HANDSHAKE_AT = 2;
const PERSISTENT_AT = 3;
const PERSISTENT_KEEPALIVE_MS = 4;
const TX_BYTES = 5;
const RX_BYTES = 6;
const SCHEDULED_FOR = 7;
// What a handshake touches.
const RETRANSMIT_AT = 8;
const ERASE_AT = 9;
const NEW_HANDSHAKE_JITTER_MS = 10;
const LAST_SENT_HANDSHAKE = 11;
const LAST_CONSUMED_INITIATION = 12;
const COOKIE_RECEIVED_AT = 13;
const LAST_SENT_TIMESTAMP_MS = 14;
const LAST_HANDSHAKE_AT = 15;
const RECORD_WORDS = 16;

/** Records in one piece of memory. A piece is never given back. */
const RECORDS_PER_PIECE = 1024;

const OFF = Number.POSITIVE_INFINITY;
const NEVER = Number.NEGATIVE_INFINITY;

const FRESH = new Float64Array(RECORD_WORDS);
FRESH[LAST_TRAFFIC] = NEVER;
FRESH[KEEPALIVE_AT] = OFF;
FRESH[NEW_HANDSHAKE_AT] = OFF;
FRESH[PERSISTENT_AT] = OFF;
FRESH[SCHEDULED_FOR] = OFF;
FRESH[RETRANSMIT_AT] = OFF;
FRESH[ERASE_AT] = OFF;
FRESH[LAST_SENT_HANDSHAKE] = NEVER;
FRESH[LAST_CONSUMED_INITIATION] = NEVER;
FRESH[COOKIE_RECEIVED_AT] = NEVER;

/** Where one record lies: from `at` on in `piece`. */
interface Place {
  readonly piece: Float64Array;
  readonly at: number;
}

/** The memory of all records of a device. */
export class PeerRecords {
  readonly #free: Place[] = [];

  allocate(): Place {
    const freed = this.#free.pop();
    if (freed) return freed;
    const piece = new Float64Array(RECORDS_PER_PIECE * RECORD_WORDS);
    for (let i = RECORDS_PER_PIECE - 1; i >= 0; i--) this.#free.push({ piece, at: i * RECORD_WORDS });
    return this.allocate();
  }

  free(place: Place): void {
    this.#free.push(place);
  }
}

/** The part of a peer that lies in its record. Deadlines are in monotonic milliseconds; Infinity when off. */
export class PeerTimes {
  #piece: Float64Array;
  #at: number;

  constructor(records: PeerRecords) {
    const { piece, at } = records.allocate();
    piece.set(FRESH, at);
    this.#piece = piece;
    this.#at = at;
  }

  /** Call when the peer is removed: its record is for another then, and it keeps a copy. */
  leave(records: PeerRecords): void {
    const piece = this.#piece;
    const at = this.#at;
    this.#piece = piece.slice(at, at + RECORD_WORDS);
    this.#at = 0;
    records.free({ piece, at });
  }

  /** The earliest deadline; Infinity when every timer is off. */
  nextDeadline(): number {
    return Math.min(
      this.retransmitAt,
      this.keepaliveAt,
      this.newHandshakeAt,
      this.eraseAt,
      this.persistentAt,
    );
  }

  /** Monotonic milliseconds of the last authenticated packet, in or out. */
  get lastTraffic(): number {
    return this.#piece[this.#at + LAST_TRAFFIC];
  }

  set lastTraffic(value: number) {
    this.#piece[this.#at + LAST_TRAFFIC] = value;
  }

  get keepaliveAt(): number {
    return this.#piece[this.#at + KEEPALIVE_AT];
  }

  set keepaliveAt(value: number) {
    this.#piece[this.#at + KEEPALIVE_AT] = value;
  }

  get newHandshakeAt(): number {
    return this.#piece[this.#at + NEW_HANDSHAKE_AT];
  }

  set newHandshakeAt(value: number) {
    this.#piece[this.#at + NEW_HANDSHAKE_AT] = value;
  }

  get persistentAt(): number {
    return this.#piece[this.#at + PERSISTENT_AT];
  }

  set persistentAt(value: number) {
    this.#piece[this.#at + PERSISTENT_AT] = value;
  }

  /** The interval of the persistent keepalive, in milliseconds; 0 when there is none. */
  get persistentKeepaliveMs(): number {
    return this.#piece[this.#at + PERSISTENT_KEEPALIVE_MS];
  }

  set persistentKeepaliveMs(value: number) {
    this.#piece[this.#at + PERSISTENT_KEEPALIVE_MS] = value;
  }

  get txBytes(): number {
    return this.#piece[this.#at + TX_BYTES];
  }

  set txBytes(value: number) {
    this.#piece[this.#at + TX_BYTES] = value;
  }

  get rxBytes(): number {
    return this.#piece[this.#at + RX_BYTES];
  }

  set rxBytes(value: number) {
    this.#piece[this.#at + RX_BYTES] = value;
  }

  /** Where the deadline queue keeps this peer. */
  get scheduledFor(): number {
    return this.#piece[this.#at + SCHEDULED_FOR];
  }

  set scheduledFor(value: number) {
    this.#piece[this.#at + SCHEDULED_FOR] = value;
  }

  get retransmitAt(): number {
    return this.#piece[this.#at + RETRANSMIT_AT];
  }

  set retransmitAt(value: number) {
    this.#piece[this.#at + RETRANSMIT_AT] = value;
  }

  get eraseAt(): number {
    return this.#piece[this.#at + ERASE_AT];
  }

  set eraseAt(value: number) {
    this.#piece[this.#at + ERASE_AT] = value;
  }

  /** Spreads new handshakes of many peers; drawn with each keypair. */
  get newHandshakeJitterMs(): number {
    return this.#piece[this.#at + NEW_HANDSHAKE_JITTER_MS];
  }

  set newHandshakeJitterMs(value: number) {
    this.#piece[this.#at + NEW_HANDSHAKE_JITTER_MS] = value;
  }

  /** Monotonic milliseconds, as the next two. */
  get lastSentHandshake(): number {
    return this.#piece[this.#at + LAST_SENT_HANDSHAKE];
  }

  set lastSentHandshake(value: number) {
    this.#piece[this.#at + LAST_SENT_HANDSHAKE] = value;
  }

  get lastConsumedInitiation(): number {
    return this.#piece[this.#at + LAST_CONSUMED_INITIATION];
  }

  set lastConsumedInitiation(value: number) {
    this.#piece[this.#at + LAST_CONSUMED_INITIATION] = value;
  }

  get cookieReceivedAt(): number {
    return this.#piece[this.#at + COOKIE_RECEIVED_AT];
  }

  set cookieReceivedAt(value: number) {
    this.#piece[this.#at + COOKIE_RECEIVED_AT] = value;
  }

  /** Wall-clock milliseconds of our last TAI64N timestamp: the next is later, whatever the clock says. */
  get lastSentTimestampMs(): number {
    return this.#piece[this.#at + LAST_SENT_TIMESTAMP_MS];
  }

  set lastSentTimestampMs(value: number) {
    this.#piece[this.#at + LAST_SENT_TIMESTAMP_MS] = value;
  }

  /** Wall-clock milliseconds; 0 before the first. */
  get lastHandshakeAt(): number {
    return this.#piece[this.#at + LAST_HANDSHAKE_AT];
  }

  set lastHandshakeAt(value: number) {
    this.#piece[this.#at + LAST_HANDSHAKE_AT] = value;
  }
}
