// How a device thread waits: epoll(7) over a handful of descriptors, and a word from another thread that ends the wait.
// Promises: waiting allocates nothing; a signal ends a wait early, as if nothing had come.
// Read on: man 7 epoll, man 2 eventfd; alarm.ts (waits that end at a time).

import type { NativeMemory } from '../../../native/native-memory.js';
import { EINTR } from '../errno.js';
import {
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLL_DATA_AT,
  EPOLL_EVENT_BYTES,
  type Libc,
  O_CLOEXEC,
  O_NONBLOCK,
  POLLIN,
  checked,
} from '../libc.js';

/** Descriptors of one poller at most. */
export const MAX_POLLED = 16;

const WORDS = EPOLL_EVENT_BYTES / 4;
const DATA_WORD = EPOLL_DATA_AT / 4;
const NOBODY = -1;

export class Poller {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #event: NativeMemory;
  readonly #events: NativeMemory;
  /** By place: whose it is, what it is watched for, and what the last wait found there. */
  readonly #fds = new Int32Array(MAX_POLLED).fill(NOBODY);
  readonly #watched = new Int32Array(MAX_POLLED);
  readonly #happened = new Int32Array(MAX_POLLED);
  #closed = false;

  /** Throws `ERR_SYSTEM_CALL`. */
  constructor(libc: Libc) {
    this.#libc = libc;
    this.#event = libc.alloc(EPOLL_EVENT_BYTES);
    this.#events = libc.alloc(MAX_POLLED * EPOLL_EVENT_BYTES);
    this.#fd = checked(libc.epollCreate(O_CLOEXEC), 'epoll_create1');
  }

  /**
   * Watches a descriptor for `events` and returns its place, 0 to 15. Throws a `RangeError` when all are taken, and
   * `ERR_SYSTEM_CALL` for a descriptor that cannot be waited for, or is watched already.
   */
  add(fd: number, events: number = POLLIN): number {
    const place = this.#fds.indexOf(NOBODY);
    if (place < 0) throw new RangeError(`a poller watches ${MAX_POLLED} descriptors at most`);
    checked(this.#control(EPOLL_CTL_ADD, place, fd, events), 'epoll_ctl', `descriptor ${fd}`);
    this.#fds[place] = fd;
    this.#watched[place] = events;
    return place;
  }

  /** Watches for other events; 0 leaves errors alone. */
  setEvents(place: number, events: number): void {
    if (this.#watched[place] === events) return;
    this.#control(EPOLL_CTL_MOD, place, this.#fds[place], events);
    this.#watched[place] = events;
  }

  /** The descriptor may have been closed before. */
  remove(place: number): void {
    this.#control(EPOLL_CTL_DEL, place, this.#fds[place], 0);
    this.#fds[place] = NOBODY;
    this.#happened[place] = 0;
  }

  /**
   * Blocks this thread until something is ready or `timeoutMs` is over (0 looks, -1 waits for ever). Returns one bit
   * for each place that is ready (`1 << place`), 0 after the time or a signal. Throws
   * `ERR_SYSTEM_CALL`: what fails once here fails for ever.
   */
  wait(timeoutMs: number): number {
    const { u32, address } = this.#events;
    const ready = this.#libc.epollWait(this.#fd, address, MAX_POLLED, timeoutMs);
    this.#happened.fill(0);
    if (ready <= 0) return ready === -EINTR ? 0 : checked(ready, 'epoll_wait');
    let bits = 0;
    for (let at = 0; at < ready * WORDS; at += WORDS) {
      const place = u32[at + DATA_WORD];
      this.#happened[place] = u32[at];
      bits |= 1 << place;
    }
    return bits;
  }

  /** What the last wait found at a place: `POLLIN`, `POLLOUT`, `POLLERR`, ..., or 0. */
  happened(place: number): number {
    return this.#happened[place];
  }

  /** May be called twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#libc.close(this.#fd);
  }

  #control(operation: number, place: number, fd: number, events: number): number {
    const { u32, address } = this.#event;
    u32[0] = events;
    u32[DATA_WORD] = place;
    return this.#libc.epollCtl(this.#fd, operation, fd, address);
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
