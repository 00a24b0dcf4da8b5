// The freshness barrier: has this clone got entropy that its siblings lack?
// Promises: open on a machine that was never forked; after a fork closed until a fact parts this clone from the
// others; a timeout follows the stated policy and never opens it in silence.
// Read on: Linux random.c add_vmfork_randomness() ("unique, not secret"); docs/architecture.md "The freshness barrier".

import type { ForkEvidence } from '../vmgenid/evidence.js';
import { FIRST_EPOCH } from '../vmgenid/generation.js';

/**
 * What parts a clone from its siblings. `vmGenId`: a unique generation ID, public but different. `kernelReseeded`: the
 * kernel's own generator was parted, and was read afterwards. `hardware`: bytes of a hardware generator, made after the
 * fork. `seed`: secret bytes from the hypervisor.
 */
export type FreshnessFact = 'vmGenId' | 'kernelReseeded' | 'hardware' | 'seed';

/**
 * `fresh`: drawing is safe. `waiting`: nothing parts this clone from its siblings yet, and nothing is drawn.
 * `refusing`: the same, after the timeout. `proceeding`: the same, but the policy lets draws repeat in the clones.
 */
export type Freshness = 'fresh' | 'waiting' | 'refusing' | 'proceeding';

/** What happens when the timeout has passed without a fact. */
export type NotFreshPolicy = 'refuse' | 'proceed';

/**
 * How long draws wait after a fork for something that parts this clone from its siblings, in milliseconds.
 */
export const FRESHNESS_TIMEOUT_MS = 5_000;

/**
 * How much of a hardware generator must be read before it counts. The kernel keeps one buffer of SMP_CACHE_BYTES
 * (at most 256) in hw_random/core.c and virtio-rng another, filled in advance: a fork copies both, so that the first
 * bytes may repeat in every clone. What follows them is 64 bytes of the device itself.
 */
export const HARDWARE_FACT_BYTES = 2 * 256 + 64;

/** Pause between two looks at a hardware generator that had too little. */
export const HARDWARE_RETRY_MS = 20;

export interface BarrierOptions {
  /** How long drawing waits for a fact before the policy applies. */
  readonly timeoutMs: number;
  readonly policy: NotFreshPolicy;
  /** False where entropy comes from this process: then a reseed of the kernel parts nobody. */
  readonly asksKernel: boolean;
}

export class FreshnessBarrier {
  readonly #options: BarrierOptions;
  readonly #facts = new Set<FreshnessFact>();
  /** The epoch that the last fork began. */
  forkEpoch = FIRST_EPOCH;
  #closedAt = 0;
  #seenSerial = 0;

  constructor(options: BarrierOptions) {
    this.#options = options;
  }

  /**
   * Call when an epoch is answered, with the epoch that the last fork began. Returns whether that is a new one; facts about the
   * older no longer count then.
   */
  begin(forkEpoch: number, now: number): boolean {
    if (forkEpoch === this.forkEpoch) return false;
    this.forkEpoch = forkEpoch;
    this.#closedAt = now;
    this.#seenSerial = 0;
    this.#facts.clear();
    return true;
  }

  get forked(): boolean {
    return this.forkEpoch !== FIRST_EPOCH;
  }

  /** The facts that hold since the last fork. */
  get facts(): FreshnessFact[] {
    return [...this.#facts];
  }

  has(fact: FreshnessFact): boolean {
    return this.#facts.has(fact);
  }

  /** Is there evidence that was not mixed in yet? Cheap enough for every draw. */
  isNews(evidence: ForkEvidence): boolean {
    return this.forked && evidence.serial !== this.#seenSerial;
  }

  /** Does what the kernel gives from now on differ from what it gives the siblings? */
  partedKernel(evidence: ForkEvidence): boolean {
    return this.#options.asksKernel && evidence.kernelReseeded;
  }

  /** Call when facts have gone into the key, not before. `serial` is that of the evidence they were taken from. */
  admit(serial: number, facts: readonly FreshnessFact[]): void {
    this.#seenSerial = serial;
    for (const fact of facts) this.#facts.add(fact);
  }

  state(now: number): Freshness {
    if (!this.forked || this.#facts.size > 0) return 'fresh';
    if (now - this.#closedAt < this.#options.timeoutMs) return 'waiting';
    return this.#options.policy === 'proceed' ? 'proceeding' : 'refusing';
  }

  /** Milliseconds since the fork was answered. */
  waitedMs(now: number): number {
    return now - this.#closedAt;
  }
}
