// The world outside of a machine that can be cloned: what its generation and its kernel's entropy show. Siblings have it
// in common until they part, and nothing of it after.

import { blake2s } from '@noble/hashes/blake2.js';
import type { EntropySource } from '../../crng/index.js';
import type { GenerationSource, SourceListener } from '../../vmgenid/index.js';

/** A life that began as a copy of another. */
export interface Branching {
  /** Names the clone: its entropy and its generation ID are made from it. */
  readonly label: string;
  /** Restored without a change of the generation ID: what a careless hypervisor does. */
  readonly silent: boolean;
}

export interface OutsideOptions {
  readonly seed: string;
  readonly timing?: 'immediate' | 'delayed';
  readonly uniqueness?: 'unique' | 'counter';
  /** Draws from the kernel that still repeat in the clones after a restore. */
  readonly repeatedDraws?: number;
}

export class Outside {
  readonly source: GenerationSource;
  readonly entropy: EntropySource;
  /** Generation reads so far. */
  reads = 0;
  /** Branches whose instant has come. */
  passed = 0;
  readonly #options: OutsideOptions;
  readonly #branches: readonly Branching[];
  /** A delayed source goes on showing the generation of this branch until it is signalled. */
  #shownBranches = 0;
  #listener: SourceListener | undefined;
  #draws = 0;
  #drawsAtBranch = 0;

  /** `onRead`: called after each read of the generation. */
  constructor(options: OutsideOptions, branches: readonly Branching[], onRead: () => void) {
    const { timing = 'immediate', uniqueness = 'unique' } = options;
    this.#options = options;
    this.#branches = branches;
    this.source = {
      name: 'simulated',
      timing,
      uniqueness,
      read: into => {
        this.#show(into);
        this.reads++;
        onRead();
      },
      start: listener => {
        this.#listener = listener;
      },
      close: () => {},
    };
    this.entropy = { name: 'simulated', inProcess: false, read: into => this.#draw(into), close: () => {} };
  }

  /** What names this clone's world now: empty before the first fork. */
  get label(): string {
    return this.#labelOf(this.passed);
  }

  /** What the generation shows at this moment; empty before the first fork. */
  get shown(): string {
    return this.#shownBranch?.label ?? '';
  }

  get isInThePast(): boolean {
    return this.passed < this.#branches.length;
  }

  /** The instant of the next branch has come. */
  pass(): void {
    this.passed++;
    this.#drawsAtBranch = this.#draws;
    if (this.source.timing !== 'delayed') this.#shownBranches = this.passed;
  }

  /** The delayed word about the last fork arrives. */
  signal(): void {
    this.#shownBranches = this.passed;
    this.#listener?.changed();
  }

  /** What this world alone would have put at the end of a packet. */
  scribble(packet: Uint8Array): void {
    packet.set(digest(`payload ${this.label}`).subarray(0, 8), packet.length - 8);
  }

  get #shownBranch(): Branching | undefined {
    return this.#branches.slice(0, this.#shownBranches).findLast(branch => !branch.silent);
  }

  #labelOf(passed: number): string {
    return passed === 0 ? '' : this.#branches[passed - 1].label;
  }

  // Siblings of one snapshot see one value of a counter, but different ids.
  #show(into: Uint32Array): void {
    into.fill(0);
    if (this.source.uniqueness === 'counter') {
      into[0] = this.#branches.slice(0, this.#shownBranches).filter(branch => !branch.silent).length;
    } else if (this.#shownBranch) into.set(new Uint32Array(digest(this.shown).buffer, 0, 4));
  }

  #draw(into: Uint8Array): void {
    const repeated = this.#draws - this.#drawsAtBranch < (this.#options.repeatedDraws ?? 0);
    const label = this.#labelOf(Math.max(0, this.passed - Number(repeated)));
    const stream = digest(`entropy ${this.#options.seed} ${label} ${this.#draws++}`);
    for (let at = 0; at < into.length; at++) into[at] = stream[at % 32] ^ (at >> 5);
  }
}

const text = new TextEncoder();

function digest(content: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(blake2s(text.encode(content)));
}
