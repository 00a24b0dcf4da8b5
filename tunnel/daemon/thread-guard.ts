// The generation as a device thread sees it: its own immediate sources, and what the main thread has found out.
// Promises: whichever of the two notices a fork first, this thread's device learns of it at its next check, once; a
// word of the main thread about an older fork is never taken for evidence about a newer one.
// Read on: vmgenid/driver.ts.

import {
  EPOCH_WORD,
  FIRST_EPOCH,
  type ForkEvidence,
  type ForkGuard,
  type ForkSubscriber,
  type GenerationSource,
  type Phase,
  type Protection,
  type Readings,
  type SourceListener,
  type SubscriberOptions,
  VOUCHED_WORD,
  VmGenId,
  VmGenIdError,
} from '../../vmgenid/index.js';

/** What the main thread tells when it has learnt more about the fork that began its epoch `epoch`. */
export interface RelayedEvidence {
  readonly epoch: number;
  /** What its immediate sources showed in that epoch. */
  readonly readings: Readings;
  readonly vmGenId?: Uint8Array | undefined;
  readonly seed?: Uint8Array | undefined;
  readonly kernelReseeded: boolean;
}

export interface ThreadGuardOptions {
  /** `VmGenId.sharedEpoch` of the main thread. */
  readonly sharedEpoch: Int32Array;
  /** What the main thread's immediate sources showed when it made this thread. */
  readonly readings: Readings;
  /** Immediate sources that this thread reads by itself. */
  readonly sources: readonly GenerationSource[];
  /** What the main thread says of the machine when this thread begins. */
  readonly protection: Protection;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Called when a source of this thread shows a fork first: the main thread should look too. */
  readonly onLocalFork: () => void;
}

export class ThreadGuard implements ForkGuard {
  readonly evidence: ForkEvidence;
  readonly #mainProtection: Protection;
  readonly #inner: VmGenId;
  readonly #shared: Int32Array;
  readonly #main: MainThreadSource;
  readonly #relayed = new Relayed();
  readonly #callbacks = new Set<() => void>();
  /** The main thread's epoch when this thread's last fork was noticed, and whether by a source of this thread's own. */
  #mainEpoch = Number.POSITIVE_INFINITY;
  #byOwnSource = false;

  constructor(options: ThreadGuardOptions) {
    this.#mainProtection = options.protection;
    this.#shared = options.sharedEpoch;
    this.#main = new MainThreadSource(options.sharedEpoch);
    // Born into the first epoch, whatever has happened: a fork that the main thread has seen, or that fell between its
    // last look and our first, is then a fork to us too, and nothing is drawn until we know what parts us.
    const readings = new Map([...options.readings, [this.#main.name, FIRST_READING]]);
    this.#inner = new VmGenId([...options.sources, this.#main], { now: options.now, readings });
    void this.#inner.start();
    const inner = this.#inner.evidence;
    const relayed = this.#relayed;
    this.evidence = {
      get serial() {
        return inner.serial + relayed.serial;
      },
      get vmGenId() {
        return inner.vmGenId ?? relayed.vmGenId;
      },
      get seed() {
        return inner.seed ?? relayed.seed;
      },
      get kernelReseeded() {
        return inner.kernelReseeded || relayed.kernelReseeded;
      },
    };
    // Before anybody else hears of the fork: what the main thread said of the one before is worth nothing now.
    const forked = (local: boolean) => {
      this.#relayed.restart();
      this.#mainEpoch = Atomics.load(this.#shared, EPOCH_WORD);
      this.#byOwnSource = local;
      if (local) options.onLocalFork();
    };
    this.#inner.register('randomness', ({ source }) => forked(source !== this.#main.name), {
      name: 'thread guard',
      priority: Number.MAX_SAFE_INTEGER,
    });
    if (this.#inner.epoch !== FIRST_EPOCH) forked(true);
  }

  /** Immediate by a source of this thread's own: what the main thread reads reaches this one some time later. */
  get protection(): Protection {
    const own = this.#inner.protection;
    if (own === 'immediate') return own;
    return this.#mainProtection === 'immediate' ? 'delayed' : this.#mainProtection;
  }

  get epoch(): number {
    return this.#inner.epoch;
  }

  check(): number {
    this.#main.look();
    return this.#inner.check();
  }

  poll(): number {
    this.#main.look();
    return this.#inner.poll();
  }

  register(phase: Phase, subscriber: ForkSubscriber, options?: SubscriberOptions): () => void {
    return this.#inner.register(phase, subscriber, options);
  }

  onEvidence(callback: () => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  /** Takes the main thread's word. Ignored when it is about an older fork than the one this thread knows of. */
  learn(evidence: RelayedEvidence): void {
    this.check();
    if (!this.#isAboutNow(evidence)) {
      evidence.seed?.fill(0);
      return;
    }
    this.#relayed.learn(evidence);
    for (const callback of Array.from(this.#callbacks)) callback();
    this.#relayed.forgetSeed();
  }

  // What this thread's own source has shown the main thread may have seen before, and counted, or not: where both read a
  // source, it has to have shown the same to both; where they do not, only a later epoch is surely about it.
  #isAboutNow({ epoch, readings }: RelayedEvidence): boolean {
    const common = [...this.#inner.readings].filter(([name]) => readings.has(name));
    if (epoch < this.#mainEpoch + Number(this.#byOwnSource && common.length === 0)) return false;
    return common.every(([name, words]) => readings.get(name)?.every((word, i) => word === words[i]));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

class Relayed {
  serial = 0;
  vmGenId: Uint8Array | undefined;
  seed: Uint8Array | undefined;
  kernelReseeded = false;

  restart(): void {
    this.forgetSeed();
    this.serial++;
    this.vmGenId = undefined;
    this.kernelReseeded = false;
  }

  learn({ vmGenId, seed, kernelReseeded }: RelayedEvidence): void {
    this.serial++;
    this.vmGenId ??= vmGenId;
    this.seed = seed;
    this.kernelReseeded ||= kernelReseeded;
  }

  forgetSeed(): void {
    this.seed?.fill(0);
    this.seed = undefined;
  }
}

const FIRST_READING = Uint32Array.of(FIRST_EPOCH, 0, 0, 0);

/** The main thread's epoch as a source: looked at before every check, and never the second to report a fork. */
class MainThreadSource implements GenerationSource {
  readonly name = 'main thread';
  readonly timing = 'delayed';
  readonly uniqueness = 'counter';
  readonly #shared: Int32Array;
  #seenEpoch: number;
  #seenVouched: number;
  #listener: SourceListener | undefined;

  constructor(shared: Int32Array) {
    this.#shared = shared;
    this.#seenEpoch = FIRST_EPOCH;
    this.#seenVouched = Atomics.load(shared, VOUCHED_WORD);
  }

  look(): void {
    const epoch = Atomics.load(this.#shared, EPOCH_WORD);
    const vouched = Atomics.load(this.#shared, VOUCHED_WORD);
    if (epoch === this.#seenEpoch && vouched === this.#seenVouched) return;
    this.#seenEpoch = epoch;
    this.#seenVouched = vouched;
    this.#listener?.changed();
  }

  read(into: Uint32Array): void {
    if (Atomics.load(this.#shared, VOUCHED_WORD) !== 1) {
      throw new VmGenIdError('ERR_SOURCE_UNREADABLE', 'the main thread has no source that vouches');
    }
    into.fill(0);
    into[0] = Atomics.load(this.#shared, EPOCH_WORD);
  }

  start(listener: SourceListener): void {
    this.#listener = listener;
  }

  close(): void {
    this.#listener = undefined;
  }
}
