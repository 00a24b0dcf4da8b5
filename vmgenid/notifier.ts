// The VM-fork notifier chain: who must know of a fork, and in which order.
// Promises: phases in order, one failing subscriber stops nobody, a subscriber may come or go at any time.
// Read on: Linux include/linux/notifier.h; random.c register_random_vmfork_notifier().

import { VmGenIdError } from './errors.js';

/**
 * The phases, in the order in which they run. `randomness`: generators part their streams. `sessions`: keys are
 * erased. `application`: programs react, and find fresh randomness and no old session.
 */
export const PHASES = ['randomness', 'sessions', 'application'] as const;
/** One of `PHASES`: earlier ones are told first. */
export type Phase = (typeof PHASES)[number];

/** What a subscriber is told about a fork. */
export interface VmFork {
  /** The epoch that began with it. */
  readonly epoch: number;
  /** The source that showed it first; `drill` for what is none. */
  readonly source: string;
  /** The new generation ID, 16 bytes, when a unique source gave one. */
  readonly vmGenId?: Uint8Array;
  /** There was no fork: somebody has asked for what follows one. */
  readonly isDrill?: true;
}

/** What is called at a fork. */
export type ForkSubscriber = (fork: VmFork) => void | Promise<void>;

/** How a subscriber is called. */
export interface SubscriberOptions {
  /** Shown in reports of a failure. */
  readonly name?: string;
  /** Within a phase higher numbers are told first; equal numbers in the order of registration. Default 0. */
  readonly priority?: number;
}

/** A subscriber that threw, or whose promise rejected. */
export interface SubscriberFailure {
  readonly subscriber: string;
  readonly phase: Phase;
  readonly error: unknown;
}

interface Entry {
  readonly phase: Phase;
  readonly subscriber: ForkSubscriber;
  readonly name: string;
  readonly priority: number;
  active: boolean;
}

/** Who is told of a fork, phase by phase. */
export class NotifierChain {
  readonly #entries: Entry[] = [];
  readonly #report: (failure: SubscriberFailure) => void;
  #settled: Promise<void> = Promise.resolve();

  /** `report` hears of every subscriber that threw or whose promise was rejected; it must not throw. */
  constructor(report: (failure: SubscriberFailure) => void) {
    this.#report = report;
  }

  /**
   * Adds a subscriber and returns the function that removes it. One that registers during a notification hears of
   * the next fork: it was born in the new epoch. One removed during a notification is no longer called. Throws
   * `ERR_SUBSCRIBER` for an unknown phase or a priority that is not a number: an order nobody meant.
   */
  register(phase: Phase, subscriber: ForkSubscriber, options: SubscriberOptions = {}): () => void {
    const { name = subscriber.name || 'anonymous', priority = 0 } = options;
    const entry: Entry = { phase, subscriber, name, priority, active: true };
    if (!PHASES.includes(phase)) {
      throw new VmGenIdError(
        'ERR_SUBSCRIBER',
        `unknown phase ${JSON.stringify(phase)}: use ${PHASES.join(', ')}`,
      );
    }
    if (Number.isNaN(priority)) throw new VmGenIdError('ERR_SUBSCRIBER', 'the priority is not a number');
    const later = this.#entries.findIndex(other => runsBefore(entry, other));
    this.#entries.splice(later === -1 ? this.#entries.length : later, 0, entry);
    return () => {
      if (!entry.active) return;
      entry.active = false;
      this.#entries.splice(this.#entries.indexOf(entry), 1);
    };
  }

  get size(): number {
    return this.#entries.length;
  }

  /** Tells everybody, in order, before it returns. What subscribers do asynchronously is awaited by `settled`. */
  notify(fork: VmFork): void {
    const pending: Promise<void>[] = [this.#settled];
    for (const entry of this.#entries.slice()) {
      if (!entry.active) continue;
      const failed = (error: unknown) => this.#report({ subscriber: entry.name, phase: entry.phase, error });
      try {
        pending.push(Promise.resolve(entry.subscriber(fork)).catch(failed));
      } catch (error) {
        failed(error);
      }
    }
    this.#settled = Promise.all(pending).then(() => undefined);
  }

  /** Resolves when the asynchronous part of every notification so far is done. */
  settled(): Promise<void> {
    return this.#settled;
  }
}

function runsBefore(a: Entry, b: Entry): boolean {
  const phases = PHASES.indexOf(a.phase) - PHASES.indexOf(b.phase);
  return phases < 0 || (phases === 0 && a.priority > b.priority);
}
