// The driver: reads the sources, raises the epoch, runs the chain. What Linux does in vmgenid.c and random.c.
// Promises: the epoch is raised before anybody is told; the first reading tells nobody; an equal reading is
// nothing; where no source can vouch for the generation, `check` answers NO_EPOCH and nothing may leave.
// Read on: Linux drivers/virt/vmgenid.c vmgenid_notify(); random.c add_vmfork_randomness().

import { equalBytes } from '../native/bytes.js';
import { sharedMemory } from '../native/shared-memory.js';
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
  readonly onEvent?: ((event: VmGenIdEvent) => void) | undefined;
  /** Monotonic milliseconds. */
  readonly now?: (() => number) | undefined;
  /**
   * What another driver has read of the same sources, in this process: this one goes on from there, and answers what
   * has changed since as a fork.
   */
  readonly readings?: Readings | undefined;
}

/** Generations by the name of the source that showed them: four words each. */
export type Readings = ReadonlyMap<string, Uint32Array>;

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
  /** Read again after a failure. It vouches from the moment the epoch is known to be right. */
  recovering: boolean;
  /** Its first reading failed: whatever it shows first may be the generation after a fork. */
  blind: boolean;
  /** The latest generation ID it told of, and the epoch in which that was first heard from any source. */
  id: Uint8Array | undefined;
  idEpoch: number;
  /** Until then a change shown by this source is a fork that another has already shown. PAID: it has spoken of it. */
  owesUntil: number;
  /** It may not have spoken of the fork before when this one was noticed: its next word may be about either. */
  owesOlder: boolean;
  /** A counter that moved by more than one at its last reading: forks passed of which nobody here has heard. */
  leapt: boolean;
}

const PAID = Number.NEGATIVE_INFINITY;

/** Where `sharedEpoch` has the epoch, and whether it is vouched for. */
export const EPOCH_WORD = 0;
export const VOUCHED_WORD = 1;

class Evidence implements ForkEvidence {
  vmGenId: Uint8Array | undefined;
  seed: Uint8Array | undefined;
  #serial = 0;
  #seeded = false;
  #reseeded = false;
  #unsureSince = Number.POSITIVE_INFINITY;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  get serial(): number {
    this.#ripen();
    return this.#serial;
  }

  get kernelReseeded(): boolean {
    this.#ripen();
    return this.#reseeded;
  }

  /** Whether any of it parts this clone from its siblings. */
  get parts(): boolean {
    return this.vmGenId !== undefined || this.#seeded || this.kernelReseeded;
  }

  restart(): void {
    this.forgetSeed();
    this.#serial++;
    this.vmGenId = undefined;
    this.#seeded = false;
    this.#reseeded = false;
    this.#unsureSince = Number.POSITIVE_INFINITY;
  }

  learn({ vmGenId, seed, kernelReseeded }: Announcement, unsure: boolean): void {
    this.#serial++;
    if (vmGenId) this.vmGenId ??= new Uint8Array(vmGenId);
    if (seed) {
      this.forgetSeed();
      this.seed = seed;
      this.#seeded = true;
    }
    if (kernelReseeded && unsure) this.#unsureSince = Math.min(this.#unsureSince, this.#now());
    else if (kernelReseeded) this.#reseeded = true;
  }

  forgetSeed(): void {
    this.seed?.fill(0);
    this.seed = undefined;
  }

  #ripen(): void {
    if (this.#reseeded || this.#unsureSince === Number.POSITIVE_INFINITY) return;
    if (this.#now() - this.#unsureSince < UNSURE_RESEED_MS) return;
    this.#reseeded = true;
    this.#serial++;
  }
}

export class VmGenId implements ForkGuard {
  readonly #tracked: Tracked[];
  readonly #immediate: Tracked[];
  readonly #chain: NotifierChain;
  readonly #onEvent: (event: VmGenIdEvent) => void;
  readonly #now: () => number;
  readonly #shared = new Int32Array(sharedMemory(8));
  readonly #scratch = new Uint32Array(GENERATION_WORDS);
  readonly #evidence: Evidence;
  readonly #evidenceCallbacks = new Set<() => void>();
  readonly #queue: VmFork[] = [];
  #ripening: ReturnType<typeof setTimeout> | undefined;
  #news = false;
  #notifying = false;
  #draining = false;
  #closed = false;
  #closing: Promise<void> | undefined;

  /**
   * Reads each source once; that first reading is the generation of the first epoch and notifies nobody. A source
   * that cannot be read now has no first reading: what it shows later counts as a fork, since nobody knows what
   * came before.
   */
  constructor(sources: readonly GenerationSource[], options: VmGenIdOptions = {}) {
    this.#onEvent = options.onEvent ?? (() => {});
    this.#now = options.now ?? (() => performance.now());
    this.#chain = new NotifierChain(failure => this.#emit({ type: 'subscriberFailed', ...failure }));
    this.#evidence = new Evidence(this.#now);
    this.#shared[EPOCH_WORD] = FIRST_EPOCH;
    this.#shared[VOUCHED_WORD] = 1;
    this.#tracked = sources.map(source => ({
      source,
      last: new Uint32Array(GENERATION_WORDS),
      known: source.read === undefined,
      failure: undefined,
      recovering: false,
      blind: false,
      id: undefined,
      idEpoch: NO_EPOCH,
      owesUntil: PAID,
      owesOlder: false,
      leapt: false,
    }));
    this.#immediate = this.#tracked.filter(
      ({ source }) => source.timing === 'immediate' && source.read !== undefined,
    );
    for (const tracked of this.#tracked) this.#readFirst(tracked, options.readings?.get(tracked.source.name));
    if (options.readings) this.check();
  }

  /**
   * Starts the sources that watch. Resolves when all do; a source that cannot start has failed, and says so. Until
   * then delayed sources report nothing: make no keys before.
   */
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
    return Atomics.load(this.#shared, EPOCH_WORD);
  }

  /**
   * Two shared 32-bit integers, for other threads: the epoch at EPOCH_WORD, so that one atomic store ends every
   * session of every thread, and at VOUCHED_WORD whether anything vouches for it (1) or not (0).
   */
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

  /** What the immediate sources showed when they were last read. */
  get readings(): Readings {
    const known = this.#immediate.filter(tracked => tracked.known);
    return new Map(known.map(({ source, last }) => [source.name, last.slice()]));
  }

  get #vouched(): boolean {
    return this.#shared[VOUCHED_WORD] === 1;
  }

  set #vouched(vouched: boolean) {
    Atomics.store(this.#shared, VOUCHED_WORD, Number(vouched));
  }

  check(): number {
    if (this.#immediate.length > 0) this.#readImmediate();
    return this.#vouched ? Atomics.load(this.#shared, EPOCH_WORD) : NO_EPOCH;
  }

  poll(): number {
    if (this.#closed) return NO_EPOCH;
    this.#readImmediate();
    for (const tracked of this.#tracked) {
      if (tracked.source.timing === 'immediate') continue;
      this.#pollSource(tracked);
      this.#changed(tracked, false);
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
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed = true;
    this.#vouched = false;
    this.#immediate.length = 0;
    clearTimeout(this.#ripening);
    const ends = await Promise.allSettled(this.#tracked.map(async ({ source }) => source.close()));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  }

  // All immediate sources are read before a fork is told: one fork may show in several of them at once. The epoch
  // is raised at the first sign, before any other code can run and ask. No iterator: compiled code that has never met a
  // fork is left here, and to give an optimized-away object back the engine first completes any sweep of its heap, which
  // takes 3 ms per half gigabyte.
  #readImmediate(): void {
    let first: Tracked | undefined;
    let vmGenId: Uint8Array | undefined;
    let epoch = NO_EPOCH;
    for (let i = 0; i < this.#immediate.length; i++) {
      const tracked = this.#immediate[i];
      const changed = this.#readChanged(tracked);
      if (changed && first === undefined) {
        epoch = this.#raise();
        first = tracked;
      }
      if (tracked.recovering) this.#recovered(tracked);
      if (!changed) continue;
      if (tracked.source.uniqueness !== 'unique') continue;
      tracked.id = generationBytes(tracked.last);
      tracked.idEpoch = epoch;
      vmGenId ??= tracked.id;
    }
    if (first) this.#fork(first, epoch, vmGenId ? { vmGenId } : {}, false);
  }

  // A delayed source, or any source at its own word: has its value changed?
  #changed(tracked: Tracked, unsure: boolean): void {
    if (this.#closed || tracked.source.read === undefined) return;
    const changed = this.#readChanged(tracked);
    const unique = tracked.source.uniqueness === 'unique';
    if (changed) this.#announced(tracked, unique ? { vmGenId: generationBytes(tracked.last) } : {}, unsure);
    this.#recovered(tracked);
  }

  #readFirst(tracked: Tracked, before: Uint32Array | undefined): void {
    if (tracked.source.read === undefined) return;
    if (before) {
      tracked.last.set(before);
      tracked.known = true;
    } else {
      this.#readChanged(tracked);
    }
    tracked.blind = tracked.failure !== undefined;
    if (tracked.blind || tracked.source.uniqueness !== 'unique') return;
    tracked.id = generationBytes(tracked.last);
    tracked.idEpoch = FIRST_EPOCH;
    // As at the probe in vmgenid.c: mixed by whoever seeds a generator now, so that clones of a machine in which
    // this program did not run yet part here; but nobody is notified.
    this.#evidence.learn({ vmGenId: tracked.id }, false);
  }

  /** Reads one source. True when it now shows another generation than before; the caller raises the epoch. */
  #readChanged(tracked: Tracked): boolean {
    const now = this.#scratch;
    try {
      tracked.source.read?.(now);
    } catch (error) {
      this.#fail(tracked, asError(error));
      return false;
    }
    const changed = tracked.known ? !sameGeneration(now, tracked.last) : tracked.blind;
    tracked.leapt = changed && tracked.source.uniqueness === 'counter' && !isNextCount(now, tracked.last);
    if (changed || !tracked.known) tracked.last.set(now);
    tracked.known = true;
    tracked.recovering = tracked.failure !== undefined;
    tracked.failure = undefined;
    return changed;
  }

  #pollSource(tracked: Tracked): void {
    try {
      tracked.source.poll?.();
    } catch (error) {
      this.#fail(tracked, asError(error));
    }
  }

  #listener(tracked: Tracked): SourceListener {
    return {
      changed: () => {
        const before = this.epoch;
        this.#readImmediate();
        this.#changed(tracked, this.#draining || this.epoch !== before);
      },
      announce: announcement => {
        // If the page shows a fork only now, what is in hand may have been written before the snapshot.
        const before = this.epoch;
        this.#readImmediate();
        return this.#announced(tracked, announcement, this.#draining || this.epoch !== before);
      },
      missed: () => {
        this.#readImmediate();
        // What is lost pays for no word that is owed: it may have been any other.
        if (this.#closed || this.#shownAtOnce || this.#now() <= tracked.owesUntil) return;
        this.#fork(tracked, this.#raise(), {}, false);
      },
      failed: error => this.#fail(tracked, error),
      recovered: () => {
        tracked.recovering = tracked.failure !== undefined;
        tracked.failure = undefined;
        this.#recovered(tracked);
      },
      look: () => {
        this.#readImmediate();
        if (this.#closed) return { epoch: NO_EPOCH, parted: false };
        return { epoch: this.epoch, parted: this.epoch === FIRST_EPOCH || this.#evidence.parts };
      },
      settled: () => this.settled(),
    };
  }

  // A delayed source has spoken: of a new fork, or of the one that another source has shown before.
  #announced(tracked: Tracked, announcement: Announcement, unsure: boolean): number {
    if (this.#closed) {
      announcement.seed?.fill(0);
      return NO_EPOCH;
    }
    const { vmGenId } = announcement;
    const heardIn = vmGenId && this.#heardIn(vmGenId);
    const repeated = vmGenId !== undefined && tracked.id !== undefined && equalBytes(vmGenId, tracked.id);
    const owed = this.#now() <= tracked.owesUntil;
    const same = owed || repeated || heardIn === this.epoch;
    const epoch = same ? this.epoch : this.#raise();
    // What was found when the fork was, unread in a socket or a file, may have been there when the snapshot was taken,
    // unless an immediate source has parted the siblings already.
    const found = unsure && same && this.#evidence.vmGenId === undefined;
    if (vmGenId && !repeated) {
      tracked.id = new Uint8Array(vmGenId);
      tracked.idEpoch = heardIn ?? (found ? epoch - 1 : epoch);
    }

    // So was what was first heard in an older epoch. Every sibling has it then.
    const stale = found || (heardIn !== undefined && heardIn !== epoch);
    if (stale) announcement.seed?.fill(0);
    const { kernelReseeded = false } = announcement;
    const news = stale ? { kernelReseeded } : announcement;
    // The kernel may have been copied between its reseed for the fork before and its word on that one.
    const unsureLine = unsure || tracked.owesOlder;
    if (!same) {
      this.#fork(tracked, epoch, news, unsureLine);
      return epoch;
    }
    if (!unsure) {
      if (!tracked.owesOlder) tracked.owesUntil = PAID;
      tracked.owesOlder = false;
    }
    this.#learn(news, unsureLine);
    this.#emit({ type: 'sameFork', source: tracked.source.name, epoch });
    this.#news = true;
    this.#runChain();
    return epoch;
  }

  // The epoch in which this ID was first heard, where it is still the latest of some source.
  #heardIn(vmGenId: Uint8Array): number | undefined {
    const known = this.#tracked.filter(({ id }) => id !== undefined && equalBytes(id, vmGenId));
    return known.length > 0 ? Math.min(...known.map(({ idEpoch }) => idEpoch)) : undefined;
  }

  // Epoch first: whatever carries an older stamp is dead from here on, in every thread. What was learnt about the
  // fork before says nothing about this one.
  #raise(): number {
    const epoch = Atomics.add(this.#shared, EPOCH_WORD, 1) + 1;
    this.#evidence.restart();
    return epoch;
  }

  #fork(first: Tracked, epoch: number, announcement: Announcement, unsure: boolean): void {
    this.#learn(announcement, unsure);
    this.#recovered(first);
    const { vmGenId } = announcement;
    this.#queue.push({
      epoch,
      source: first.source.name,
      ...(vmGenId && { vmGenId: new Uint8Array(vmGenId) }),
    });

    // The others still owe their word on this fork. What already waits in a log is read now, but with suspicion.
    const leapt = this.#immediate.some(tracked => tracked.leapt);
    for (const other of this.#tracked) {
      if (other === first || other.source.timing === 'immediate') continue;
      other.owesOlder = leapt || other.owesUntil !== PAID;
      other.owesUntil = this.#now() + SAME_FORK_MS;
    }
    const outer = this.#draining;
    this.#draining = true;
    for (const other of this.#tracked) {
      if (other === first || other.source.timing === 'immediate') continue;
      this.#pollSource(other);
      this.#changed(other, true);
    }
    this.#draining = outer;
    this.#runChain();
  }

  // A subscriber may find the next fork while it handles this one: the epoch is raised at once, its turn comes
  // after. Evidence about a fork is told when the chain knows of that fork.
  #runChain(): void {
    if (this.#notifying || this.#draining) return;
    this.#notifying = true;
    for (let fork = this.#queue.shift(); fork; fork = this.#queue.shift()) {
      this.#chain.notify(fork);
      this.#emit({ type: 'fork', fork });
    }
    this.#notifying = false;
    if (this.#news) this.#tellEvidence();
    this.#evidence.forgetSeed();
  }

  #learn(announcement: Announcement, unsure: boolean): void {
    this.#evidence.learn(announcement, unsure);
    if (!announcement.kernelReseeded || !unsure) return;
    clearTimeout(this.#ripening);
    this.#ripening = setTimeout(() => {
      if (this.#evidence.kernelReseeded) this.#tellEvidence();
    }, UNSURE_RESEED_MS + 1);
    this.#ripening.unref?.();
  }

  #tellEvidence(): void {
    this.#news = false;
    for (const callback of Array.from(this.#evidenceCallbacks)) {
      try {
        callback();
      } catch (error) {
        const subscriber = callback.name || 'onEvidence';
        this.#emit({ type: 'subscriberFailed', subscriber, phase: 'randomness', error });
      }
    }
  }

  // A throwing listener must not keep the chain from running; its error still surfaces, as an uncaught one.
  #emit(event: VmGenIdEvent): void {
    try {
      this.#onEvent(event);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  #fail(tracked: Tracked, error: Error): void {
    if (this.#closed || tracked.failure?.message === error.message) return;
    tracked.failure = error;
    this.#updateVouched();
    this.#emit({ type: 'sourceFailed', source: tracked.source.name, error });
  }

  #recovered(tracked: Tracked): void {
    if (!tracked.recovering) return;
    tracked.recovering = false;
    this.#updateVouched();
    this.#emit({ type: 'sourceRecovered', source: tracked.source.name });
  }

  /** Some immediate source could be read when it was last asked: it sees every fork. */
  get #shownAtOnce(): boolean {
    return this.#immediate.some(isReadable);
  }

  // Without any immediate source, each delayed one may be the only one to see a fork.
  #updateVouched(): void {
    this.#vouched =
      !this.#closed && (this.#immediate.length > 0 ? this.#shownAtOnce : this.#tracked.every(isReadable));
  }
}

function isReadable({ failure }: Tracked): boolean {
  return failure === undefined;
}

/** Whether a 64-bit counter in the first two words has moved by one. */
function isNextCount(now: Uint32Array, before: Uint32Array): boolean {
  const low = (before[0] + 1) >>> 0;
  return now[0] === low && now[1] === (before[1] + Number(low === 0)) >>> 0;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new VmGenIdError('ERR_SOURCE_UNREADABLE', String(error));
}
