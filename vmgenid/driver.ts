// The driver: reads the sources, raises the epoch, runs the chain. What Linux does in vmgenid.c and random.c.
// Promises: the epoch is raised before anybody is told; the first reading tells nobody; an equal reading is
// nothing, nor is one that another thread's driver has counted; where no source can vouch for the generation, `check`
// answers NO_EPOCH and nothing may leave.
// Read on: machine-state.ts (what drivers share); Linux drivers/virt/vmgenid.c vmgenid_notify(); random.c
// add_vmfork_randomness().

import { equalBytes } from '../native/bytes.js';
import { VmGenIdError } from './errors.js';
import { Evidence, type ForkEvidence, UNSURE_RESEED_MS } from './evidence.js';
import { FIRST_EPOCH, GENERATION_WORDS, NO_EPOCH, generationBytes, sameGeneration } from './generation.js';
import { MachineState, type SharedState, newState } from './machine-state.js';
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

/** The driver as the floors above see it. */
export interface ForkGuard {
  /** The epoch as last seen, without a look at any source. */
  readonly epoch: number;
  /** The epoch that the last fork began, as last seen; FIRST_EPOCH before the first. Drills begin epochs too. */
  readonly forkEpoch: number;
  readonly protection: Protection;
  readonly evidence: ForkEvidence;
  /**
   * Reads every immediate source. Returns the epoch, already raised if the machine was forked (the chain has run
   * then), or `NO_EPOCH` when nothing can vouch for the generation. The check before every release.
   */
  check(): number;
  /** As `check`, and asks the delayed sources too for what they would tell later. Costs system calls. */
  poll(): number;
  /** Calls back at each fork, in this phase. Returns what ends it. */
  register(phase: Phase, subscriber: ForkSubscriber, options?: SubscriberOptions): () => void;
  /** Calls back when evidence about the current fork arrives after its notification. */
  onEvidence(callback: () => void): () => void;
}

/** Whether somebody vouches that there has been no fork since this epoch, which has begun. Drills are none. */
export function isUnforkedSince(guard: Pick<ForkGuard, 'check' | 'forkEpoch'>, epoch: number): boolean {
  // NO_EPOCH, where nobody vouches, is below every epoch.
  const now = guard.check();
  return guard.forkEpoch <= epoch && epoch <= now;
}

/** How a source stands. */
export interface SourceStatus {
  readonly name: string;
  readonly timing: Timing;
  readonly uniqueness: Uniqueness;
  readonly readable: boolean;
  readonly reason?: string;
}

/** What `onEvent` of a driver hears. */
export type VmGenIdEvent =
  | { readonly type: 'fork'; readonly fork: VmFork }
  | { readonly type: 'sameFork'; readonly source: string; readonly epoch: number }
  | { readonly type: 'sourceFailed'; readonly source: string; readonly error: Error }
  | { readonly type: 'sourceRecovered'; readonly source: string }
  | ({ readonly type: 'subscriberFailed' } & SubscriberFailure);

/** How a driver is made, beside its sources. */
export interface VmGenIdOptions {
  /** Hears of forks, of failing sources and of failing subscribers. Must not throw. */
  readonly onEvent?: ((event: VmGenIdEvent) => void) | undefined;
  /** Monotonic milliseconds. */
  readonly now?: (() => number) | undefined;
  /**
   * `shared` of the first driver, which has all the sources: this one is a view of the same state, for another thread. Its
   * own sources are immediate ones of those, opened anew.
   */
  readonly shared?: SharedState | undefined;
}

/**
 * How long after a fork a delayed source may still report the same one. A second fork within this time that only
 * that source shows would be taken for the first: the price of not wiping twice where there is no immediate source.
 */
export const SAME_FORK_MS = 5_000;

interface Tracked {
  readonly source: GenerationSource;
  /** Its place in the state. */
  readonly place: number;
  /** What it shows now, and what it showed when it was last counted. */
  readonly now: Uint32Array<ArrayBuffer>;
  readonly last: Uint32Array<ArrayBuffer>;
  /** False: whatever it shows first may be the generation after a fork. */
  known: boolean;
  changed: boolean;
  failure: Error | undefined;
  /** Read again after a failure. It vouches from the moment the epoch is known to be right. */
  recovering: boolean;
  /** The latest generation ID it told of, and the epoch in which that was first heard from any source. */
  id: Uint8Array | undefined;
  idEpoch: number;
  /** Until then a change shown by this source is a fork that another has already shown. PAID: it has spoken of it. */
  owesUntil: number;
  /** It may not have spoken of the fork before when this one was noticed: its next word may be about either. */
  owesOlder: boolean;
  /** A counter that moved by more than one since the last fork: others passed of which nobody here has heard. */
  leapt: boolean;
}

const PAID = Number.NEGATIVE_INFINITY;

export class VmGenId implements ForkGuard {
  readonly #tracked: Tracked[];
  readonly #immediate: Tracked[];
  readonly #delayed: Tracked[];
  readonly #chain: NotifierChain;
  readonly #onEvent: (event: VmGenIdEvent) => void;
  readonly #now: () => number;
  readonly #state: MachineState;
  readonly #isFirst: boolean;
  /** Another thread's driver vouches for the generation, as this one has no source that could. */
  readonly #leans: boolean;
  readonly #evidence: Evidence;
  readonly #evidenceCallbacks = new Set<() => void>();
  readonly #queue: VmFork[] = [];
  /** What of the record this driver has told, or is about to tell. */
  #epoch: number;
  #serial: number;
  #vouched = true;
  #ripening: ReturnType<typeof setTimeout> | undefined;
  #news = false;
  #notifying = false;
  #draining = false;
  #closed = false;
  #closing: Promise<void> | undefined;

  /**
   * Reads each source once; that first reading is the generation of the first epoch and notifies nobody. A source
   * that cannot be read now has no first reading: what it shows later counts as a fork, since nobody knows what
   * came before. With `shared` the readings there are the first: what has changed since is a fork. Throws
   * `ERR_SHARED_STATE` for a source that is not of that state, and when too many drivers share it.
   */
  constructor(sources: readonly GenerationSource[], options: VmGenIdOptions = {}) {
    const { shared } = options;
    this.#onEvent = options.onEvent ?? (() => {});
    this.#now = options.now ?? (() => performance.now());
    this.#chain = new NotifierChain(failure => this.#emit({ type: 'subscriberFailed', ...failure }));
    this.#state = new MachineState(shared ?? newState(sources.map(({ name }) => name)));
    this.#evidence = new Evidence(this.#state, this.#now);
    this.#epoch = this.#state.epoch;
    const left: (string | undefined)[] = [...this.#state.shared.names];
    this.#tracked = sources.map(source => {
      const place = left.indexOf(source.name);
      if (place < 0) throw new VmGenIdError('ERR_SHARED_STATE', `${source.name}: not of the shared state`);
      left[place] = undefined;
      return {
        source,
        place,
        now: new Uint32Array(GENERATION_WORDS),
        last: new Uint32Array(GENERATION_WORDS),
        known: false,
        changed: false,
        failure: undefined,
        recovering: false,
        id: undefined,
        idEpoch: NO_EPOCH,
        owesUntil: PAID,
        owesOlder: false,
        leapt: false,
      };
    });
    this.#immediate = this.#tracked.filter(isReadAtOnce);
    this.#delayed = this.#tracked.filter(tracked => !isReadAtOnce(tracked));
    this.#isFirst = shared === undefined;
    this.#leans = !this.#isFirst && this.#immediate.length === 0;
    if (this.#isFirst) for (const tracked of this.#tracked) this.#readFirst(tracked);
    else this.#takeReadings();
    this.#updateVouched();
    this.#serial = this.#state.record.serial;
    if (!this.#isFirst) this.check();
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
    return this.#state.epoch;
  }

  get forkEpoch(): number {
    return this.#state.record.forkEpoch;
  }

  /**
   * The generation IDs, 16 bytes each, that unique sources which can be read at any time showed last, in the order of the
   * sources. The same after a reboot; in a copy, one at least is another.
   */
  get ids(): readonly Uint8Array[] {
    const readable = ({ known, source }: Tracked) => known && source.uniqueness === 'unique';
    return this.#tracked.filter(readable).map(({ last }) => generationBytes(last));
  }

  /**
   * What the sources have shown, in bytes that differ, within one boot of this machine, after each fork
   * that one of them shows, also when nobody was there to see it. Undefined where that cannot be told from
   * what is there.
   */
  get history(): readonly Uint8Array[] | undefined {
    if (!this.#vouched) return undefined;
    const tellers = this.#shownAtOnce ? this.#immediate.filter(isReadable) : this.#tracked;
    const shown = tellers.map(({ known, last, source }) => (known ? generationBytes(last) : source.history));
    const told = shown.filter(bytes => bytes !== undefined);
    return told.length > 0 && told.length === shown.length ? told : undefined;
  }

  /**
   * The state, for the drivers of other threads: `new VmGenId(sources, { shared })`. Whichever sees a fork first ends every
   * session of every thread; the others find out at their next check, so wake those that sleep.
   */
  get shared(): SharedState {
    return this.#state.shared;
  }

  get evidence(): ForkEvidence {
    return this.#evidence;
  }

  get protection(): Protection {
    if (this.#shownAtOnce) return 'immediate';
    // What only other threads read reaches this one some time later.
    const others = this.#leans ? this.#state.shared.names : this.#tracked.filter(isReadable);
    return others.length > 0 ? 'delayed' : 'none';
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
    // Asked first: who vouches again after a failure has counted what he missed.
    const others = !this.#leans || this.#state.isVouchedFor;
    this.#look();
    return this.#vouched && others ? this.#state.epoch : NO_EPOCH;
  }

  poll(): number {
    this.#look();
    this.#pollDelayed(false);
    return this.check();
  }

  /**
   * Has everybody do what follows a fork, though there was none: the epoch is raised, so that whatever bears an older one is
   * dead, and the chain runs. What is known about the last fork stays as it is, and the next one is seen as ever: nothing that
   * a source says later is taken for this. Returns the epoch that began, NO_EPOCH when closed.
   */
  drill(): number {
    this.poll();
    if (this.#closed) return NO_EPOCH;
    // Another thread was faster: what it has counted is told first.
    if (!this.#state.change(draft => draft.drill())) return this.drill();
    const { epoch } = this.#state.record;
    this.#tell();
    return epoch;
  }

  /** Calls back at each fork, in this phase. Returns what ends it. */
  register(phase: Phase, subscriber: ForkSubscriber, options?: SubscriberOptions): () => void {
    return this.#chain.register(phase, subscriber, options);
  }

  onEvidence(callback: () => void): () => void {
    this.#evidenceCallbacks.add(callback);
    return () => this.#evidenceCallbacks.delete(callback);
  }

  /**
   * Takes a seed that another thread was given, or drew, in this epoch. Returns false, and erases it, when that is over: every
   * sibling may have it then. Erased in any case when everybody was told.
   */
  learnSeed(epoch: number, seed: Uint8Array): boolean {
    this.#look();
    const isOfNow = !this.#closed && epoch === this.epoch;
    if (isOfNow) this.#evidence.keepSeed(seed);
    else seed.fill(0);
    if (isOfNow) this.#learnt();
    return isOfNow;
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
    this.#immediate.length = 0;
    this.#updateVouched();
    this.#state.close();
    clearTimeout(this.#ripening);
    const ends = await Promise.allSettled(this.#tracked.map(async ({ source }) => source.close()));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  }

  /** Reads the immediate sources, counts what nobody has counted yet, and tells what this driver has not told yet. */
  #look(): void {
    if (this.#readImmediate() || !this.#state.isCurrent) this.#catchUp();
  }

  // No iterator: compiled code that has never met a fork is left here, and to give an optimized-away object back the engine
  // first completes any sweep of its heap, which takes 3 ms per half gigabyte.
  #readImmediate(): boolean {
    let isChanged = false;
    for (let i = 0; i < this.#immediate.length; i++) {
      const tracked = this.#immediate[i];
      if (this.#readChanged(tracked) || tracked.recovering) isChanged = true;
    }
    return isChanged;
  }

  // All immediate sources are read before a fork is counted: one fork may show in several of them at once. It is counted
  // only if the state is what it was before they were read. Else this thread may have been held up with a reading in hand
  // while others have counted newer ones, and what is older would be evidence in a newer epoch.
  #catchUp(): void {
    while (!this.#count()) {
      this.#state.refresh();
      this.#takeReadings();
      this.#readImmediate();
    }
    for (const tracked of this.#immediate) this.#recovered(tracked);
    if (this.#closed) return;
    const { epoch, serial } = this.#state.record;
    if (epoch !== this.#epoch) this.#tell();
    else if (serial !== this.#serial) this.#learnt();
  }

  #count(): boolean {
    const changed = this.#immediate.filter(tracked => tracked.changed);
    if (changed.length === 0) return this.#state.isCurrent;
    const isCounted = this.#state.change(draft => {
      draft.raise(changed[0].place);
      for (const { source, place, now } of changed) {
        draft.setReading(place, now);
        if (source.uniqueness === 'unique') draft.learn({ vmGenId: generationBytes(now) });
      }
    });
    if (isCounted) this.#takeReadings();
    return isCounted;
  }

  /** What has been counted, by whomever, is nothing new. */
  #takeReadings(): void {
    const { record } = this.#state;
    for (const tracked of this.#immediate) {
      tracked.changed = false;
      const counted = record.reading(tracked.place);
      if (!counted || (tracked.known && sameGeneration(counted, tracked.last))) continue;
      const { uniqueness } = tracked.source;
      tracked.leapt ||= tracked.known && uniqueness === 'counter' && !isNextCount(counted, tracked.last);
      tracked.last.set(counted);
      tracked.known = true;
      if (uniqueness !== 'unique') continue;
      tracked.id = generationBytes(counted);
      // Of several forks that were counted elsewhere it may be the first.
      tracked.idEpoch = Math.min(record.forkEpoch, this.#epoch + 1);
    }
  }

  // A delayed source: has its value changed?
  #changed(tracked: Tracked, unsure: boolean): void {
    if (this.#closed || tracked.source.read === undefined) return;
    if (this.#readChanged(tracked)) {
      tracked.last.set(tracked.now);
      tracked.known = true;
      const unique = tracked.source.uniqueness === 'unique';
      this.#announced(tracked, unique ? { vmGenId: generationBytes(tracked.last) } : {}, unsure);
    }
    this.#recovered(tracked);
  }

  #readFirst(tracked: Tracked): void {
    const { source, place, now } = tracked;
    if (source.read === undefined) return;
    this.#readChanged(tracked);
    if (tracked.failure) return;
    tracked.last.set(now);
    tracked.known = true;
    // As at the probe in vmgenid.c: the ID is mixed by whoever seeds a generator now, so that clones of a machine in which
    // this program did not run yet part here; but nobody is notified.
    const vmGenId = source.uniqueness === 'unique' ? generationBytes(now) : undefined;
    this.#state.change(draft => {
      draft.setReading(place, now);
      draft.learn({ vmGenId });
    });
    tracked.id = vmGenId;
    tracked.idEpoch = FIRST_EPOCH;
  }

  /** Reads one source. True when it now shows another generation than was counted. */
  #readChanged(tracked: Tracked): boolean {
    tracked.changed = false;
    try {
      tracked.source.read?.(tracked.now);
    } catch (error) {
      this.#fail(tracked, asError(error));
      return false;
    }
    tracked.changed = !tracked.known || !sameGeneration(tracked.now, tracked.last);
    tracked.recovering ||= tracked.failure !== undefined;
    tracked.failure = undefined;
    return tracked.changed;
  }

  #pollDelayed(unsure: boolean, heard?: Tracked): void {
    for (const tracked of this.#delayed) {
      if (tracked === heard || this.#closed) continue;
      try {
        tracked.source.poll?.();
      } catch (error) {
        this.#fail(tracked, asError(error));
      }
      this.#changed(tracked, unsure);
    }
  }

  #listener(tracked: Tracked): SourceListener {
    return {
      changed: () => {
        const unsure = this.#lookFirst();
        if (!isReadAtOnce(tracked)) this.#changed(tracked, unsure);
      },
      announce: announcement => this.#announced(tracked, announcement, this.#lookFirst()),
      missed: () => this.#missed(tracked),
      failed: error => this.#fail(tracked, error),
      recovered: () => {
        tracked.recovering = tracked.failure !== undefined;
        tracked.failure = undefined;
        this.#recovered(tracked);
      },
      look: () => {
        this.#look();
        if (this.#closed) return { epoch: NO_EPOCH, forkEpoch: NO_EPOCH, parted: false };
        const { epoch, forkEpoch } = this;
        return { epoch, forkEpoch, parted: forkEpoch === FIRST_EPOCH || this.#evidence.parts };
      },
      settled: () => this.settled(),
    };
  }

  // If a fork shows only now, what a delayed source has in hand may have been written before the snapshot.
  #lookFirst(): boolean {
    const before = this.forkEpoch;
    this.#look();
    return this.#draining || this.forkEpoch !== before;
  }

  #missed(tracked: Tracked): void {
    this.#look();
    // What is lost pays for no word that is owed: it may have been any other.
    if (this.#closed || this.#shownAtOnce || this.#now() <= tracked.owesUntil) return;
    if (this.#state.change(draft => draft.raise(tracked.place))) this.#tell();
    else this.#missed(tracked);
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
    const same = owed || repeated || heardIn === this.forkEpoch;
    const epoch = same ? this.epoch : this.epoch + 1;
    const forkEpoch = same ? this.forkEpoch : epoch;
    // What was found when the fork was, unread in a socket or a file, may have been there when the snapshot was taken,
    // unless an immediate source has parted the siblings already.
    const found = unsure && same && this.#evidence.vmGenId === undefined;
    // So was what was first heard in an older epoch. Every sibling has it then.
    const stale = found || (heardIn !== undefined && heardIn !== forkEpoch);
    const { kernelReseeded = false, seed } = announcement;
    // The kernel may have been copied between its reseed for the fork before and its word on that one.
    const isDoubtful = kernelReseeded && (unsure || tracked.owesOlder);
    const news = { ...(!stale && announcement), kernelReseeded: kernelReseeded && !isDoubtful };
    const isSaid = this.#state.change(draft => {
      if (!same) draft.raise(tracked.place);
      draft.learn(news);
    });
    // Another thread was faster: this may be about the fork that it has counted, or about one before.
    if (!isSaid) return this.#announced(tracked, announcement, this.#lookFirst() || unsure);

    if (vmGenId) {
      tracked.id = new Uint8Array(vmGenId);
      tracked.idEpoch = heardIn ?? (found ? forkEpoch - 1 : forkEpoch);
    }
    if (seed && stale) seed.fill(0);
    else if (seed) this.#evidence.keepSeed(seed);
    if (isDoubtful) this.#doubt();
    if (!same) {
      this.#tell();
      return epoch;
    }
    if (!unsure) {
      if (!tracked.owesOlder) tracked.owesUntil = PAID;
      tracked.owesOlder = false;
    }
    this.#emit({ type: 'sameFork', source: tracked.source.name, epoch });
    this.#learnt();
    return epoch;
  }

  // The epoch in which this ID was first heard, where it is still the latest of some source.
  #heardIn(vmGenId: Uint8Array): number | undefined {
    const known = this.#tracked.filter(({ id }) => id !== undefined && equalBytes(id, vmGenId));
    return known.length > 0 ? Math.min(...known.map(({ idEpoch }) => idEpoch)) : undefined;
  }

  // The record has a new epoch: whatever carries an older stamp is dead, in every thread. Now everybody here is told.
  #tell(): void {
    const { epoch, serial, forkEpoch } = this.#state.record;
    if (forkEpoch > this.#epoch) return this.#fork();
    // Drills alone. No source owes a word on these: what one says next is about a fork.
    this.#epoch = epoch;
    this.#serial = serial;
    this.#queue.push({ epoch, source: 'drill', isDrill: true });
    this.#runChain();
  }

  #fork(): void {
    const { epoch, serial, source, vmGenId } = this.#state.record;
    const first = this.#tracked.find(({ place }) => place === source);
    // The others still owe their word on this fork. What already waits in a log is read now, but with suspicion.
    const leapt = epoch > this.#epoch + 1 || this.#immediate.some(tracked => tracked.leapt);
    this.#epoch = epoch;
    this.#serial = serial;
    if (first) this.#recovered(first);
    this.#queue.push({ epoch, source: this.#state.shared.names[source], ...(vmGenId && { vmGenId }) });
    for (const tracked of this.#immediate) tracked.leapt = false;
    for (const other of this.#delayed) {
      if (other === first) continue;
      other.owesOlder = leapt || other.owesUntil !== PAID;
      other.owesUntil = this.#now() + SAME_FORK_MS;
    }
    const outer = this.#draining;
    this.#draining = true;
    this.#pollDelayed(true, first);
    this.#draining = outer;
    this.#runChain();
  }

  // There is evidence about a fork that was told of, or will be in a moment.
  #learnt(): void {
    this.#serial = this.#state.record.serial;
    this.#news = true;
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

  #doubt(): void {
    this.#evidence.doubt();
    clearTimeout(this.#ripening);
    this.#ripening = setTimeout(() => {
      this.#look();
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
    tracked.recovering = false;
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
    if (this.#isFirst) this.#state.isVouchedFor = this.#vouched;
  }
}

/** At every check, and so it shows every fork in time: what can only announce is late, whatever it calls itself. */
function isReadAtOnce({ source }: Tracked): boolean {
  return source.timing === 'immediate' && source.read !== undefined;
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
