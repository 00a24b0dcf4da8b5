// The kernel's log, for a thread that waits for descriptors anyway: it notices a line about a fork as it is written, so that
// nobody needs to look every few milliseconds. Promises: a hint and no more; the source decides what a line is worth.
// Read on: vmgenid/sources/kmsg.ts; Linux Documentation/ABI/testing/dev-kmsg.

import { FORK_LINE } from '../../vmgenid/sources/kmsg.js';
import { EAGAIN, EPIPE } from './errno.js';
import { type Libc, O_CLOEXEC, O_NONBLOCK, O_RDONLY } from './libc.js';

/** Larger than any record the kernel hands out. */
const RECORD_BYTES = 8_192;
/** Records read in one go: a flood of lines must not hold up the packets. */
const MAX_RECORDS = 64;
/** More than the largest log has. */
const MAX_OLD_RECORDS = 2 ** 20;

export class KernelLog {
  /** For polling; -1 where it cannot be read, not any more, or not by waiting for it. */
  fd: number;
  readonly #libc: Libc;
  readonly #record = Buffer.from(new ArrayBuffer(RECORD_BYTES));

  private constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.fd = fd;
  }

  /** At its end. By its path, or a descriptor that does not wait, ours from here on. */
  static open(libc: Libc, log: string | number): KernelLog {
    const fd = typeof log === 'number' ? log : libc.open(log, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    const opened = new KernelLog(libc, Math.max(fd, -1));
    if (fd >= 0) opened.#read(MAX_OLD_RECORDS);
    return opened;
  }

  /** Call when `fd` is readable. Whether a line among the new ones may be about a fork, or one was lost. */
  readable(): boolean {
    return this.#read(MAX_RECORDS);
  }

  /** May be called twice. */
  close(): void {
    if (this.fd >= 0) this.#libc.close(this.fd);
    this.fd = -1;
  }

  // One read gives one record.
  #read(most: number): boolean {
    let found = false;
    for (let i = 0; i < most; i++) {
      const length = this.#libc.readInto(this.fd, this.#record, 0, RECORD_BYTES);
      if (length === 0 || length === -EAGAIN) break;
      if (length === -EPIPE) found = true;
      else if (length < 0) {
        // It would be readable for ever.
        this.close();
        return true;
      } else if (this.#record.subarray(0, length).includes(FORK_LINE)) found = true;
    }
    return found;
  }
}
