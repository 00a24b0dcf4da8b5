// The broker: tells every other program on this machine of forks, by a page of memory, a socket and a command.
// Promises: the page moves before anybody else is told, and is touched last: a start that fails changes nothing; a
// fork counts as settled when all that asked to be waited for have answered, or have had their time; nobody who
// listens can hold it up for longer. The command runs whenever the counter has moved, whoever was there to see it.
// Read on: docs/configuration.md "The broker"; the SysGenID proposal for Linux, whose place this takes.

import { readFileSync } from 'node:fs';
import type { VmGenId } from '../driver.js';
import { NO_EPOCH, formatGuid } from '../generation.js';
import type { VmFork } from '../notifier.js';
import type { HookReport } from '../sources/hook-readiness.js';
import { CommandTurns, type Occasion } from './command-turns.js';
import { CounterPage, type PageHistory } from './counter-page.js';
import { PageLock } from './page-lock.js';
import { BrokerSocket } from './socket.js';

/** Where other programs are told, and what is run. */
export interface BrokerOptions {
  readonly vmgenid: Pick<VmGenId, 'register' | 'onEvidence' | 'evidence' | 'epoch' | 'history'>;
  /** A file for the counter page; made when it is not there. */
  readonly counterFile?: string | undefined;
  /** A Unix socket for subscribers. */
  readonly socket?: string | undefined;
  /** Who may connect, as a file's mode. Default 0600. */
  readonly socketMode?: number | undefined;
  /** Run by the shell for every fork, and once more when the kernel has reseeded since. */
  readonly command?: string | undefined;
  /** Milliseconds that subscribers, and each run of the command, have for a fork. Default 10000. */
  readonly ackTimeoutMs?: number | undefined;
  /** Another one after each boot. Default: the kernel's. */
  readonly bootId?: string | undefined;
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
  /** The command has succeeded; `reseeded`: and the kernel had reseeded, so that this was its last run for the fork. */
  | { readonly type: 'commandDone'; readonly epoch: number; readonly reseeded: boolean }
  /** It is tried again. */
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
  readonly #command: CommandTurns | undefined;
  #lock: PageLock | undefined;
  #page: CounterPage | undefined;
  #socket: BrokerSocket | undefined;
  /** The latest epoch since whose beginning the kernel has reseeded. */
  #reseededEpoch: number;
  #reseedTimer: NodeJS.Timeout | undefined;
  /** The latest epoch in which no run of the command is owed: of its start, or in which it has succeeded. */
  #commandEpoch: number;
  /** What the command was told last. */
  #occasion: Occasion | undefined;

  private constructor(options: BrokerOptions) {
    this.#options = options;
    this.#ackTimeoutMs = options.ackTimeoutMs ?? DEFAULT_ACK_TIMEOUT_MS;
    this.#reseededEpoch = options.vmgenid.epoch;
    this.#commandEpoch = options.vmgenid.epoch;
    const { command } = options;
    if (command === undefined) return;
    this.#command = new CommandTurns({
      command,
      timeoutMs: this.#ackTimeoutMs,
      onDone: ({ epoch, reseeded, counter }) => {
        this.#commandEpoch = epoch;
        if (reseeded && counter !== null) this.#page?.commandDone(counter);
        this.#emit({ type: 'commandDone', epoch, reseeded });
      },
      onFailed: ({ epoch }, reason) => this.#emit({ type: 'commandFailed', epoch, reason }),
    });
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

  /** For the host that waits at the hook: a fork is not over before the command has succeeded for it once. */
  report(): HookReport {
    const { epoch } = this.#options.vmgenid;
    const isDone = !this.#command || this.#commandEpoch === epoch;
    return { epoch, says: {}, missing: isDone ? [] : ['command'] };
  }

  /** Tells nobody any more. The page stays, for those who have mapped it. Waits for a command that runs. */
  async close(): Promise<void> {
    for (const unregister of this.#unregister.splice(0)) unregister();
    clearTimeout(this.#reseedTimer);
    await this.#socket?.close();
    await this.#command?.close();
    this.#page?.close();
    this.#lock?.release();
  }

  async #open(): Promise<void> {
    const { vmgenid, counterFile, socket, socketMode = 0o600 } = this.#options;
    // Registered before anything is opened: a fork meanwhile is in the page when it is, and told when that can be.
    this.#unregister.push(
      vmgenid.register('randomness', fork => this.#page?.bump(this.#mark(this.#idAfter(fork))), {
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
    this.#page = new CounterPage(path, this.#mark(this.#options.vmgenid.evidence.vmGenId));
    const { history, counter } = this.#page;
    if (history === 'new') {
      this.#page.reseeded();
      this.#page.commandDone(counter);
    }
    // The broker before may have ended before the kernel had reseeded.
    const reseeded = this.#page.isReseeded;
    if (!reseeded) {
      this.#reseededEpoch = NO_EPOCH;
      this.#awaitReseed();
    }
    this.#emit({ type: 'page', history, counter });
    // Or before its command was through, or before the fork.
    if (!this.#page.isCommandDone) {
      this.#commandEpoch = NO_EPOCH;
      const { epoch, evidence } = this.#options.vmgenid;
      void this.#runCommand({
        epoch,
        counter,
        vmGenId: guidOf(evidence.vmGenId),
        reseeded,
        source: 'counter page',
      });
    }
  }

  // The chain waits for what this returns: whoever asks the driver to settle waits for our subscribers too.
  async #tell(told: VmFork): Promise<void> {
    const { epoch, source } = told;
    const reseeded = this.#options.vmgenid.evidence.kernelReseeded;
    const vmGenId = guidOf(this.#idAfter(told));
    const fork = { epoch, counter: this.counter ?? null, vmGenId, reseeded, source };
    this.#socket?.tell({ event: 'fork', ...fork });
    if (reseeded) this.#reseeded(epoch);
    else this.#awaitReseed();
    const outcomes = await Promise.all([
      this.#socket?.acknowledgements(epoch) ?? { acknowledged: 0, missed: 0 },
      this.#runCommand(fork),
    ]);
    const acknowledged = outcomes.reduce((sum, outcome) => sum + outcome.acknowledged, 0);
    const missed = outcomes.reduce((sum, outcome) => sum + outcome.missed, 0);
    this.#socket?.tell({ event: 'settled', epoch, acknowledged, missed });
    this.#emit({ type: 'settled', epoch, acknowledged, missed });
  }

  async #runCommand(occasion: Occasion) {
    if (!this.#command) return { acknowledged: 0, missed: 0 };
    this.#occasion = occasion;
    const succeeded = await this.#command.tell(occasion);
    return succeeded ? { acknowledged: 1, missed: 0 } : { acknowledged: 0, missed: 1 };
  }

  /** A drill leaves it as it is: who forgot it would take the next start for a fork that was missed. */
  #idAfter({ isDrill, vmGenId }: VmFork): Uint8Array | undefined {
    return isDrill ? this.#options.vmgenid.evidence.vmGenId : vmGenId;
  }

  /**
   * By what the next start tells whether there was a fork meanwhile: the ID, or in this boot what the
   * sources show without one.
   */
  #mark(vmGenId: Uint8Array | undefined): Uint8Array | undefined {
    const { vmgenid, bootId = kernelBootId() } = this.#options;
    const { history } = vmgenid;
    return (
      vmGenId ?? (history && bootId !== '' ? Buffer.concat([Buffer.from(bootId), ...history]) : undefined)
    );
  }

  #awaitReseed(): void {
    clearTimeout(this.#reseedTimer);
    this.#reseedTimer = setTimeout(() => this.#tellReseeded(), KERNEL_RESEED_MS).unref();
  }

  #tellReseeded(): void {
    const { epoch } = this.#options.vmgenid;
    const isNews = this.#reseededEpoch !== epoch;
    this.#reseeded(epoch);
    if (!isNews) return;
    this.#socket?.tell({ event: 'reseeded', epoch });
    if (this.#occasion) void this.#runCommand({ ...this.#occasion, reseeded: true });
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

/** Empty where there is none. */
function kernelBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return '';
  }
}

function guidOf(vmGenId: Uint8Array | undefined): string | null {
  return vmGenId ? formatGuid(vmGenId) : null;
}
