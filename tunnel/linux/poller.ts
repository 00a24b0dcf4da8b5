// How a device thread waits: poll(2) over a handful of descriptors, and a word from another thread that ends the wait.
// Promises: waiting allocates nothing; a signal ends a wait early, as if nothing had come.
// Read on: man 2 poll, man 2 eventfd.

import { EINTR } from './errno.js';
import {
  type Libc,
  type NativeMemory,
  O_CLOEXEC,
  O_NONBLOCK,
  POLLFD_BYTES,
  POLLIN,
  checked,
} from './libc.js';

/** Descriptors of one poller at most. */
export const MAX_POLLED = 8;

const WORDS = POLLFD_BYTES / 4;
const NOBODY = 0xffff_ffff;

export class Poller {
  readonly #libc: Libc;
  readonly #pollfds: NativeMemory;
  #count = 0;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#pollfds = libc.alloc(MAX_POLLED * POLLFD_BYTES);
  }

  /** Watches a descriptor for `events` and returns its place, 0 to 7. Throws a `RangeError` when all are taken. */
  add(fd: number, events: number = POLLIN): number {
    const { u32 } = this.#pollfds;
    let place = 0;
    while (place < this.#count && u32[place * WORDS] !== NOBODY) place++;
    if (place === MAX_POLLED) throw new RangeError(`a poller watches ${MAX_POLLED} descriptors at most`);
    this.#count = Math.max(this.#count, place + 1);
    u32[place * WORDS] = fd;
    this.setEvents(place, events);
    return place;
  }

  /** Watches for other events; 0 leaves errors alone. */
  setEvents(place: number, events: number): void {
    this.#pollfds.u32[place * WORDS + 1] = events;
  }

  remove(place: number): void {
    const { u32 } = this.#pollfds;
    // The kernel passes over negative descriptors.
    u32[place * WORDS] = NOBODY;
    u32[place * WORDS + 1] = 0;
  }

  /**
   * Blocks this thread until something is ready or `timeoutMs` is over (0 looks, -1 waits for ever). Returns one bit
   * for each place that is ready (`1 << place`), 0 after the time or a signal, or `-errno`.
   */
  wait(timeoutMs: number): number {
    const ready = this.#libc.poll(this.#pollfds.address, this.#count, timeoutMs);
    if (ready <= 0) return ready === -EINTR ? 0 : ready;
    let bits = 0;
    for (let place = 0; place < this.#count; place++) if (this.happened(place) !== 0) bits |= 1 << place;
    return bits;
  }

  /** What the last wait found at a place: `POLLIN`, `POLLOUT`, `POLLERR`, ..., or 0. */
  happened(place: number): number {
    return this.#pollfds.u32[place * WORDS + 1] >>> 16;
  }
}

/** A counter in the kernel that threads wake each other with. Its descriptor may be handed to another thread. */
export class EventFd {
  readonly fd: number;
  readonly #libc: Libc;
  readonly #one: NativeMemory;
  readonly #count: NativeMemory;

  private constructor(libc: Libc, fd: number) {
    this.fd = fd;
    this.#libc = libc;
    this.#one = libc.alloc(8);
    this.#one.setU64(0, 1);
    this.#count = libc.alloc(8);
  }

  /** Throws `ERR_SYSTEM_CALL`. */
  static create(libc: Libc): EventFd {
    return new EventFd(libc, checked(libc.eventfd(0, O_CLOEXEC | O_NONBLOCK), 'eventfd'));
  }

  /** The other end: what another thread created. One of the two closes it. */
  static adopt(libc: Libc, fd: number): EventFd {
    return new EventFd(libc, fd);
  }

  /** Makes the descriptor readable. Any number of signals before the next `drain` are one. */
  signal(): void {
    this.#libc.write(this.fd, this.#one.address, 8);
  }

  /** Makes it unreadable again; returns whether anybody had signalled. */
  drain(): boolean {
    return this.#libc.read(this.fd, this.#count.address, 8) === 8;
  }

  close(): void {
    this.#libc.close(this.fd);
  }
}
