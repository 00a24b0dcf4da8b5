// System calls of Linux, by koffi, for a thread that owns its descriptors and runs a synchronous loop.
// Promises: a call returns what the kernel returned, or `-errno`; it allocates nothing and throws nothing. Memory that
// the kernel sees does not move: it lies outside the JavaScript heap, and its owner keeps it alive. Whoever makes such calls
// is handed a `Libc`, so that a test can be the kernel.
// Read on: man 2 of each call; the layouts are those of 64-bit little-endian Linux (x64, arm64).

import { fstatSync } from 'node:fs';
import { type Koffi, loadKoffi } from '../../native/koffi.js';
import { NativeMemory } from '../../native/native-memory.js';
import { TunnelError } from '../errors.js';
import { EBADF, EINVAL, systemCallError } from './errno.js';

export const O_RDONLY = 0;
export const O_RDWR = 2;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const POLLIN = 1;
export const POLLOUT = 4;
export const POLLERR = 8;
export const POLLHUP = 16;
export const POLLNVAL = 32;
export const POLLFD_BYTES = 8;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
/** `struct epoll_event`: events, then 64 bits of ours. It is packed on one of the two machines alone. */
export const EPOLL_EVENT_BYTES = process.arch === 'x64' ? 12 : 16;
export const EPOLL_DATA_AT = EPOLL_EVENT_BYTES - 8;
/** Seconds and nanoseconds of the interval, then of the first time. */
export const ITIMERSPEC_BYTES = 32;
export const FIRST_SECONDS_AT = 16;
export const FIRST_NS_AT = 24;
/** The time is one of the clock's, not one from now on. */
export const TFD_TIMER_ABSTIME = 1;
/** Readable also when the clock was set. */
export const TFD_TIMER_CANCEL_ON_SET = 2;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
/** For `socket`: not inherited by programs that we start, and never blocking. */
export const SOCK_CLOEXEC_NONBLOCK = O_CLOEXEC | O_NONBLOCK;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const SOL_SOCKET = 1;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_ATTACH_FILTER = 26;
export const SO_DETACH_FILTER = 27;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
export const SO_MARK = 36;
export const IPPROTO_IP = 0;
export const IP_PKTINFO = 8;
export const IPPROTO_UDP = 17;
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;
export const IPPROTO_IPV6 = 41;
export const IPV6_V6ONLY = 26;
export const IPV6_RECVPKTINFO = 49;
export const IPV6_PKTINFO = 50;
export const CLOCK_REALTIME = 0;
export const CLOCK_MONOTONIC = 1;
export const CLOCK_BOOTTIME = 7;
export const IOVEC_BYTES = 16;
export const MSGHDR_BYTES = 56;
export const MMSGHDR_BYTES = 64;
export const CMSGHDR_BYTES = 16;
export const SOCKADDR_IN_BYTES = 16;
export const SOCKADDR_IN6_BYTES = 28;
export const MADV_DONTDUMP = 16;
export const MADV_DODUMP = 17;
const SC_PAGESIZE = 30;

const WORD = 4;
const HIGH = 2 ** 32;

export type LoadedLibc =
  | { readonly libc: Libc; readonly reason?: undefined }
  | { readonly libc?: undefined; readonly reason: string };

let loaded: LoadedLibc | undefined;

/** The system calls, or the reason why there are none here. Asked once in each thread. */
export function loadLibc(): LoadedLibc {
  loaded ??= load();
  return loaded;
}

/** The system calls. Throws `ERR_NO_SYSTEM_CALLS` with the reason where there are none. */
export function requireLibc(): Libc {
  const { libc, reason } = loadLibc();
  if (!libc) throw new TunnelError('ERR_NO_SYSTEM_CALLS', reason);
  return libc;
}

function load(): LoadedLibc {
  const { koffi, reason } = loadKoffi();
  return koffi ? { libc: new KoffiLibc(koffi) } : { reason };
}

/** The system calls, whoever answers them. */
export type Libc = Pick<KoffiLibc, keyof KoffiLibc>;

export class KoffiLibc {
  readonly #koffi: Koffi;
  readonly #open;
  readonly #close;
  readonly #read;
  readonly #write;
  readonly #writev;
  readonly #ioctl;
  readonly #fcntl;
  readonly #poll;
  readonly #socket;
  readonly #bind;
  readonly #connect;
  readonly #getsockname;
  readonly #setsockopt;
  readonly #getsockopt;
  readonly #sendmsg;
  readonly #recvmsg;
  readonly #sendmmsg;
  readonly #recvmmsg;
  readonly #eventfd;
  readonly #epollCreate;
  readonly #epollCtl;
  readonly #epollWait;
  readonly #timerfdCreate;
  readonly #timerfdSettime;
  readonly #schedYield;
  readonly #ifNameToIndex;
  readonly #mlock;
  readonly #munlock;
  readonly #madvise;
  /** Bytes of a page of memory. */
  readonly pageBytes: number;
  readonly #clockGettime;
  readonly #scratch: NativeMemory;
  // A ring of buffers is read into again and again: the last answer mostly serves.
  #lastMemory: ArrayBufferLike | undefined;
  #lastStart = 0;
  readonly #addresses = new WeakMap<ArrayBufferLike, number>();

  /** `koffi`: the module. Use `loadLibc`. */
  constructor(koffi: Koffi) {
    this.#koffi = koffi;
    // The node binary itself: it has the C library that it runs on, whichever that is.
    const library = koffi.load(null);
    const call = (name: string, ...parameters: string[]) => library.func(name, 'int', parameters);
    const transfer = (name: string, ...parameters: string[]) => library.func(name, 'long', parameters);
    this.#open = call('open', 'str', 'int', 'uint');
    this.#close = call('close', 'int');
    this.#read = transfer('read', 'int', 'uintptr_t', 'size_t');
    this.#write = transfer('write', 'int', 'uintptr_t', 'size_t');
    this.#writev = transfer('writev', 'int', 'uintptr_t', 'int');
    // Variadic in C. On these two machines such arguments travel like all others.
    this.#ioctl = call('ioctl', 'int', 'ulong', 'uintptr_t');
    this.#fcntl = call('fcntl', 'int', 'int', 'long');
    this.#poll = call('poll', 'uintptr_t', 'ulong', 'int');
    this.#socket = call('socket', 'int', 'int', 'int');
    this.#bind = call('bind', 'int', 'uintptr_t', 'uint');
    this.#connect = call('connect', 'int', 'uintptr_t', 'uint');
    this.#getsockname = call('getsockname', 'int', 'uintptr_t', 'uintptr_t');
    this.#setsockopt = call('setsockopt', 'int', 'int', 'int', 'uintptr_t', 'uint');
    this.#getsockopt = call('getsockopt', 'int', 'int', 'int', 'uintptr_t', 'uintptr_t');
    this.#sendmsg = transfer('sendmsg', 'int', 'uintptr_t', 'int');
    this.#recvmsg = transfer('recvmsg', 'int', 'uintptr_t', 'int');
    this.#sendmmsg = call('sendmmsg', 'int', 'uintptr_t', 'uint', 'int');
    this.#recvmmsg = call('recvmmsg', 'int', 'uintptr_t', 'uint', 'int', 'uintptr_t');
    this.#eventfd = call('eventfd', 'uint', 'int');
    this.#epollCreate = call('epoll_create1', 'int');
    this.#epollCtl = call('epoll_ctl', 'int', 'int', 'int', 'uintptr_t');
    this.#epollWait = call('epoll_wait', 'int', 'uintptr_t', 'int', 'int');
    this.#timerfdCreate = call('timerfd_create', 'int', 'int');
    this.#timerfdSettime = call('timerfd_settime', 'int', 'int', 'uintptr_t', 'uintptr_t');
    this.#schedYield = call('sched_yield');
    this.#ifNameToIndex = call('if_nametoindex', 'str');
    this.#mlock = call('mlock', 'uintptr_t', 'size_t');
    this.#munlock = call('munlock', 'uintptr_t', 'size_t');
    this.#madvise = call('madvise', 'uintptr_t', 'size_t', 'int');
    this.pageBytes = transfer('sysconf', 'int')(SC_PAGESIZE);
    this.#clockGettime = call('clock_gettime', 'int', 'uintptr_t');
    this.#scratch = this.alloc(16);
  }

  /** Zeroed memory for the kernel to see. It lives as long as the returned object is held. */
  alloc(byteLength: number): NativeMemory {
    return new NativeMemory(this.#koffi, byteLength);
  }

  /**
   * Where a buffer's first byte lies. Good while the buffer is held and not transferred: the calls that take an address
   * must be made at once, in the same turn.
   */
  addressOf(buffer: Uint8Array): number {
    const memory = buffer.buffer;
    if (memory !== this.#lastMemory) {
      let start = this.#addresses.get(memory);
      if (start === undefined) {
        start = Number(this.#koffi.address(new Uint8Array(memory)));
        this.#addresses.set(memory, start);
      }
      this.#lastMemory = memory;
      this.#lastStart = start;
    }
    return this.#lastStart + buffer.byteOffset;
  }

  open(path: string, flags: number, mode = 0): number {
    return this.#result(this.#open(path, flags, mode));
  }

  close(fd: number): number {
    return this.#result(this.#close(fd));
  }

  /** By this number two descriptors of one file are known. */
  inode(fd: number): number {
    try {
      return fstatSync(fd).ino;
    } catch {
      return -EBADF;
    }
  }

  read(fd: number, address: number, length: number): number {
    return this.#result(this.#read(fd, address, length));
  }

  write(fd: number, address: number, length: number): number {
    return this.#result(this.#write(fd, address, length));
  }

  /** `iovecs`: the address of `count` of them, 1,024 at most. */
  writev(fd: number, iovecs: number, count: number): number {
    return this.#result(this.#writev(fd, iovecs, count));
  }

  /** `read` into `buffer[offset, offset + length)`; `-EINVAL` when that lies outside. */
  readInto(fd: number, buffer: Uint8Array, offset: number, length: number): number {
    if (!inside(buffer, offset, length)) return -EINVAL;
    return this.#result(this.#read(fd, this.addressOf(buffer) + offset, length));
  }

  /** `write` from `buffer[offset, offset + length)`; `-EINVAL` when that lies outside. */
  writeFrom(fd: number, buffer: Uint8Array, offset: number, length: number): number {
    if (!inside(buffer, offset, length)) return -EINVAL;
    return this.#result(this.#write(fd, this.addressOf(buffer) + offset, length));
  }

  /** `argument`: a number, or an address, as the request wants. */
  ioctl(fd: number, request: number, argument: number): number {
    return this.#result(this.#ioctl(fd, request, argument));
  }

  fcntl(fd: number, command: number, argument = 0): number {
    return this.#result(this.#fcntl(fd, command, argument));
  }

  /** `pollfds`: the address of `count` structs; `timeoutMs` -1 waits for ever. Blocks this thread. */
  poll(pollfds: number, count: number, timeoutMs: number): number {
    return this.#result(this.#poll(pollfds, count, timeoutMs));
  }

  socket(family: number, type: number, protocol: number): number {
    return this.#result(this.#socket(family, type, protocol));
  }

  bind(fd: number, address: number, length: number): number {
    return this.#result(this.#bind(fd, address, length));
  }

  connect(fd: number, address: number, length: number): number {
    return this.#result(this.#connect(fd, address, length));
  }

  /** Writes the local address to `address`; `capacity` bytes are there. */
  getsockname(fd: number, address: number, capacity: number): number {
    this.#scratch.u32[0] = capacity;
    return this.#result(this.#getsockname(fd, address, this.#scratch.address));
  }

  /** An option that is an `int`. */
  setsockopt(fd: number, level: number, name: number, value: number): number {
    this.#scratch.u32[0] = value;
    return this.#result(this.#setsockopt(fd, level, name, this.#scratch.address, WORD));
  }

  /** An option of `length` bytes at `address`. */
  setsockoptAt(fd: number, level: number, name: number, address: number, length: number): number {
    return this.#result(this.#setsockopt(fd, level, name, address, length));
  }

  /** An option that is an `int` and never negative. */
  getsockopt(fd: number, level: number, name: number): number {
    const { u32, address } = this.#scratch;
    u32[2] = WORD;
    const result = this.#getsockopt(fd, level, name, address, address + 2 * WORD);
    return result < 0 ? this.#result(result) : u32[0];
  }

  sendmsg(fd: number, msghdr: number, flags: number): number {
    return this.#result(this.#sendmsg(fd, msghdr, flags));
  }

  recvmsg(fd: number, msghdr: number, flags: number): number {
    return this.#result(this.#recvmsg(fd, msghdr, flags));
  }

  /** How many of the `count` messages went; `-errno` when the first of them did not. */
  sendmmsg(fd: number, mmsghdrs: number, count: number, flags: number): number {
    return this.#result(this.#sendmmsg(fd, mmsghdrs, count, flags));
  }

  /** How many messages came, without waiting for more than the first. */
  recvmmsg(fd: number, mmsghdrs: number, count: number, flags: number): number {
    return this.#result(this.#recvmmsg(fd, mmsghdrs, count, flags, 0));
  }

  eventfd(initial: number, flags: number): number {
    return this.#result(this.#eventfd(initial, flags));
  }

  epollCreate(flags: number): number {
    return this.#result(this.#epollCreate(flags));
  }

  /** `event`: the address of a struct. */
  epollCtl(epoll: number, operation: number, fd: number, event: number): number {
    return this.#result(this.#epollCtl(epoll, operation, fd, event));
  }

  /** `events`: the address of room for `count` structs; `timeoutMs` -1 waits for ever. Blocks this thread. */
  epollWait(epoll: number, events: number, count: number, timeoutMs: number): number {
    return this.#result(this.#epollWait(epoll, events, count, timeoutMs));
  }

  timerfdCreate(clock: number, flags: number): number {
    return this.#result(this.#timerfdCreate(clock, flags));
  }

  /** `itimerspec`: the address of the new times. */
  timerfdSettime(fd: number, flags: number, itimerspec: number): number {
    return this.#result(this.#timerfdSettime(fd, flags, itimerspec, 0));
  }

  /** Lets others run that could run on this core; returns at once where there is nobody. */
  yieldCore(): number {
    return this.#result(this.#schedYield());
  }

  /** The index of an interface in this thread's network namespace; 0 when there is none. */
  ifNameToIndex(name: string): number {
    return this.#ifNameToIndex(name);
  }

  /** One of the kernel's clocks, in milliseconds. */
  clockMs(clock: number): number {
    const { u32, address } = this.#scratch;
    this.#clockGettime(clock, address);
    return (u32[0] + u32[1] * HIGH) * 1_000 + u32[2] / 1_000_000;
  }

  /** Keeps pages out of swap. Counts against RLIMIT_MEMLOCK, unless CAP_IPC_LOCK is there. */
  mlock(address: number, length: number): number {
    return this.#result(this.#mlock(address, length));
  }

  munlock(address: number, length: number): number {
    return this.#result(this.#munlock(address, length));
  }

  /** `address`: where a page begins. */
  madvise(address: number, length: number, advice: number): number {
    return this.#result(this.#madvise(address, length, advice));
  }

  #result(result: number): number {
    return result < 0 ? -this.#koffi.errno() : result;
  }
}

/** Passes a set-up call's result on. Throws `ERR_SYSTEM_CALL` when it is an error. */
export function checked(result: number, call: string, detail?: string): number {
  if (result < 0) throw systemCallError(call, result, detail);
  return result;
}

// A buffer that was transferred to another thread has length 0, so that its old address is never used.
function inside(buffer: Uint8Array, offset: number, length: number): boolean {
  return offset >= 0 && length >= 0 && offset + length <= buffer.length;
}
