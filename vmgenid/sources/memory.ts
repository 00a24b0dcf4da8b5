// A simulated hypervisor: a generation that lives in this process, for tests, demonstrations and teaching.
// Promises: `fork` is what a restore does to the page; with `timing: 'delayed'` the value shows only when told to.

import { VM_GEN_ID_BYTES, generationWords } from '../generation.js';
import type { GenerationSource, SourceListener, Timing, Uniqueness } from '../source.js';

/** What such a source shows first, and how. */
export interface MemorySourceOptions {
  /** The first generation ID, 16 bytes. Default all zero. */
  readonly vmGenId?: Uint8Array;
  readonly timing?: Timing;
  readonly uniqueness?: Uniqueness;
  readonly name?: string;
  /** Called at every read, before the value is taken: an outside world that acts between two instructions. */
  readonly onRead?: () => void;
}

/** A hypervisor that the program plays itself. */
export class MemorySource implements GenerationSource {
  readonly name: string;
  readonly timing: Timing;
  readonly uniqueness: Uniqueness;
  readonly #page: Uint32Array;
  readonly #shown: Uint32Array;
  readonly #onRead: (() => void) | undefined;
  #listener: SourceListener | undefined;

  constructor(options: MemorySourceOptions = {}) {
    this.name = options.name ?? 'memory';
    this.timing = options.timing ?? 'immediate';
    this.uniqueness = options.uniqueness ?? 'unique';
    this.#onRead = options.onRead;
    this.#page = generationWords(options.vmGenId ?? new Uint8Array(VM_GEN_ID_BYTES));
    this.#shown = this.#page.slice();
  }

  /** Writes a new generation. An immediate source shows it at the next read, a delayed one after `signal`. */
  fork(vmGenId: Uint8Array): void {
    generationWords(vmGenId, this.#page);
    if (this.timing === 'immediate') this.#shown.set(this.#page);
  }

  /** The delayed word arrives: what `fork` wrote shows from now on, and the driver is told. */
  signal(): void {
    this.#shown.set(this.#page);
    this.#listener?.changed();
  }

  read(into: Uint32Array): void {
    this.#onRead?.();
    into.set(this.#shown);
  }

  start(listener: SourceListener): void {
    this.#listener = listener;
  }

  close(): void {
    this.#listener = undefined;
  }
}
