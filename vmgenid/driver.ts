// The driver: reads the sources, raises the epoch, runs the chain. What Linux does in vmgenid.c and random.c.
// Promises: the epoch is raised before anybody is told; the first reading tells nobody; an equal reading is
// nothing; where no source can vouch for the generation, `check` answers NO_EPOCH and nothing may leave.
// Read on: Linux drivers/virt/vmgenid.c vmgenid_notify(); random.c add_vmfork_randomness().

import { VmGenIdError } from './errors.js';
import { FIRST_EPOCH, GENERATION_WORDS, NO_EPOCH, generationBytes, sameGeneration } from './generation.js';
import {
  type ForkSubscriber,
  NotifierChain,
  type Phase,
  type SubscriberFailure,
  type SubscriberOptions,
  type VmFork,
} from './notifier.js';
import type { Announcement, GenerationSource, SourceListener, Timing, Uniqueness } from './source.js';

/** How soon a fork is seen: before a byte can leave, a while later, or never. */
export type Protection = 'immediate' | 'delayed' | 'none';

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

/** The driver as the floors above see it. */
export interface ForkGuard {
  /** The epoch as last seen, without a look at any source. */
  readonly epoch: number;
  readonly protection: Protection;
  readonly evidence: ForkEvidence;
  /**
   * Reads every immediate source. Returns the epoch, already raised if the machine was forked (the chain has run
   * then), or `NO_EPOCH` when nothing can vouch for the generation. The check before every release.
   */
  check(): number;
  /** As `check`, and asks the delayed sources too for what they would tell later. Costs system calls. */
  poll(): number;
  register(phase: Phase, subscriber: ForkSubscriber, options?: SubscriberOptions): () => void;
  /** Calls back when evidence about the current fork arrives after its notification. */
  onEvidence(callback: () => void): () => void;
}

export interface SourceStatus {
  readonly name: string;
  readonly timing: Timing;
  readonly uniqueness: Uniqueness;
  readonly readable: boolean;
  readonly reason?: string;
}

export type VmGenIdEvent =
  | { readonly type: 'fork'; readonly fork: VmFork }
  | { readonly type: 'sameFork'; readonly source: string; readonly epoch: number }
  | { readonly type: 'sourceFailed'; readonly source: string; readonly error: Error }
  | { readonly type: 'sourceRecovered'; readonly source: string }
  | ({ readonly type: 'subscriberFailed' } & SubscriberFailure);

export interface VmGenIdOptions {
  /** Hears of forks, of failing sources and of failing subscribers. Must not throw. */
  readonly onEvent?: (event: VmGenIdEvent) => void;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}

/**
 * How long after a fork a delayed source may still report the same one. A second fork within this time that only
 * that source shows would be taken for the first: the price of not wiping twice where there is no immediate source.
 */
export const SAME_FORK_MS = 5_000;

/**
 * A log line found waiting when the fork was noticed may be older than the snapshot. It counts as evidence only when
 * the kernel has had this long to see the fork too (measured: 2-207 ms).
 */
export const UNSURE_RESEED_MS = 1_000;

interface Tracked {
  readonly source: GenerationSource;
  readonly last: Uint32Array<ArrayBuffer>;
  known: boolean;
  failure: Error | undefined;
  /** Until then a change shown by this source is a fork that another has already shown. */
  owesUntil: number;
}

class Evidence implements ForkEvidence {
  serial = 0;
  vmGenId: Uint8Array | undefined;
  seed: Uint8Array | undefined;
  reseeded = false;
  unsureSince = Number.POSITIVE_INFINITY;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  get kernelReseeded(): boolean {
    return this.reseeded || this.#now() - this.unsureSince >= UNSURE_RESEED_MS;
  }

  restart(): void {
    this.serial++;
    this.vmGenId = undefined;
    this.reseeded = false;
    this.unsureSince = Number.POSITIVE_INFINITY;
  }
}

export class VmGenId implements ForkGuard {
  readonly #tracked: Tracked[];
  readonly #immediate: Tracked[];
  readonly #chain: NotifierChain;
  readonly #onEvent: (event: VmGenIdEvent) => void;
  readonly #now: () => number;
  readonly #shared = new Int32Array(new SharedArrayBuffer(4));
  readonly #scratch = new Uint32Array(GENERATION_WORDS);
  readonly #evidence: Evidence;
  readonly #evidenceCallbacks = new Set<() => void>();
  readonly #queue: VmFork[] = [];
  #notifying = false;
  #draining = false;
  #closed = false;
  #vouched = true;

  /** Reads each source once; that first reading is the generation of the first epoch and notifies nobody. */
  constructor(sources: readonly GenerationSource[], options: VmGenIdOptions = {}) {
    this.#onEvent = options.onEvent ?? (() => {});
    this.#now = options.now ?? (() => performance.now());
    this.#chain = new NotifierChain(failure => this.#onEvent({ type: 'subscriberFailed', ...failure }));
    this.#evidence = new Evidence(this.#now);
    this.#shared[0] = FIRST_EPOCH;
    this.#tracked = sources.map(source => ({
      source,
      last: new Uint32Array(GENERATION_WORDS),
      known: source.read === undefined,
      failure: undefined,
      owesUntil: Number.NEGATIVE_INFINITY,
    }));
    this.#immediate = this.#tracked.filter(
      ({ source }) => source.timing === 'immediate' && source.read !== undefined,
    );
    for (const tracked of this.#tracked) this.#changed(tracked);
  }

  /** Starts the sources that watch. Resolves when all do; a source that cannot start has failed, and says so. */
  async start(): Promise<void> {
    await Promise.all(
      this.#tracked.map(async tracked => {
        try {
          await tracked.source.start?.(this.#listener(tracked));
        } catch (error) {
          this.#fail(tracked, asError(error));
        }
      }),
    );
  }

  get epoch(): number {
    return Atomics.load(this.#shared, 0);
  }

  /** The epoch as one shared 32-bit integer: another thread reads it, or ends every session, by one atomic call. */
  get sharedEpoch(): Int32Array {
    return this.#shared;
  }

  get evidence(): ForkEvidence {
    return this.#evidence;
  }

  get protection(): Protection {
    const healthy = this.#tracked.filter(tracked => tracked.failure === undefined);
    if (healthy.some(({ source }) => source.timing === 'immediate')) return 'immediate';
    return healthy.length > 0 ? 'delayed' : 'none';
  }

  get sources(): SourceStatus[] {
    return this.#tracked.map(({ source, failure }) => ({
      name: source.name,
      timing: source.timing,
      uniqueness: source.uniqueness,
      readable: failure === undefined,
      ...(failure && { reason: failure.message }),
    }));
  }

  check(): number {
    if (this.#immediate.length > 0) this.#readImmediate();
    return this.#vouched ? Atomics.load(this.#shared, 0) : NO_EPOCH;
  }

  poll(): number {
    this.#readImmediate();
    for (const tracked of this.#tracked) {
      if (tracked.source.timing === 'immediate') continue;
      tracked.source.poll?.();
      this.#changed(tracked);
    }
    return this.#vouched ? this.epoch : NO_EPOCH;
  }

  register(phase: Phase, subscriber: ForkSubscriber, options?: SubscriberOptions): () => void {
    return this.#chain.register(phase, subscriber, options);
  }

  onEvidence(callback: () => void): () => void {
    this.#evidenceCallbacks.add(callback);
    return () => this.#evidenceCallbacks.delete(callback);
  }

  /** Resolves when the asynchronous subscribers of all forks so far are done. */
  settled(): Promise<void> {
    return this.#chain.settled();
  }

  /** Ends all sources. From then on `check` answers NO_EPOCH: nobody watches any more. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#vouched = false;
    await Promise.all(this.#tracked.map(({ source }) => source.close()));
  }

  // All immediate sources are read before a fork is declared: one fork may show in several of them at once.
  #readImmediate(): void {
    let first: Tracked | undefined;
    let vmGenId: Uint8Array | undefined;
    for (const tracked of this.#immediate) {
      if (!this.#readChanged(tracked)) continue;
      first ??= tracked;
      if (tracked.source.uniqueness === 'unique') vmGenId ??= generationBytes(tracked.last);
    }
    if (first) this.#fork(first, vmGenId ? { vmGenId } : {});
  }

  #changed(tracked: Tracked): void {
    if (tracked.source.read === undefined || !this.#readChanged(tracked)) return;
    const unique = tracked.source.uniqueness === 'unique';
    this.#announced(tracked, unique ? { vmGenId: generationBytes(tracked.last) } : {});
  }

  /** Reads one source. True when it now shows another generation than before. */
  #readChanged(tracked: Tracked): boolean {
    const now = this.#scratch;
    try {
      tracked.source.read?.(now);
    } catch (error) {
      this.#fail(tracked, asError(error));
      return false;
    }
    if (tracked.failure) this.#recover(tracked);
    if (tracked.known && sameGeneration(now, tracked.last)) return false;
    const first = !tracked.known;
    tracked.last.set(now);
    tracked.known = true;
    return !first;
  }

  #listener(tracked: Tracked): SourceListener {
    return {
      changed: () => {
        this.#readImmediate();
        this.#changed(tracked);
      },
      announce: announcement => {
        this.#readImmediate();
        this.#announced(tracked, announcement);
      },
      failed: error => this.#fail(tracked, error),
      recovered: () => this.#recover(tracked),
      settled: () => this.settled(),
    };
  }

  // A delayed source has spoken: of a new fork, or of the one that another source has shown before.
  #announced(tracked: Tracked, announcement: Announcement): void {
    if (this.#closed) return;
    const { vmGenId } = announcement;
    const sameId = vmGenId && this.#evidence.vmGenId && equalBytes(vmGenId, this.#evidence.vmGenId);
    if (!sameId && this.#now() > tracked.owesUntil) return this.#fork(tracked, announcement);
    tracked.owesUntil = Number.NEGATIVE_INFINITY;
    this.#learn(announcement);
    this.#onEvent({ type: 'sameFork', source: tracked.source.name, epoch: this.epoch });
    for (const callback of [...this.#evidenceCallbacks]) callback();
    this.#forgetSeed();
  }

  #fork(first: Tracked, announcement: Announcement): void {
    // Epoch first: whatever carries an older stamp is dead from here on, in every thread.
    const epoch = Atomics.add(this.#shared, 0, 1) + 1;
    this.#forgetSeed();
    this.#evidence.restart();
    this.#learn(announcement);

    // The others still owe their word on this fork. What already waits in a log is read now, but with suspicion.
    for (const other of this.#tracked) {
      if (other !== first && other.source.timing === 'delayed') other.owesUntil = this.#now() + SAME_FORK_MS;
    }
    const outer = this.#draining;
    this.#draining = true;
    for (const other of this.#tracked) if (other !== first) other.source.poll?.();
    this.#draining = outer;

    const vmGenId = this.#evidence.vmGenId;
    this.#queue.push({ epoch, source: first.source.name, ...(vmGenId && { vmGenId }) });
    this.#runChain();
  }

  // A subscriber may find the next fork while it handles this one: the epoch is raised at once, its turn comes after.
  #runChain(): void {
    if (this.#notifying) return;
    this.#notifying = true;
    for (let fork = this.#queue.shift(); fork; fork = this.#queue.shift()) {
      this.#chain.notify(fork);
      this.#onEvent({ type: 'fork', fork });
    }
    this.#notifying = false;
    this.#forgetSeed();
  }

  #learn({ vmGenId, seed, kernelReseeded }: Announcement): void {
    const evidence = this.#evidence;
    evidence.serial++;
    evidence.vmGenId ??= vmGenId?.slice();
    evidence.seed = seed;
    if (kernelReseeded && this.#draining) evidence.unsureSince = Math.min(evidence.unsureSince, this.#now());
    else if (kernelReseeded) evidence.reseeded = true;
  }

  #forgetSeed(): void {
    this.#evidence.seed?.fill(0);
    this.#evidence.seed = undefined;
  }

  #fail(tracked: Tracked, error: Error): void {
    if (tracked.failure?.message === error.message) return;
    tracked.failure = error;
    this.#updateVouched();
    this.#onEvent({ type: 'sourceFailed', source: tracked.source.name, error });
  }

  #recover(tracked: Tracked): void {
    if (!tracked.failure) return;
    tracked.failure = undefined;
    this.#updateVouched();
    this.#onEvent({ type: 'sourceRecovered', source: tracked.source.name });
  }

  // One readable immediate source sees every fork. Without any, each delayed one may be the only one to see it.
  #updateVouched(): void {
    const readable = (tracked: Tracked) => tracked.failure === undefined;
    this.#vouched =
      !this.#closed &&
      (this.#immediate.length > 0 ? this.#immediate.some(readable) : this.#tracked.every(readable));
  }
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new VmGenIdError('ERR_SOURCE_UNREADABLE', String(error));
}
