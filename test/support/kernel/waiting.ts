// What a thread waits with: eventfd, timerfd and epoll, as far as man 2 tells of them.

import { EAGAIN, ECANCELED, EEXIST, EINVAL, EPERM } from '../../../tunnel/linux/errno.js';
import {
  CLOCK_REALTIME,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  POLLERR,
  POLLHUP,
  POLLIN,
  TFD_TIMER_ABSTIME,
  TFD_TIMER_CANCEL_ON_SET,
} from '../../../tunnel/linux/libc.js';
import type { FakeClock } from './clock.js';
import type { FakeFile } from './file.js';

const ENOENT = 2;
const NEVER = Number.POSITIVE_INFINITY;

export class FakeEventFd implements FakeFile {
  readonly kind = 'event';
  #count = 0n;

  ready(): number {
    return this.#count > 0n ? POLLIN : 0;
  }

  read(into: Uint8Array): number {
    if (into.length < 8) return -EINVAL;
    if (this.#count === 0n) return -EAGAIN;
    new DataView(into.buffer, into.byteOffset).setBigUint64(0, this.#count, true);
    this.#count = 0n;
    return 8;
  }

  write(bytes: Uint8Array): number {
    if (bytes.length < 8) return -EINVAL;
    this.#count += new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
    return 8;
  }
}

export class FakeTimer implements FakeFile {
  readonly kind = 'timer';
  readonly #clock: FakeClock;
  readonly #isRealtime: boolean;
  #at = NEVER;
  #endsWithSet = false;
  #wasSet = false;

  constructor(clock: FakeClock, id: number) {
    this.#clock = clock;
    this.#isRealtime = id === CLOCK_REALTIME;
  }

  get #now(): number {
    return this.#isRealtime ? this.#clock.realtime : this.#clock.monotonic;
  }

  ready(): number {
    return this.#wasSet || this.#at <= this.#now ? POLLIN : 0;
  }

  wakesAt(): number {
    return this.#clock.monotonic + Math.max(0, this.#at - this.#now);
  }

  /** `first` and the flags as of timerfd_settime; 0 disarms. */
  set(flags: number, firstMs: number): number {
    this.#at = firstMs === 0 ? NEVER : (flags & TFD_TIMER_ABSTIME) === 0 ? this.#now + firstMs : firstMs;
    this.#endsWithSet = (flags & TFD_TIMER_CANCEL_ON_SET) !== 0;
    const wasSet = this.#wasSet;
    this.#wasSet = false;
    return wasSet ? -ECANCELED : 0;
  }

  /** CLOCK_REALTIME jumped. */
  clockWasSet(): void {
    if (this.#isRealtime && this.#endsWithSet && this.#at !== NEVER) this.#wasSet = true;
  }
}

interface Watch {
  events: number;
  data: Uint8Array;
}

export class FakeEpoll implements FakeFile {
  readonly kind = 'epoll';
  readonly #watches = new Map<FakeFile, Watch>();

  ready(): number {
    return this.happened(1).length > 0 ? POLLIN : 0;
  }

  control(operation: number, file: FakeFile, events: number, data: Uint8Array): number {
    if (file === this) return -EINVAL;
    if (file.kind === 'plain') return -EPERM;
    const known = this.#watches.has(file);
    if (operation === EPOLL_CTL_ADD && known) return -EEXIST;
    if (operation !== EPOLL_CTL_ADD && !known) return -ENOENT;
    if (operation === EPOLL_CTL_DEL) this.#watches.delete(file);
    else if (operation === EPOLL_CTL_ADD || operation === EPOLL_CTL_MOD)
      this.#watches.set(file, { events, data });
    else return -EINVAL;
    return 0;
  }

  /** Call when the last descriptor of a file is closed. */
  forget(file: FakeFile): void {
    this.#watches.delete(file);
  }

  happened(most: number): { readonly events: number; readonly data: Uint8Array }[] {
    const found: { events: number; data: Uint8Array }[] = [];
    for (const [file, { events, data }] of this.#watches) {
      const ready = file.ready() & (events | POLLERR | POLLHUP);
      if (ready !== 0 && found.length < most) found.push({ events: ready, data });
    }
    return found;
  }

  wakesAt(): number {
    return Math.min(NEVER, ...[...this.#watches.keys()].map(file => file.wakesAt?.() ?? NEVER));
  }
}
