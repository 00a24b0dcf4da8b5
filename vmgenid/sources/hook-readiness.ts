// How far a machine has come after a fork, for the host that waits for it: all that is there, and what is missing.
// Promises: `ready` is said of the epoch that holds at that moment, and of nothing that was true before it; who waits gets an
// answer by the deadline, whatever hangs.
// Read on: hook.ts (the call); docs/configuration.md "Waiting until all is there".

import { NO_EPOCH } from '../generation.js';
import type { SourceListener, Standing } from '../source.js';

/** What the program behind the hook says of itself. */
export interface HookReport {
  /** The epoch that all of this is about. */
  readonly epoch: number;
  /** Something parts this clone from its siblings of which no source told, such as a hardware generator. */
  readonly parted?: boolean;
  /** Further fields of the answer. */
  readonly says: Readonly<Record<string, unknown>>;
  /** Names of what is not there yet; empty when all is. */
  readonly missing: readonly string[];
}

/** Asked for each answer. What it throws counts as a report that is missing. */
export type HookReporter = () => HookReport | Promise<HookReport>;

/** A moment in a machine's way back. */
export interface Readiness extends Standing {
  readonly ready: boolean;
  readonly missing: readonly string[];
  readonly [field: string]: unknown;
}

type Listener = Pick<SourceListener, 'look' | 'settled'>;

/** All who wait share one look in so many milliseconds; no look waits longer for subscribers. */
const PACE_MS = 10;

/** Looks at a machine for as many as wait for it. */
export class ReadinessWatch {
  readonly #listener: Listener;
  readonly #report: HookReporter | undefined;
  #next: Promise<Readiness> | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(listener: Listener, report: HookReporter | undefined) {
    this.#listener = listener;
    this.#report = report;
  }

  /** As it is now. What says nothing within `ms` is missing, or as it was in `before`, if that is of the same epoch. */
  async moment(ms: number, before?: Readiness): Promise<Readiness> {
    const found = await within(ms, this.#look());
    if (found) return found;
    const now = this.#listener.look();
    return before && !before.ready && before.epoch === now.epoch ? before : compose(now, undefined);
  }

  /**
   * Resolves when all is there, and the last fork began an epoch above `after`; else after `ms`, or when `gone`, with what is
   * missing.
   */
  async wait(ms: number, after = NO_EPOCH, gone?: { readonly aborted: boolean }): Promise<Readiness> {
    const deadline = performance.now() + ms;
    for (let last: Readiness | undefined; ; ) {
      last = beyond(after, await this.moment(deadline - performance.now(), last));
      const isOver = performance.now() >= deadline || last.epoch === NO_EPOCH || gone?.aborted;
      if (last.ready || isOver) return last;
    }
  }

  #look(): Promise<Readiness> {
    this.#next ??= this.#lookOnce().finally(() => {
      this.#next = undefined;
    });
    return this.#next;
  }

  async #lookOnce(): Promise<Readiness> {
    const pause = this.#lookedAt + PACE_MS - performance.now();
    if (pause > 0) await new Promise(resolve => setTimeout(resolve, pause).unref());
    this.#lookedAt = performance.now();
    const { epoch } = this.#listener.look();
    const isSettled = await within(
      PACE_MS,
      this.#listener.settled().then(() => true),
    );
    const report = await this.#ask(epoch);
    // Last of all: a fork meanwhile, or one that only this look shows, makes old news of what was said.
    const now = this.#listener.look();
    if (now.epoch !== epoch || !report) return compose(now, undefined);
    return compose(now, isSettled ? report : { ...report, missing: ['subscribers', ...report.missing] });
  }

  async #ask(epoch: number): Promise<HookReport | undefined> {
    try {
      return this.#report ? await this.#report() : { epoch, says: {}, missing: [] };
    } catch {
      return undefined;
    }
  }
}

/** What a report is worth in the epoch that holds now. */
export function compose(standing: Standing, report: HookReport | undefined): Readiness {
  const { epoch, forkEpoch } = standing;
  const current = report?.epoch === epoch ? report : undefined;
  const parted = standing.parted || current?.parted === true;
  const missing = [...(parted ? [] : ['parted']), ...(current ? current.missing : ['device'])];
  return { ...current?.says, epoch, forkEpoch, parted, ready: missing.length === 0, missing };
}

// A drill raises the epoch too, and is not what was waited for.
function beyond(after: number, readiness: Readiness): Readiness {
  const { epoch, forkEpoch, missing } = readiness;
  if (forkEpoch > after || epoch === NO_EPOCH || missing.includes('fork')) return readiness;
  return { ...readiness, ready: false, missing: ['fork', ...missing] };
}

/** What comes of it, or undefined when that takes longer. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>(resolve => {
    timer = setTimeout(resolve, Math.max(0, ms), undefined).unref();
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
