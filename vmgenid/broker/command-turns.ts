// When the command is run: for every fork, and once more when the kernel has reseeded since.
// Promises: one run at a time, and the last one is about the newest fork; a newer fork ends the run for an older one; what
// failed is tried again, until it succeeds or there is something newer to tell.
// Read on: command.ts for one run; docs/services.md for what such a command does.

import { runCommand } from './command.js';
import type { BrokerLine } from './lines.js';

/** What the command is told of: the fork, and whether the kernel has reseeded since. */
export type Occasion = Omit<BrokerLine & { event: 'fork' }, 'event'>;

/** From a failure to the next try: this long, and twice as long after each further one. Milliseconds. */
export const RETRY_FIRST_MS = 1_000;
export const RETRY_LONGEST_MS = 60_000;

export interface CommandTurnsOptions {
  readonly command: string;
  /** Milliseconds for one run. */
  readonly timeoutMs: number;
  /** A run has succeeded, and nothing newer is to be told. */
  readonly onDone: (occasion: Occasion) => void;
  readonly onFailed: (occasion: Occasion, reason: string) => void;
}

export class CommandTurns {
  readonly #options: CommandTurnsOptions;
  readonly #waiting: { readonly epoch: number; readonly resolve: (succeeded: boolean) => void }[] = [];
  /** The newest there is to tell, until it is told. */
  #next: Occasion | undefined;
  #run:
    | { readonly epoch: number; readonly overtaken: AbortController; readonly ended: Promise<void> }
    | undefined;
  #retryMs = RETRY_FIRST_MS;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: CommandTurnsOptions) {
    this.#options = options;
  }

  /** Resolves when a run for this fork, or for a newer one, has ended: did it succeed? Never rejects. */
  tell(occasion: Occasion): Promise<boolean> {
    this.#next = occasion;
    this.#retryMs = RETRY_FIRST_MS;
    clearTimeout(this.#retry);
    // What an older fork made it do is void, and may draw from the generator of before.
    if (this.#run && this.#run.epoch !== occasion.epoch) this.#run.overtaken.abort();
    this.#start();
    return new Promise(resolve => this.#waiting.push({ epoch: occasion.epoch, resolve }));
  }

  /** Starts no more; resolves when the run of now has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#run?.ended;
    for (const { resolve } of this.#waiting.splice(0)) resolve(false);
  }

  #start(): void {
    const occasion = this.#next;
    if (this.#run || !occasion || this.#closed) return;
    const overtaken = new AbortController();
    const { command, timeoutMs } = this.#options;
    const ended = runCommand(command, variables(occasion), timeoutMs, overtaken.signal).then(failure => {
      this.#run = undefined;
      if (!overtaken.signal.aborted) this.#judge(occasion, failure);
      if (this.#next !== occasion) this.#start();
    });
    this.#run = { epoch: occasion.epoch, overtaken, ended };
  }

  #judge(occasion: Occasion, failure: string | undefined): void {
    if (failure !== undefined) this.#options.onFailed(occasion, failure);
    if (this.#next === occasion) {
      if (failure === undefined) {
        this.#next = undefined;
        this.#options.onDone(occasion);
      } else if (!this.#closed) {
        this.#retry = setTimeout(() => this.#start(), this.#retryMs).unref();
        this.#retryMs = Math.min(2 * this.#retryMs, RETRY_LONGEST_MS);
      }
    }
    const answered = this.#waiting.filter(({ epoch }) => epoch <= occasion.epoch);
    this.#waiting.splice(0, answered.length);
    for (const { resolve } of answered) resolve(failure === undefined);
  }
}

function variables({ epoch, counter, vmGenId, reseeded, source }: Occasion): Record<string, string> {
  return {
    WIREONCE_EPOCH: String(epoch),
    WIREONCE_COUNTER: counter === null ? '' : String(counter),
    WIREONCE_VMGENID: vmGenId ?? '',
    WIREONCE_RESEEDED: reseeded ? '1' : '0',
    WIREONCE_SOURCE: source,
  };
}
