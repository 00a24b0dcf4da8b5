// What connections may cost, all of them together, from which nothing has come that a device authenticated.
// Promises: neither what they send nor what they do not read takes more than this, however many there are; each of them
// has a share, so that a newcomer among strangers is heard.
// Read on: connection.ts, which asks.

/** Frames and reads a second of all connections together, and of one at most. Each takes a few microseconds. */
const FRAMES_PER_SECOND = 4_000;
const FRAMES_PER_SECOND_EACH = 1_000;
/** At once: a handshake takes three messages, and what an old session sent meanwhile may come before them. */
const BURST_FRAMES = 256;
/** So much of its burst a newcomer has in any case: the handshake, and the reads that bring it. */
const BURST_FRAMES_SURE = 8;
/** The rest comes out of one bucket, as whoever comes, sends and goes would else have a burst each time. */
const BUCKET_FRAMES = 2_048;
/** Bytes that may wait to be sent to all of them together, with what their frames cost. */
const QUEUE_BYTES = 1024 * 1024;
/** To one of them: a few replies. */
const QUEUE_BYTES_EACH = 8 * 1024;

export class UnprovenConnections {
  readonly #now: () => number;
  #count = 0;
  #queuedBytes = 0;
  #bucketFrames = BUCKET_FRAMES;
  #filledAt: number;

  /** `now`: monotonic milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
    this.#filledAt = now();
  }

  get count(): number {
    return this.#count;
  }

  /** Bytes that wait to be sent to them. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** One more. It has to `leave` when it is proven or gone. */
  join(): Allowance {
    this.#count++;
    let left = false;
    return new Allowance(this.#burst(), {
      now: this.#now,
      framesPerSecond: () => Math.min(FRAMES_PER_SECOND_EACH, FRAMES_PER_SECOND / this.#count),
      queued: bytes => {
        // What still waits on a connection that is gone is Node's to throw away, and tells of it later.
        if (!left) this.#queuedBytes += bytes;
      },
      hasRoom: bytes => this.#queuedBytes + bytes <= QUEUE_BYTES,
      leave: () => {
        if (!left) this.#count--;
        left = true;
      },
    });
  }

  #burst(): number {
    const now = this.#now();
    const more = ((now - this.#filledAt) * FRAMES_PER_SECOND) / 1_000;
    this.#bucketFrames = Math.min(BUCKET_FRAMES, this.#bucketFrames + more);
    this.#filledAt = now;
    const share = Math.min(BURST_FRAMES - BURST_FRAMES_SURE, Math.floor(this.#bucketFrames));
    this.#bucketFrames -= share;
    return BURST_FRAMES_SURE + share;
  }
}

interface Shared {
  now(): number;
  framesPerSecond(): number;
  queued(bytes: number): void;
  hasRoom(bytes: number): boolean;
  leave(): void;
}

/** The share of one connection. */
export class Allowance {
  readonly #shared: Shared;
  #frames: number;
  #filledAt: number;
  #queuedBytes = 0;

  constructor(frames: number, shared: Shared) {
    this.#frames = frames;
    this.#shared = shared;
    this.#filledAt = shared.now();
  }

  /** Call for each frame and each read. False when it is one too many; that counts too. */
  spend(): boolean {
    this.#fill();
    this.#frames = Math.max(this.#frames - 1, -BURST_FRAMES);
    return this.#frames >= 0;
  }

  /** Milliseconds until there is half a burst again: as much as one read brings of proper messages. */
  get waitMs(): number {
    this.#fill();
    const missing = BURST_FRAMES / 2 - this.#frames;
    return missing <= 0 ? 0 : Math.ceil((missing * 1_000) / this.#shared.framesPerSecond());
  }

  /** Whether `bytes` more may wait to be sent. */
  hasRoom(bytes: number): boolean {
    const isFirst = this.#queuedBytes === 0;
    return (isFirst || this.#queuedBytes + bytes <= QUEUE_BYTES_EACH) && this.#shared.hasRoom(bytes);
  }

  /** Call whenever it has changed how many bytes wait. */
  queued(bytes: number): void {
    this.#shared.queued(bytes - this.#queuedBytes);
    this.#queuedBytes = bytes;
  }

  leave(): void {
    this.queued(0);
    this.#shared.leave();
  }

  #fill(): void {
    const now = this.#shared.now();
    const more = ((now - this.#filledAt) * this.#shared.framesPerSecond()) / 1_000;
    this.#frames = Math.min(BURST_FRAMES, this.#frames + more);
    this.#filledAt = now;
  }
}
