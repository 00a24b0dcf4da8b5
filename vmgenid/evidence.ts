// What parts this clone from its siblings, as one driver knows it: the state's words, and what is no word, a seed, a doubt.
// Promises: it is about the last fork as last looked at, and about none before; a drill in between is none.
// Read on: machine-state.ts; crng/freshness.ts, which waits for it.

import { NO_EPOCH } from './generation.js';
import type { MachineState } from './machine-state.js';

/** What is known since the last fork that this clone has and its siblings lack. Feeds the freshness barrier. */
export interface ForkEvidence {
  /** Grows with every new piece, so that a reader can tell cheaply that there is one. */
  readonly serial: number;
  /** The new generation ID, 16 bytes: public, but unique. */
  readonly vmGenId: Uint8Array | undefined;
  /** A seed from the hypervisor. Readable during the notification alone; wiped when everybody was told. */
  readonly seed: Uint8Array | undefined;
  /** The kernel reseeded its generator after this fork. */
  readonly kernelReseeded: boolean;
}

/**
 * A log line found waiting when the fork was noticed may be older than the snapshot. It counts as evidence only when
 * the kernel has had this long to see the fork too (measured: 2-207 ms).
 */
export const UNSURE_RESEED_MS = 1_000;

export class Evidence implements ForkEvidence {
  readonly #state: MachineState;
  readonly #now: () => number;
  #seed: Uint8Array | undefined;
  #seedEpoch = NO_EPOCH;
  #seeds = 0;
  #doubtEpoch = NO_EPOCH;
  #doubtSince = 0;

  constructor(state: MachineState, now: () => number) {
    this.#state = state;
    this.#now = now;
  }

  get serial(): number {
    this.#ripen();
    return this.#state.record.serial + this.#seeds;
  }

  get vmGenId(): Uint8Array | undefined {
    return this.#state.record.vmGenId;
  }

  get seed(): Uint8Array | undefined {
    return this.#seedEpoch === this.#state.record.forkEpoch ? this.#seed : undefined;
  }

  get kernelReseeded(): boolean {
    this.#ripen();
    return this.#state.record.kernelReseeded;
  }

  get parts(): boolean {
    this.#ripen();
    return this.#state.record.parts;
  }

  keepSeed(seed: Uint8Array): void {
    this.forgetSeed();
    this.#seed = seed;
    this.#seedEpoch = this.#state.record.forkEpoch;
    this.#seeds++;
  }

  forgetSeed(): void {
    this.#seed?.fill(0);
    this.#seed = undefined;
  }

  /** The kernel has said that it reseeded: in a while that will be about this fork for sure. */
  doubt(): void {
    const { forkEpoch } = this.#state.record;
    if (this.#doubtEpoch === forkEpoch) return;
    this.#doubtEpoch = forkEpoch;
    this.#doubtSince = this.#now();
  }

  // If the state was changed meanwhile this is for whoever asks after the next look.
  #ripen(): void {
    const { record } = this.#state;
    if (this.#doubtEpoch !== record.forkEpoch || record.kernelReseeded) return;
    if (this.#now() - this.#doubtSince < UNSURE_RESEED_MS) return;
    this.#state.change(draft => draft.learn({ kernelReseeded: true }));
  }
}
