// The broker: tells every other program on this machine of forks, by a page of memory, a socket and a command.
// Promises: the page moves before anybody else is told, and is touched last: a start that fails changes nothing; a
// fork counts as settled when all that asked to be waited for have answered, or have had their time; nobody who
// listens can hold it up for longer.
// Read on: docs/configuration.md "The broker"; the SysGenID proposal for Linux, whose place this takes.

import type { VmGenId } from '../driver.js';
import { formatGuid } from '../generation.js';
import type { VmFork } from '../notifier.js';
import { runCommand } from './command.js';
import { CounterPage, type PageHistory } from './counter-page.js';
import type { BrokerLine } from './lines.js';
import { PageLock } from './page-lock.js';
import { BrokerSocket } from './socket.js';

/** Where other programs are told, and what is run. */
export interface BrokerOptions {
  readonly vmgenid: Pick<VmGenId, 'register' | 'onEvidence' | 'evidence' | 'epoch'>;
  /** A file for the counter page; made when it is not there. */
  readonly counterFile?: string | undefined;
  /** A Unix socket for subscribers. */
  readonly socket?: string | undefined;
  /** Who may connect, as a file's mode. Default 0600. */
  readonly socketMode?: number | undefined;
  /** Run by the shell for every fork. */
  readonly command?: string | undefined;
  /** Milliseconds that subscribers and the command have for a fork. Default 10000. */
  readonly ackTimeoutMs?: number | undefined;
  /** Must not throw. */
  readonly onEvent?: ((event: BrokerEvent) => void) | undefined;
}

/** What `onEvent` of a broker hears. */
export type BrokerEvent =
  /** At the start: what the page said about the time in which no broker ran. */
  | { readonly type: 'page'; readonly history: PageHistory; readonly counter: number }
  | {
      readonly type: 'settled';
      readonly epoch: number;
      readonly acknowledged: number;
      /** Subscribers that went or did not answer in time, and the command if it failed. */
      readonly missed: number;
    }
  | { readonly type: 'commandFailed'; readonly epoch: number; readonly reason: string }
  /** A client was refused or sent away. */
  | { readonly type: 'clientTrouble'; readonly reason: string };

const DEFAULT_ACK_TIMEOUT_MS = 10_000;
/**
 * Without a word of it, the kernel has reseeded after this time all the same: it does so once a minute (Linux random.c
 * CRNG_RESEED_INTERVAL). Milliseconds.
 */
export const KERNEL_RESEED_MS = 61_000;

/** Tells other programs of forks, by a page to map or read, a socket and a command. */
export class Broker {
  readonly #options: BrokerOptions;
  readonly #ackTimeoutMs: number;
  readonly #unregister: (() => void)[] = [];
  readonly #running = new Set<Promise<unknown>>();
  #lock: PageLock | undefined;
  #page: CounterPage | undefined;
  #socket: BrokerSocket | undefined;
  /** The latest epoch since whose beginning the kernel has reseeded. */
  #reseededEpoch: number;
  #reseedTimer: NodeJS.Timeout | undefined;

  private constructor(options: BrokerOptions) {
    this.#options = options;
    this.#ackTimeoutMs = options.ackTimeoutMs ?? DEFAULT_ACK_TIMEOUT_MS;
    this.#reseededEpoch = options.vmgenid.epoch;
  }

  /**
   * Tells of every fork from now on, and by the page of one that happened since the last broker ended. Throws
   * `ERR_BROKER_FILE`, `ERR_BROKER_IN_USE`, `ERR_BROKER_LISTEN`; then nothing has changed.
   */
  static async open(options: BrokerOptions): Promise<Broker> {
    const broker = new Broker(options);
    try {
      await broker.#open();
    } catch (error) {
      await broker.close();
      throw error;
    }
    return broker;
  }

  /** Where the counter stands; `undefined` without a page. */
  get counter(): number | undefined {
    return this.#page?.counter;
  }

  /** Programs on the socket now. */
  get clients(): number {
    return this.#socket?.clients ?? 0;
  }

  /** Tells nobody any more. The page stays, for those who have mapped it. Waits for commands that run. */
  async close(): Promise<void> {
    for (const unregister of this.#unregister.splice(0)) unregister();
    clearTimeout(this.#reseedTimer);
    await this.#socket?.close();
    await Promise.allSettled(this.#running);
    this.#page?.close();
    this.#lock?.release();
  }

  async #open(): Promise<void> {
    const { vmgenid, counterFile, socket, socketMode = 0o600 } = this.#options;
    // Registered before anything is opened: a fork meanwhile is in the page when it is, and told when that can be.
    this.#unregister.push(
      vmgenid.register('randomness', fork => this.#page?.bump(fork.vmGenId), {
        name: 'counter page',
        priority: Number.MAX_SAFE_INTEGER,
      }),
      vmgenid.register('application', fork => this.#tell(fork), { name: 'broker' }),
      vmgenid.onEvidence(() => vmgenid.evidence.kernelReseeded && this.#tellReseeded()),
    );
    if (counterFile !== undefined) this.#lock = new PageLock(counterFile);
    if (socket !== undefined) {
      this.#socket = await BrokerSocket.listen({
        path: socket,
        mode: socketMode,
        ackTimeoutMs: this.#ackTimeoutMs,
        epoch: () => vmgenid.epoch,
        greet: () => ({ event: 'hello', version: 1, epoch: vmgenid.epoch, counter: this.counter ?? null }),
        onTrouble: reason => this.#emit({ type: 'clientTrouble', reason }),
      });
    }
    // The page last: a start that fails before it, or at it, has changed nothing.
    if (counterFile !== undefined) this.#openPage(counterFile);
    this.#socket?.welcome();
  }

  #openPage(path: string): void {
    this.#page = new CounterPage(path, this.#options.vmgenid.evidence.vmGenId);
    const { history, counter } = this.#page;
    if (history === 'new') this.#page.reseeded();
    // The broker before may have ended before the kernel had reseeded.
    if (!this.#page.isReseeded) this.#awaitReseed();
    this.#emit({ type: 'page', history, counter });
  }

  // The chain waits for what this returns: whoever asks the driver to settle waits for our subscribers too.
  async #tell({ epoch, source, vmGenId }: VmFork): Promise<void> {
    const reseeded = this.#options.vmgenid.evidence.kernelReseeded;
    const guid = vmGenId ? formatGuid(vmGenId) : null;
    const line: BrokerLine = {
      event: 'fork',
      epoch,
      counter: this.counter ?? null,
      vmGenId: guid,
      reseeded,
      source,
    };
    this.#socket?.tell(line);
    if (reseeded) this.#reseeded(epoch);
    else this.#awaitReseed();
    const outcomes = await Promise.all([
      this.#socket?.acknowledgements(epoch) ?? { acknowledged: 0, missed: 0 },
      this.#runCommand(line),
    ]);
    const acknowledged = outcomes.reduce((sum, outcome) => sum + outcome.acknowledged, 0);
    const missed = outcomes.reduce((sum, outcome) => sum + outcome.missed, 0);
    this.#socket?.tell({ event: 'settled', epoch, acknowledged, missed });
    this.#emit({ type: 'settled', epoch, acknowledged, missed });
  }

  async #runCommand(fork: BrokerLine & { event: 'fork' }) {
    const { command } = this.#options;
    if (command === undefined) return { acknowledged: 0, missed: 0 };
    const { epoch, counter, vmGenId, reseeded, source } = fork;
    const variables = {
      WIREONCE_EPOCH: String(epoch),
      WIREONCE_COUNTER: counter === null ? '' : String(counter),
      WIREONCE_VMGENID: vmGenId ?? '',
      WIREONCE_RESEEDED: reseeded ? '1' : '0',
      WIREONCE_SOURCE: source,
    };
    const running = runCommand(command, variables, this.#ackTimeoutMs);
    this.#running.add(running);
    const reason = await running;
    this.#running.delete(running);
    if (reason === undefined) return { acknowledged: 1, missed: 0 };
    this.#emit({ type: 'commandFailed', epoch, reason });
    return { acknowledged: 0, missed: 1 };
  }

  #awaitReseed(): void {
    clearTimeout(this.#reseedTimer);
    this.#reseedTimer = setTimeout(() => this.#tellReseeded(), KERNEL_RESEED_MS).unref();
  }

  #tellReseeded(): void {
    const { epoch } = this.#options.vmgenid;
    const isNews = this.#reseededEpoch !== epoch;
    this.#reseeded(epoch);
    if (isNews) this.#socket?.tell({ event: 'reseeded', epoch });
  }

  #reseeded(epoch: number): void {
    clearTimeout(this.#reseedTimer);
    this.#reseededEpoch = epoch;
    this.#page?.reseeded();
  }

  #emit(event: BrokerEvent): void {
    this.#options.onEvent?.(event);
  }
}
