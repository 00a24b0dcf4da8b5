// A clone's enrolment, on the main thread: its identity on disk, and whoever is asked for what is not derived.
// Promises: what is asked for one key is given to no other; what fails is said, and tried again later and later; the device
// is silent meanwhile, and waits for none of this where its identity is derived.
// Read on: ../../linux/enrolment.ts (the device's part), identity-file.ts, enroller.ts; docs/configuration.md "Enrolment".

import type { Randomness } from '../../../crng/randomness.js';
import { equalBytes } from '../../../native/bytes.js';
import type { Suite } from '../../../protocol/suite.js';
import { type VmGenId, isUnforkedSince } from '../../../vmgenid/driver.js';
import type { CloneSettings } from '../../config/enrolment-config.js';
import { type IdentityConfig, formatPrefix, parseIdentityConfig } from '../../config/config.js';
import { type ResolveEndpoints, toldIdentity } from '../../config/told-identity.js';
import { encodeKey } from '../../keys.js';
import {
  type Enrolled,
  type EnrolmentOrder,
  type EnrolmentReport,
  type KeptIdentity,
  type ToldIdentity,
  eraseIdentity,
  eraseTold,
} from '../../linux/enrolment.js';
import type { ThreadDeviceEvent } from '../device-thread/messages.js';
import type { EnrolmentStatus } from '../status.js';
import { askEnroller } from './enroller.js';
import { generationOf, readIdentity, removeIdentity, writeIdentity } from './identity-file.js';

/** What is worth a line in the log. */
export type CloneEvent =
  | { readonly type: 'enrolled'; readonly enrolled: Enrolled; readonly isNew: boolean }
  /** The identity on disk is not taken: a new one is made. */
  | { readonly type: 'identityRefused'; readonly path: string; readonly reason: string }
  | { readonly type: 'identityNotKept'; readonly path: string; readonly reason: string }
  /** That of the machine that this one was copied from cannot be removed. */
  | { readonly type: 'identityLeft'; readonly path: string; readonly reason: string }
  | {
      readonly type: 'enrollerFailed';
      readonly program: string;
      readonly reason: string;
      readonly againInMs: number;
    };

/** The device, as far as it is told of identities. */
export interface CloneDevice {
  /** False: that key is not the one that waits any more. */
  tellIdentity(publicKey: Uint8Array, told: ToldIdentity): Promise<boolean>;
  /** False: another epoch has begun. */
  setIdentity(identity: KeptIdentity, epoch: number): Promise<boolean>;
}

export interface CloneOptions {
  readonly settings: CloneSettings;
  /** For what is derived: 32 bytes, the clone's from here on. */
  readonly secret: Uint8Array | undefined;
  readonly vmgenid: Pick<VmGenId, 'check' | 'forkEpoch' | 'ids'>;
  readonly suite: Suite;
  readonly interfaceName: () => string;
  /** For the time between two questions. */
  readonly randomness: Randomness;
  readonly resolve: ResolveEndpoints;
  /** Calls back once, in so many milliseconds, unless what it returns is called. */
  readonly after: (ms: number, callback: () => void) => () => void;
  readonly onEvent: (event: CloneEvent) => void;
  /** Default: as `askEnroller` has it. */
  readonly enrollerTimeoutMs?: number | undefined;
}

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
const NO_UNIQUE_SOURCE =
  'no source here tells at the start which generation this machine is, and so whose it would be';

interface Asked {
  readonly publicKey: Uint8Array;
  readonly epoch: number;
  readonly over: AbortController;
}

export class Clone {
  readonly #options: CloneOptions;
  #device: CloneDevice | undefined;
  /** The key that the rest is to be told for. */
  #asked: Asked | undefined;
  /** What the hook has brought, for a key that is still to be drawn. */
  #brought: { readonly epoch: number; readonly told: ToldIdentity } | undefined;
  #enrolled: Enrolled | undefined;
  /** Why the enroller's last answer was none. */
  #failure: string | undefined;
  /** Resolves with the next, for all that wait. */
  #next = nextEnrolled();

  constructor(options: CloneOptions) {
    this.#options = options;
  }

  /** For the device's thread, once, when it starts. The secrets in it are the thread's. */
  order(): EnrolmentOrder {
    const { settings, secret, vmgenid } = this.#options;
    const { method } = settings;
    const epoch = vmgenid.check();
    const identity = this.#read();
    if (method.kind !== 'derived' || !secret) return { identity, epoch };
    return { derive: { secret, prefix: method.prefix, gateways: method.gateways }, identity, epoch };
  }

  /** Call when the thread has its order. */
  attach(device: CloneDevice): void {
    this.#device = device;
    this.#ask();
  }

  /** Call with every event of the device. */
  hear(event: ThreadDeviceEvent): void {
    if (event.type === 'vmFork' && !event.isDrill) {
      this.stopAsking();
      if (this.#brought && this.#brought.epoch < event.epoch) this.#dropBrought();
      this.#dropKept();
    }
    if (event.type !== 'identityDrawn' || this.#options.settings.method.kind === 'derived') return;
    this.stopAsking();
    this.#asked = { publicKey: event.publicKey, epoch: event.epoch, over: new AbortController() };
    this.#ask();
  }

  /** Call when the device speaks under an identity. */
  enrolled(enrolled: Enrolled): void {
    this.stopAsking();
    this.#keep(enrolled);
    this.#enrolled = enrolled;
    this.#options.onEvent({ type: 'enrolled', enrolled, isNew: enrolled.privateKey !== undefined });
    const { resolve } = this.#next;
    this.#next = nextEnrolled();
    resolve(enrolled);
  }

  /** Resolves when the device speaks under an identity of this epoch, or of a later one. */
  async enrolledIn(epoch: number): Promise<Enrolled> {
    let enrolled = this.#enrolled;
    // What comes may be word of one that a fork has ended meanwhile.
    while (!enrolled || enrolled.epoch < epoch) enrolled = await this.#next.promise;
    return enrolled;
  }

  /** What the hook has brought for the key of this epoch, which may still have to be drawn. */
  bring(epoch: number, told: ToldIdentity): void {
    // The names in it took their time, and another call has overtaken it.
    if (this.#brought && this.#brought.epoch > epoch) return eraseTold(told);
    this.#dropBrought();
    this.#brought = { epoch, told };
    if (this.#enrolled && this.#enrolled.epoch >= epoch) this.#dropBrought();
    else this.#ask();
  }

  /** An identity from outside, key and all. False: it came for an epoch that is over. */
  async become(epoch: number, privateKey: Uint8Array, told: ToldIdentity): Promise<boolean> {
    const identity = { privateKey, told, parent: undefined, since: undefined };
    if (this.#device) return this.#device.setIdentity(identity, epoch);
    eraseIdentity(identity);
    return false;
  }

  /** Call when the device speaks: nobody else need be asked. */
  stopAsking(): void {
    this.#asked?.over.abort();
    this.#asked = undefined;
    this.#failure = undefined;
  }

  status({ stage, addresses, since, parent, trouble }: EnrolmentReport): EnrolmentStatus {
    return {
      method: this.#options.settings.method.kind,
      stage,
      addresses: stage === 'enrolled' ? addresses.map(formatPrefix) : [],
      since: since ?? null,
      parent: parent ? encodeKey(parent) : null,
      waitsFor: this.#waitsFor(stage, trouble),
    };
  }

  close(): void {
    this.stopAsking();
    this.#dropBrought();
  }

  #waitsFor(stage: EnrolmentReport['stage'], trouble: string | undefined): string | null {
    const { method } = this.#options.settings;
    if (stage === 'drawing') return 'random numbers that no other clone has';
    if (stage === 'addressing') return trouble ?? 'an address';
    if (stage !== 'asking') return null;
    if (method.kind !== 'exec') return "the hook's call";
    return this.#failure === undefined ? method.program : `${method.program}, which ${this.#failure}`;
  }

  #read(): KeptIdentity | undefined {
    const { settings, vmgenid, suite, onEvent } = this.#options;
    const path = settings.identityFile;
    const generation = generationOf(vmgenid.ids);
    if (!generation) {
      onEvent({ type: 'identityNotKept', path, reason: NO_UNIQUE_SOURCE });
      return undefined;
    }
    try {
      const stored = readIdentity(path, suite);
      if (!stored || equalBytes(stored.generation, generation)) return stored;
      eraseIdentity(stored);
      throw new Error('it belongs to another generation, of which this machine is a copy');
    } catch (error) {
      onEvent({ type: 'identityRefused', path, reason: (error as Error).message });
      return undefined;
    }
  }

  #keep({ privateKey, publicKey, parent, since, told, epoch }: Enrolled): void {
    if (!privateKey) return;
    const { settings, vmgenid, onEvent } = this.#options;
    const path = settings.identityFile;
    try {
      const generation = generationOf(vmgenid.ids);
      // After another fork, of which no ID tells before it is looked for, the key is that of the machine
      // that was copied.
      if (!generation || !isUnforkedSince(vmgenid, epoch)) return;
      writeIdentity(path, { privateKey, publicKey, generation, parent, since, told });
    } catch (error) {
      onEvent({ type: 'identityNotKept', path, reason: (error as Error).message });
    } finally {
      privateKey.fill(0);
      if (told) eraseTold(told);
    }
  }

  /** What is kept is of the machine that was copied, whatever generation stands in it: not every fork changes that. */
  #dropKept(): void {
    const { settings, onEvent } = this.#options;
    const path = settings.identityFile;
    try {
      removeIdentity(path);
    } catch (error) {
      onEvent({ type: 'identityLeft', path, reason: (error as Error).message });
    }
  }

  #ask(): void {
    const asked = this.#asked;
    const device = this.#device;
    if (!asked || !device) return;
    const { method } = this.#options.settings;
    if (method.kind === 'exec') void this.#askProgram(method.program, asked, device);
    else if (this.#brought && this.#brought.epoch === asked.epoch) {
      const { told } = this.#brought;
      this.#brought = undefined;
      // The thread has ended, or could not take it: it goes on waiting for a call, and the caller hears that it is not enrolled.
      device.tellIdentity(asked.publicKey, told).catch(() => undefined);
    }
  }

  async #askProgram(program: string, asked: Asked, device: CloneDevice): Promise<void> {
    const { interfaceName, resolve, onEvent, enrollerTimeoutMs } = this.#options;
    const { publicKey, epoch, over } = asked;
    for (let failures = 0; !over.signal.aborted; failures++) {
      try {
        const question = { program, publicKey: encodeKey(publicKey), interface: interfaceName(), epoch };
        const text = await askEnroller({ ...question, signal: over.signal, timeoutMs: enrollerTimeoutMs });
        const told = await toldIdentity(parsed(text), resolve);
        if (over.signal.aborted) eraseTold(told);
        else await device.tellIdentity(publicKey, told);
        return;
      } catch (error) {
        // A fork has ended it, or the daemon.
        if (over.signal.aborted) return;
        const againInMs = this.#pause(failures);
        this.#failure = (error as Error).message;
        onEvent({ type: 'enrollerFailed', program, reason: this.#failure, againInMs });
        await this.#wait(againInMs, over.signal);
      }
    }
  }

  /** Longer each time, and so that a thousand clones do not ask at one moment. */
  #pause(failures: number): number {
    const { randomness } = this.#options;
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures);
    return Math.round((longest * (randomness.isFresh() ? 50 + randomness.below(51) : 100)) / 100);
  }

  #wait(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const end = () => {
        cancel();
        signal.removeEventListener('abort', end);
        resolve();
      };
      const cancel = this.#options.after(ms, end);
      signal.addEventListener('abort', end);
    });
  }

  #dropBrought(): void {
    if (this.#brought) eraseTold(this.#brought.told);
    this.#brought = undefined;
  }
}

interface Next {
  readonly promise: Promise<Enrolled>;
  readonly resolve: (enrolled: Enrolled) => void;
}

function nextEnrolled(): Next {
  let resolve: Next['resolve'] = () => {};
  const promise = new Promise<Enrolled>(each => (resolve = each));
  return { promise, resolve };
}

function parsed(text: string): IdentityConfig {
  try {
    return parseIdentityConfig(text, 'its output');
  } catch (error) {
    throw new Error(`printed no identity: ${(error as Error).message}`, { cause: error });
  }
}
