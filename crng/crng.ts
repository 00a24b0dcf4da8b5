// The generator: fast-key-erasure ChaCha20 under a key that dies with its epoch.
// Promises: no byte is handed out unless the generation is still the one it was made under; two clones draw nothing
// in common after their fork; what was handed out cannot be computed from what is left in its memory, as far as its
// keystream leaves nothing behind (keystream.ts).
// Read on: Linux random.c crng_make_state(), crng_reseed(), add_vmfork_randomness(); blog.cr.yp.to 2017-07-23.

import { secretBytes } from '../native/secret-bytes.js';
import type { ForkGuard } from '../vmgenid/driver.js';
import { NO_EPOCH, VM_GEN_ID_BYTES } from '../vmgenid/generation.js';
import type { EntropySource, HardwareEntropy } from './entropy.js';
import { CrngError } from './errors.js';
import {
  FRESHNESS_TIMEOUT_MS,
  type Freshness,
  FreshnessBarrier,
  type FreshnessFact,
  HARDWARE_FACT_BYTES,
  HARDWARE_RETRY_MS,
  type NotFreshPolicy,
} from './freshness.js';
import { KEYSTREAM_TAIL_BYTES, type Keystream, nobleKeystream } from './keystream.js';
import { InputPool, POOL_BYTES } from './pool.js';
import type { Randomness } from './randomness.js';
import { clampX25519 } from './x25519.js';

/** What a generator is made of. */
export interface CrngOptions {
  /** Fresh bytes for every reseed: `kernelEntropy()`. Stays the caller's to close. */
  readonly entropy: EntropySource;
  /** Tells of forks. Read twice for every draw. */
  readonly vmgenid: ForkGuard;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** A hardware generator, if there is one: after a fork its bytes open the barrier. Stays the caller's to close. */
  readonly hardware?: HardwareEntropy | undefined;
  /**
   * The cipher. Default: noble's, which runs everywhere and leaves copies of its keys in the engine's heap; `keystreamOf` of a
   * native suite (`wireonce/protocol`) gives the same bytes, is faster and leaves none.
   */
  readonly keystream?: Keystream | undefined;
  /** How long draws wait for something that parts this clone from its siblings. Default 5,000. */
  readonly freshnessTimeoutMs?: number | undefined;
  /** After that: go on refusing (default), or proceed with bytes that may repeat in a sibling. */
  readonly onNotFresh?: NotFreshPolicy | undefined;
  /** Hears of reseeds, of the barrier and of failures. Must not throw. */
  readonly onEvent?: ((event: CrngEvent) => void) | undefined;
}

/** Why a generator was reseeded: a fork, better evidence of one, its time, or `reseed`. */
export type ReseedReason = 'fork' | 'evidence' | 'timer' | 'request';

/** What `onEvent` hears. */
export type CrngEvent =
  | { readonly type: 'reseeded'; readonly reason: ReseedReason; readonly epoch: number }
  /** The barrier changed. `proceeding` is an alarm: from here on siblings may draw the same bytes. */
  | {
      readonly type: 'freshness';
      readonly freshness: Freshness;
      readonly epoch: number;
      readonly facts: readonly FreshnessFact[];
      readonly waitedMs: number;
    }
  /** A reseed that nobody was waiting for failed; told once. The next draw tries again and throws if it fails too. */
  | { readonly type: 'failed'; readonly error: unknown };

/** One refill: the next key, then what is handed out. */
const BLOCK_BYTES = 1024;
const KEY_BYTES = 32;

/** Larger draws get a key of their own, as in the kernel, and leave the buffered block to the small ones. */
const LARGEST_BUFFERED_DRAW = 256;
/** No cipher counts the bytes of a message by less than 31 bits. */
const LARGEST_DRAW = 2 ** 30;

/** Linux CRNG_RESEED_START_INTERVAL and CRNG_RESEED_INTERVAL. */
const FIRST_RESEED_MS = 1_000;
const RESEED_MS = 60_000;

/** A fork in each of so many draws in a row is no fork: a source is broken. */
const MAX_ATTEMPTS = 16;

/** Told before any other subscriber of its phase. */
const PRIORITY = 1_000;

export class Crng implements Randomness {
  readonly #entropy: EntropySource;
  readonly #guard: ForkGuard;
  readonly #now: () => number;
  readonly #hardware: HardwareEntropy | undefined;
  readonly #keystream: Keystream;
  readonly #onEvent: (event: CrngEvent) => void;
  readonly #barrier: FreshnessBarrier;
  readonly #pool = new InputPool();
  readonly #key = secretBytes(KEY_BYTES);
  /** Of a large draw, while it is made. */
  readonly #longKey = secretBytes(KEY_BYTES);
  readonly #block = secretBytes(BLOCK_BYTES + KEYSTREAM_TAIL_BYTES);
  readonly #view = new DataView(this.#block.buffer);
  readonly #unregister: (() => void)[] = [];
  readonly #evidenceCallbacks = new Set<() => void>();
  readonly #bornAt: number;
  /** The stamp on key and block. NO_EPOCH: the key answers to no epoch, and nothing is drawn from it. */
  #epoch = NO_EPOCH;
  /** Where the unused bytes of the block begin. */
  #at = BLOCK_BYTES;
  /** Tells a draw that the block under it was exchanged by a draw or a reseed inside the generation check. */
  #blockSerial = 0;
  #reseeds = 0;
  #reseedAt = 0;
  #hardwareBytes = 0;
  #hardwareAt = Number.NEGATIVE_INFINITY;
  #reported: Freshness = 'fresh';
  /** The epoch that the fork began of which that was told: a drill is none. */
  #reportedFork: number;
  #failing = false;
  #closed = false;

  /**
   * Seeds at once. Throws `ERR_ENTROPY_...` when that fails. One that is built after a fork was seen stands before the
   * same barrier as one that lived through it.
   */
  constructor(options: CrngOptions) {
    this.#entropy = options.entropy;
    this.#guard = options.vmgenid;
    this.#now = options.now;
    this.#hardware = options.hardware;
    this.#keystream = options.keystream ?? nobleKeystream;
    this.#onEvent = options.onEvent ?? (() => {});
    this.#barrier = new FreshnessBarrier({
      timeoutMs: options.freshnessTimeoutMs ?? FRESHNESS_TIMEOUT_MS,
      policy: options.onNotFresh ?? 'refuse',
      asksKernel: !options.entropy.inProcess,
    });
    this.#bornAt = this.#now();
    const epoch = this.#guard.check();
    if (epoch !== NO_EPOCH) this.#renew(epoch, this.#bornAt);
    this.#reportedFork = this.#barrier.forkEpoch;
    this.#report(this.#bornAt);
    const forked = () => this.#hear();
    this.#unregister.push(
      this.#guard.register('randomness', forked, { name: 'crng', priority: PRIORITY }),
      this.#guard.onEvidence(() => this.#quietly(forked)),
    );
  }

  /** How often the key was replaced by a reseed. */
  get reseeds(): number {
    return this.#reseeds;
  }

  /** The barrier as it was at the last draw or look. */
  get freshness(): Freshness {
    return this.#reported;
  }

  /**
   * Looks for a fork and for new evidence, then answers: may one draw? True as well while the policy `proceed` lets
   * draws go on after the timeout; `freshness` tells the two apart. False when closed or without a generation.
   */
  isFresh(): boolean {
    if (this.#closed) return false;
    const epoch = this.#guard.check();
    if (epoch === NO_EPOCH || this.#closed) return false;
    let open = false;
    this.#quietly(() => {
      open = isOpen(this.#settle(epoch));
    });
    return open && !this.#closed;
  }

  /**
   * Fills `into`. It is not touched before the bytes have passed the generation check.
   *
   * Throws `ERR_CRNG_NOT_FRESH` while the barrier is closed, `ERR_CRNG_NO_GENERATION` when no source can vouch for the
   * generation, `ERR_CRNG_CLOSED` after `close`, `ERR_ENTROPY_...` when a reseed was due and the kernel did not answer,
   * `ERR_CRNG_LENGTH` on more than 1 GiB.
   */
  fill(into: Uint8Array): void {
    const length = into.length;
    if (length > LARGEST_BUFFERED_DRAW) return this.#fillLong(into);
    const at = this.#draw(length);
    const block = this.#block;
    for (let i = 0; i < length; i++) {
      into[i] = block[at + i];
      block[at + i] = 0;
    }
  }

  /** `length` random bytes in a new array. Throws as `fill`, and `ERR_CRNG_LENGTH` on what is no length. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    if (!Number.isInteger(length) || length < 0 || length > LARGEST_DRAW) throw lengthError(length);
    const bytes = secretBytes(length);
    this.fill(bytes);
    return bytes;
  }

  uint32(): number {
    const at = this.#draw(4);
    const value = this.#view.getUint32(at, true);
    this.#view.setUint32(at, 0);
    return value;
  }

  /** A uniform integer in [0, bound), 1 <= bound <= 2^32. Throws as `fill`, and `ERR_CRNG_BOUND` on another bound. */
  below(bound: number): number {
    if (!Number.isInteger(bound) || bound < 1 || bound > 2 ** 32) {
      throw new CrngError('ERR_CRNG_BOUND', `not a bound from 1 to 2^32: ${bound}`);
    }
    // Above the last multiple of the bound the small remainders would come once too often.
    const limit = 2 ** 32 - (2 ** 32 % bound);
    let value = this.uint32();
    while (value >= limit) value = this.uint32();
    return value % bound;
  }

  /** A random UUID (RFC 9562, version 4). Throws as `fill`. */
  uuid(): string {
    const bytes = this.bytes(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
    bytes.fill(0);
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  }

  /** An X25519 private key, 32 bytes, clamped (RFC 7748 section 5). Throws as `fill`. */
  x25519PrivateKey(): Uint8Array<ArrayBuffer> {
    const key = this.bytes(32);
    clampX25519(key);
    return key;
  }

  /**
   * Mixes a generation ID (16 bytes) that the application heard of in its own way, and reseeds. No entropy is credited:
   * an ID is unique, not secret. It counts as evidence after a fork, so give nothing that a sibling may have too.
   * Throws `ERR_CRNG_LENGTH`, `ERR_CRNG_CLOSED` or `ERR_ENTROPY_...`.
   */
  addVmForkRandomness(vmGenId: Uint8Array): void {
    if (this.#closed) throw closedError();
    if (vmGenId.length !== VM_GEN_ID_BYTES) {
      throw new CrngError('ERR_CRNG_LENGTH', `a generation ID has ${VM_GEN_ID_BYTES} bytes`);
    }
    // A fork that came with this ID is answered first: what is learned now must count for the epoch it began.
    const now = this.#now();
    const epoch = this.#guard.check();
    if (epoch !== NO_EPOCH && !this.#closed) this.#settle(epoch);
    if (this.#closed) throw closedError();
    this.#pool.mix(vmGenId);
    this.#gather(now, ['vmGenId']);
    this.#reseeded('request');
    this.#report(now);
    this.#tellEvidence();
  }

  /**
   * Calls back when evidence about a fork has gone into the key after the fork itself was answered: what is drawn from
   * then on is worth more. Returns the function that ends it.
   */
  onEvidence(callback: () => void): () => void {
    this.#evidenceCallbacks.add(callback);
    return () => this.#evidenceCallbacks.delete(callback);
  }

  /** Wipes key, block and pool, and leaves the notifier chain. Every later draw throws `ERR_CRNG_CLOSED`. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#epoch = NO_EPOCH;
    for (const unregister of this.#unregister) unregister();
    this.#key.fill(0);
    this.#discard();
    this.#pool.destroy();
  }

  /**
   * Generate, check, release: returns where `length` bytes lie in the block that were made under the generation that
   * still holds. The caller copies and zeroes them before anything else runs.
   */
  #draw(length: number): number {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const epoch = this.#admit();
      const at = this.#reserve(length);
      const serial = this.#blockSerial;
      const unchanged = this.#guard.check() === epoch;
      // The check may run subscribers, which may draw or reseed themselves: then these bytes are gone.
      if (serial !== this.#blockSerial) continue;
      if (unchanged) return at;
      this.#block.fill(0, at, at + length);
    }
    throw unsettledError();
  }

  #fillLong(into: Uint8Array): void {
    if (into.length > LARGEST_DRAW) throw lengthError(into.length);
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const at = this.#draw(KEY_BYTES);
      const epoch = this.#epoch;
      const key = this.#longKey;
      key.set(this.#block.subarray(at, at + KEY_BYTES));
      this.#block.fill(0, at, at + KEY_BYTES);
      const output = secretBytes(into.length + KEYSTREAM_TAIL_BYTES);
      try {
        this.#keystream(key, output);
        if (this.#guard.check() !== epoch) continue;
        into.set(output.subarray(0, into.length));
        return;
      } finally {
        key.fill(0);
        output.fill(0);
      }
    }
    throw unsettledError();
  }

  /** Everything that must hold before bytes are made. Returns the epoch that they are made in. */
  #admit(): number {
    if (this.#closed) throw closedError();
    const epoch = this.#guard.check();
    if (this.#closed) throw closedError();
    if (epoch === NO_EPOCH) {
      throw new CrngError('ERR_CRNG_NO_GENERATION', 'no source can say whether this machine was forked');
    }
    if (!isOpen(this.#settle(epoch))) {
      throw new CrngError(
        'ERR_CRNG_NOT_FRESH',
        'after a fork nothing yet parts this clone from its siblings',
      );
    }
    return epoch;
  }

  /** Brings key and barrier up to date: a fork, new evidence, or the schedule. */
  #settle(epoch: number): Freshness {
    const now = this.#now();
    if (epoch !== this.#epoch) {
      const first = this.#reseeds === 0;
      this.#renew(epoch, now);
      if (!first) this.#reseeded('fork');
    } else if (this.#barrier.isNews(this.#guard.evidence) || this.#pullHardware(now)) {
      this.#gather(now);
      this.#reseeded('evidence');
      this.#report(now);
      this.#tellEvidence();
    } else if (now >= this.#reseedAt) {
      this.#reseed(now);
      this.#reseeded('timer');
    }
    return this.#report(now);
  }

  /** A fork was seen by somebody, or evidence came. Draws would find out by themselves; this is only sooner. */
  #hear(): void {
    if (!this.#closed) this.#settle(this.#guard.epoch);
  }

  /** Answers a new epoch. If it fails, the key answers to none, and the next draw tries again. */
  #renew(epoch: number, now: number): void {
    this.#epoch = NO_EPOCH;
    this.#discard();
    if (this.#barrier.begin(this.#guard.forkEpoch, now)) {
      this.#hardwareBytes = 0;
      this.#hardwareAt = Number.NEGATIVE_INFINITY;
    }
    this.#gather(now);
    this.#epoch = epoch;
  }

  /** Mixes all evidence there is about the fork, then reseeds. The barrier hears of it when the key has it. */
  #gather(now: number, facts: FreshnessFact[] = []): void {
    const { serial, vmGenId, seed } = this.#guard.evidence;
    if (vmGenId) {
      this.#pool.mix(vmGenId);
      facts.push('vmGenId');
    }
    if (seed) {
      this.#pool.mix(seed);
      facts.push('seed');
    }
    // Asked before the kernel is read: only what it gives after its reseed is its own.
    if (this.#barrier.partedKernel(this.#guard.evidence)) facts.push('kernelReseeded');
    this.#pullHardware(now);
    if (this.#hardwareBytes >= HARDWARE_FACT_BYTES) facts.push('hardware');
    this.#reseed(now);
    this.#barrier.admit(serial, facts);
  }

  /** Mixes what the hardware generator has. True when enough came since the fork and the key lacks it. */
  #pullHardware(now: number): boolean {
    if (!this.#hardware || !this.#barrier.forked || this.#barrier.has('hardware')) return false;
    if (now < this.#hardwareAt) return false;
    this.#hardwareAt = now + HARDWARE_RETRY_MS;
    const bytes = secretBytes(HARDWARE_FACT_BYTES - this.#hardwareBytes);
    const count = this.#hardware.read(bytes);
    this.#pool.mix(bytes.subarray(0, count));
    bytes.fill(0);
    this.#hardwareBytes += count;
    return this.#hardwareBytes >= HARDWARE_FACT_BYTES;
  }

  /** A new key from the pool. The old key and the block made from it are gone when this returns. */
  #reseed(now: number): void {
    const fresh = secretBytes(2 * POOL_BYTES);
    try {
      this.#entropy.read(fresh);
      this.#pool.mix(fresh.subarray(0, POOL_BYTES));
      this.#pool.extract(fresh.subarray(POOL_BYTES), this.#key);
    } finally {
      fresh.fill(0);
    }
    this.#discard();
    this.#failing = false;
    this.#reseeds++;
    this.#reseedAt = now + reseedIntervalMs(now - this.#bornAt);
  }

  /** Takes `length` bytes out of the block; they are nobody else's from here on. */
  #reserve(length: number): number {
    if (this.#at + length > BLOCK_BYTES) this.#refill();
    const at = this.#at;
    this.#at += length;
    return at;
  }

  /** Fast key erasure: the first 32 bytes of the keystream replace the key that made it. */
  #refill(): void {
    if (this.#closed) throw closedError();
    // If the cipher throws, there is no block: zeros are not handed out.
    this.#discard();
    const block = this.#block;
    this.#keystream(this.#key, block);
    this.#key.set(block.subarray(0, KEY_BYTES));
    block.fill(0, 0, KEY_BYTES);
    block.fill(0, BLOCK_BYTES);
    this.#at = KEY_BYTES;
  }

  #discard(): void {
    this.#block.fill(0);
    this.#at = BLOCK_BYTES;
    this.#blockSerial++;
  }

  /** Tells of a change of the barrier, once, and returns how it stands. */
  #report(now: number): Freshness {
    const freshness = this.#barrier.state(now);
    const { facts, forkEpoch } = this.#barrier;
    if (freshness === this.#reported && forkEpoch === this.#reportedFork) return freshness;
    this.#reported = freshness;
    this.#reportedFork = forkEpoch;
    const waitedMs = this.#barrier.waitedMs(now);
    this.#onEvent({ type: 'freshness', freshness, epoch: this.#epoch, facts, waitedMs });
    return freshness;
  }

  #tellEvidence(): void {
    for (const callback of Array.from(this.#evidenceCallbacks)) this.#quietly(callback);
  }

  #reseeded(reason: ReseedReason): void {
    this.#onEvent({ type: 'reseeded', reason, epoch: this.#epoch });
  }

  #quietly(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (this.#failing) return;
      this.#failing = true;
      this.#onEvent({ type: 'failed', error });
    }
  }
}

/**
 * Milliseconds to the next reseed at an age: soon while young, since the first seed may have been a poor one. Linux
 * random.c crng_reseed_interval(), with the age of the generator for the uptime.
 */
export function reseedIntervalMs(ageMs: number): number {
  if (ageMs >= 2 * RESEED_MS) return RESEED_MS;
  return Math.max(FIRST_RESEED_MS, ageMs / 2);
}

function isOpen(freshness: Freshness): boolean {
  return freshness === 'fresh' || freshness === 'proceeding';
}

function closedError(): CrngError {
  return new CrngError('ERR_CRNG_CLOSED', 'the generator is closed');
}

function lengthError(length: number): CrngError {
  return new CrngError('ERR_CRNG_LENGTH', `cannot draw ${length} bytes`);
}

function unsettledError(): CrngError {
  return new CrngError('ERR_CRNG_UNSETTLED', `the generation changed in ${MAX_ATTEMPTS} draws in a row`);
}
