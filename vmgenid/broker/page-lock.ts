// A broker's claim to its page: two on one page would move it for each other's starts, and each tell half of what is known.
// Promises: one holder at a time, whatever namespaces they are in; it ends with the process, however that ends; who may only
// read the page cannot claim it. Read on: flock(1), flock(2).

import { spawnSync } from 'node:child_process';
import { closeSync, constants, fstatSync, lstatSync, openSync, unlinkSync } from 'node:fs';
import { VmGenIdError, systemReason } from '../errors.js';

/** flock(1), of a lock that another has. */
const HELD = 1;

export class PageLock {
  // Not the page itself, which all may open, and whoever may open a file can lock it.
  readonly #path: string;
  readonly #fd: number;
  #released = false;

  /** Throws `ERR_BROKER_IN_USE` where another broker has the page at `page`, `ERR_BROKER_FILE` where there is no finding out. */
  constructor(page: string) {
    this.#path = `${page}.lock`;
    for (;;) {
      const fd = open(this.#path, page);
      try {
        lock(fd, page);
        if (this.#isStill(fd)) {
          this.#fd = fd;
          return;
        }
      } catch (error) {
        closeSync(fd);
        throw error;
      }
      // Its holder has removed it since it was opened.
      closeSync(fd);
    }
  }

  /** May be called twice. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    // Removed while it is held: whoever has opened it meanwhile finds that it is no longer the one of that name.
    if (this.#isStill(this.#fd)) unlinkSync(this.#path);
    closeSync(this.#fd);
  }

  #isStill(fd: number): boolean {
    const held = fstatSync(fd, { bigint: true });
    const there = lstatSync(this.#path, { bigint: true, throwIfNoEntry: false });
    return there !== undefined && there.ino === held.ino && there.dev === held.dev;
  }
}

function open(path: string, page: string): number {
  try {
    return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw new VmGenIdError(
      'ERR_BROKER_FILE',
      `counter page ${page}: its lock ${path}: ${systemReason(error)}`,
      {
        cause: error,
      },
    );
  }
}

// Node locks no files. What is locked is the open file, which we share with the command and keep when it ends.
function lock(fd: number, page: string): void {
  const { status, error } = spawnSync('flock', ['-n', '3'], { stdio: ['ignore', 'ignore', 'ignore', fd] });
  if (status === 0) return;
  if (status === HELD) {
    throw new VmGenIdError(
      'ERR_BROKER_IN_USE',
      `counter page ${page}: another broker writes it; end that one first, or use another page`,
    );
  }
  const reason = error?.message ?? `flock ended with ${status}`;
  throw new VmGenIdError(
    'ERR_BROKER_FILE',
    `counter page ${page}: cannot be locked, which takes the command flock (Debian: util-linux): ${reason}`,
    { cause: error },
  );
}
