// gVisor's word to a process image: a file in which every restored container can read that it is one.
// Promises: a look never waits, keeps no program alive and takes no thread; a checkpoint after which this very sandbox goes on
// is no fork.
// Read on: gVisor's user guide "Checkpoint/Restore"; docs/sources.md "Process images", for when the word comes.

import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { variableOf } from '../environ.js';
import { VmGenIdError, systemReason } from '../errors.js';
import { parseGuid } from '../generation.js';
import type { GenerationSource, SourceListener } from '../source.js';

/** Where gVisor shows its checkpoints to a container, and how often to look there. */
export interface GvisorSourceOptions {
  /** The folder with `checkpoint` and `spec_environ`. Default `/proc/gvisor`. */
  readonly folder?: string | undefined;
  /** Milliseconds between looks. Default 10. */
  readonly pollMs?: number | undefined;
}

const FOLDER = '/proc/gvisor';
/** `resume`, `restore` or `error`, and the end of the line. */
const WORD_BYTES = 16;
/** Checkpoints that are heard of in one look. */
const LOOKS_MAX = 16;

/** Delayed: gVisor says it while the restored threads run already. It announces and has no value to read. */
export class GvisorSource implements GenerationSource {
  readonly name: string;
  readonly timing = 'delayed';
  readonly uniqueness = 'counter';
  readonly #folder: string;
  readonly #pollMs: number;
  readonly #buffer = Buffer.alloc(WORD_BYTES);
  #listener: SourceListener | undefined;
  #fd: number | undefined;
  #failed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: GvisorSourceOptions = {}) {
    this.#folder = options.folder ?? FOLDER;
    this.#pollMs = options.pollMs ?? 10;
    this.name = this.#folder === FOLDER ? 'gvisor' : `gvisor:${this.#folder}`;
  }

  /** Throws `ERR_SOURCE_UNAVAILABLE` where there is no such file. */
  requireFile(): void {
    closeSync(this.#open());
  }

  start(listener: SourceListener): void {
    this.#fd = this.#open();
    this.#listener = listener;
    this.#timer = setInterval(() => this.poll(), this.#pollMs).unref();
  }

  poll(): void {
    try {
      for (let looks = 0; looks < LOOKS_MAX && this.#listener; looks++) {
        const word = this.#read();
        if (word === undefined) break;
        try {
          // A descriptor tells of one checkpoint. The next one is to be waited for before anybody acts on this one.
          this.#reopen();
        } finally {
          // The word is read, and comes no second time.
          if (word === 'restore') this.#announce(this.#listener);
        }
      }
      if (this.#failed) {
        // While no descriptor waited, any word may have passed.
        this.#listener?.missed();
        this.#listener?.recovered();
      }
      this.#failed = false;
    } catch (error) {
      this.#failed = true;
      this.#listener?.failed(error as Error);
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#listener = undefined;
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  // A restored sandbox is a new process of the host, and draws its random numbers from the host's kernel.
  #announce(listener: SourceListener): void {
    listener.announce({ kernelReseeded: true, vmGenId: this.#generationId() });
  }

  #generationId(): Uint8Array | undefined {
    try {
      const value = variableOf(readFileSync(join(this.#folder, 'spec_environ'), 'latin1'));
      return value === undefined ? undefined : parseGuid(value);
    } catch {
      // Without it, or with one that is no GUID, there is the fork all the same.
      return undefined;
    }
  }

  #read(): string | undefined {
    this.#fd ??= this.#open();
    try {
      const length = readSync(this.#fd, this.#buffer, 0, WORD_BYTES, null);
      return length === 0 ? undefined : this.#buffer.toString('latin1', 0, length).trimEnd();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return undefined;
      throw new VmGenIdError('ERR_SOURCE_UNREADABLE', `${this.name}: ${systemReason(error)}`, {
        cause: error,
      });
    }
  }

  #reopen(): void {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) closeSync(fd);
    this.#fd = this.#open();
  }

  #open(): number {
    const path = join(this.#folder, 'checkpoint');
    try {
      return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const reason =
        code === 'ENOENT'
          ? 'this is no sandbox of gVisor, or one that shows no checkpoints to its container'
          : systemReason(error);
      throw new VmGenIdError('ERR_SOURCE_UNAVAILABLE', `${path}: ${reason}`, { cause: error });
    }
  }
}
