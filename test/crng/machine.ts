// Machines for the tests of the generator: everything that a clone copies comes from a seed, so that two machines
// built alike are clones, to the byte. What a test lets differ after that is what differs in the world.

import { chacha20 } from '@noble/ciphers/chacha.js';
import { Crng, type CrngEvent, type CrngOptions, type EntropySource } from 'wireonce/crng';
import {
  type Announcement,
  type ForkEvidence,
  type ForkGuard,
  type GenerationSource,
  MemorySource,
  type MemorySourceOptions,
  type SourceListener,
  VmGenId,
  type VmGenIdOptions,
} from 'wireonce/vmgenid';

export const ID_A = new Uint8Array(16).fill(0xa1);
export const ID_B = new Uint8Array(16).fill(0xb2);

/** A kernel that gives both clones the same bytes, until `part` is called. */
export class RepeatingEntropy implements EntropySource {
  readonly name = 'repeating';
  readonly inProcess: boolean;
  readonly #key: Uint8Array;
  #reads = 0;
  broken = false;

  constructor(seed: number, inProcess = false) {
    this.#key = new Uint8Array(32).fill(seed);
    this.inProcess = inProcess;
  }

  get reads(): number {
    return this.#reads;
  }

  /** The kernel of this clone has reseeded: from now on it gives what no sibling gets. */
  part(by: number): void {
    this.#key.fill(by, 16);
  }

  read(into: Uint8Array): void {
    if (this.broken) throw new Error('no entropy today');
    const nonce = new Uint8Array(12);
    new DataView(nonce.buffer).setUint32(0, this.#reads++, true);
    into.set(chacha20(this.#key, nonce, new Uint8Array(into.length)));
  }

  close(): void {}
}

/** A source that says what it is told to, as a kernel log or a hypervisor's hook would. */
export class Announcer implements GenerationSource {
  readonly name = 'announcer';
  readonly timing = 'delayed';
  readonly uniqueness = 'counter';
  /** What is found when somebody looks before this source speaks by itself. */
  poll?: () => void;
  #listener: SourceListener | undefined;

  start(listener: SourceListener): void {
    this.#listener = listener;
  }

  announce(announcement: Announcement): void {
    this.#listener?.announce(announcement);
  }

  /** How things stand, as the driver tells its sources. */
  get standing(): { readonly epoch: number } | undefined {
    return this.#listener?.look();
  }

  close(): void {}
}

/** A guard in the hands of a test: `before` acts at every check, `answer` may falsify what the check says. */
export class HandGuard implements ForkGuard {
  readonly #inner: VmGenId;
  checks = 0;
  before: (check: number) => void = () => {};
  answer: (epoch: number, check: number) => number = epoch => epoch;

  constructor(inner: VmGenId) {
    this.#inner = inner;
  }

  get epoch(): number {
    return this.#inner.epoch;
  }

  get forkEpoch(): number {
    return this.#inner.forkEpoch;
  }

  get protection(): ForkGuard['protection'] {
    return this.#inner.protection;
  }

  get evidence(): ForkEvidence {
    return this.#inner.evidence;
  }

  check(): number {
    const check = ++this.checks;
    this.before(check);
    return this.answer(this.#inner.check(), check);
  }

  poll(): number {
    return this.#inner.poll();
  }

  register: ForkGuard['register'] = (...args) => this.#inner.register(...args);
  onEvidence: ForkGuard['onEvidence'] = callback => this.#inner.onEvidence(callback);
}

export interface Machine {
  readonly source: MemorySource;
  readonly announcer: Announcer;
  readonly vmgenid: VmGenId;
  readonly guard: HandGuard;
  readonly entropy: RepeatingEntropy;
  readonly crng: Crng;
  readonly events: CrngEvent[];
  readonly clock: { ms: number };
}

export interface MachineOptions {
  readonly source?: MemorySourceOptions;
  readonly crng?: Partial<CrngOptions>;
  readonly entropy?: RepeatingEntropy;
  readonly onVmGenIdEvent?: VmGenIdOptions['onEvent'];
  /** Happens before the generator is made. */
  readonly before?: (parts: { source: MemorySource; vmgenid: VmGenId }) => void;
}

/** Two calls with the same arguments build two clones. */
export async function machine(options: MachineOptions = {}): Promise<Machine> {
  // Not 0: what is counted from a moment and what is counted from the start of the clock are two things.
  const clock = { ms: 1_000_000 };
  const source = new MemorySource(options.source);
  const announcer = new Announcer();
  const vmgenid = new VmGenId([source, announcer], {
    now: () => clock.ms,
    onEvent: options.onVmGenIdEvent,
  });
  await vmgenid.start();
  options.before?.({ source, vmgenid });
  const guard = new HandGuard(vmgenid);
  const entropy = options.entropy ?? new RepeatingEntropy(7);
  const events: CrngEvent[] = [];
  const onEvent = (event: CrngEvent) => events.push(event);
  const crng = new Crng({ entropy, vmgenid: guard, now: () => clock.ms, onEvent, ...options.crng });
  return { source, announcer, vmgenid, guard, entropy, crng, events, clock };
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
