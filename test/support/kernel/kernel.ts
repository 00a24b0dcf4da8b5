// A kernel for a `DeviceLoop` that needs no root and waits for nothing: descriptors, memory and clocks of one process.
// Promises: deterministic, each call does what man 2 says, as far as the loop relies on it. Calls fail when they were told
// to; what no process may do (a descriptor that is closed, an address that is none) is written down in `misuses`.
// Read on: tunnel/linux/libc.ts (what it stands for), udp-socket.ts, tun-device.ts, netlink-socket.ts, waiting.ts.

import { NativeMemory } from '../../../native/native-memory.js';
import { EADDRINUSE, EBADF, EINVAL, ENODEV } from '../../../tunnel/linux/errno.js';
import {
  AF_INET,
  AF_NETLINK,
  CLOCK_BOOTTIME,
  CLOCK_REALTIME,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_DATA_AT,
  EPOLL_EVENT_BYTES,
  type Libc,
  MMSGHDR_BYTES,
  POLLNVAL,
} from '../../../tunnel/linux/libc.js';
import { FakeClock } from './clock.js';
import { type FakeFile, PlainFile } from './file.js';
import { AddressSpace } from './memory.js';
import { FakeNetlinkSocket } from './netlink-socket.js';
import { FakeTun, type TunHost } from './tun-device.js';
import { FakeUdpSocket, type FakeDatagram, UPLINK, bytesAt, iovecsAt, viewOf } from './udp-socket.js';
import { FakeEpoll, FakeEventFd, FakeTimer } from './waiting.js';

/** A call is going to fail: `sendmmsg udp`, `read tun`, `epollWait epoll`, `socket`. */
export interface Fault {
  readonly call: string;
  readonly errno: number;
  /** So many such calls go well before, and so many fail then. */
  readonly after: number;
  readonly times: number;
}

export interface KernelOptions {
  /** 4 and 16 bytes. */
  readonly addresses: readonly Uint8Array[];
  readonly tun: TunHost;
  /** What the kernel can do with TUN devices, as TUN_F_... bits. */
  readonly offloads: number;
  readonly leave: (datagram: FakeDatagram) => void;
  /** Called where each call returns: there the machine may be saved. */
  readonly returned: () => void;
}

const NOWHERE = 0;
const HOME = 1;
const NS_HOME = '/proc/thread-self/ns/net';
const ENOENT = 2;
const TUN_REQUESTS = { setIff: 0x4004_54ca, getIff: 0x8004_54d2, setOffload: 0x4004_54d0, namespace: 0x54e3 };
const SIOC = { getMtu: 0x8921, setMtu: 0x8922, setQueueLength: 0x8943 };
const FIRST_PORT = 40_000;
/** What it takes to give the core away, in milliseconds. */
const YIELD_MS = 0.01;

export class FakeKernel implements Libc {
  readonly pageBytes = 4_096;
  readonly clock = new FakeClock();
  readonly memory = new AddressSpace();
  readonly misuses: string[] = [];
  readonly counts = new Map<string, number>();
  /** Bytes of each locked range, by address. */
  readonly locked = new Map<number, number>();
  pathMtu = 1_500;
  addresses: readonly Uint8Array[];
  tun: FakeTun | undefined;
  readonly #options: KernelOptions;
  readonly #files = new Map<number, FakeFile>();
  readonly #faults: { call: string; errno: number; after: number; times: number }[] = [];
  readonly #netlink: ConstructorParameters<typeof FakeNetlinkSocket>[0];

  constructor(options: KernelOptions) {
    this.#options = options;
    this.addresses = options.addresses;
    const inode = (fd: number) => this.#inode(fd);
    this.#netlink = {
      tun: () => this.tun,
      home: HOME,
      nsids: new Map(),
      inode,
      fault: call => this.#fault(call),
    };
  }

  // --- What happens to the machine.

  /** What has no effect is forgotten with the next call of `forgiveAll`. */
  fail(fault: Fault): void {
    this.#faults.push({ ...fault });
  }

  forgiveAll(): void {
    this.#faults.length = 0;
    for (const socket of this.udpSockets) socket.room = Number.POSITIVE_INFINITY;
  }

  get openDescriptors(): number {
    return this.#files.size;
  }

  get udpSockets(): FakeUdpSocket[] {
    return [...this.#files.values()].filter(file => file instanceof FakeUdpSocket);
  }

  get #monitors(): FakeNetlinkSocket[] {
    return [...this.#files.values()].filter(file => file instanceof FakeNetlinkSocket);
  }

  /** Datagrams come in together, to whoever listens. */
  arrive(datagrams: readonly FakeDatagram[]): void {
    for (const socket of this.udpSockets) {
      const isFor = ({ to }: FakeDatagram) =>
        to.port === socket.port && (to.ip.length === 4) === (socket.family === AF_INET) && this.owns(to.ip);
      socket.arrive(datagrams.filter(isFor));
    }
  }

  owns(ip: Uint8Array): boolean {
    return this.addresses.some(address => Buffer.compare(address, ip) === 0);
  }

  /** Something about the interface, told to who listens, as the kernel does at home. */
  changeLink(change: (tun: FakeTun) => void): void {
    const { tun } = this;
    if (!tun || tun.isGone) return;
    const wasHome = tun.namespace === HOME;
    change(tun);
    for (const monitor of this.#monitors) {
      if (wasHome || tun.namespace === HOME) monitor.linkChanged(tun, tun.isGone || tun.namespace !== HOME);
    }
  }

  /** The addresses of the machine are others now. */
  renumber(addresses: readonly Uint8Array[]): void {
    this.addresses = addresses;
    for (const monitor of this.#monitors) monitor.routesChanged();
  }

  /** More happened than the monitor's socket holds. */
  overrun(): void {
    for (const monitor of this.#monitors) if (monitor.groups !== 0) monitor.hasOverrun = true;
  }

  setClock(realtime: number): void {
    this.clock.set(realtime);
    this.#tellTimers();
  }

  sleep(ms: number): void {
    this.clock.sleep(ms);
    this.#tellTimers();
  }

  #tellTimers(): void {
    for (const file of this.#files.values()) if (file instanceof FakeTimer) file.clockWasSet();
  }

  // --- Memory.

  alloc(byteLength: number): NativeMemory {
    return new NativeMemory({ address: view => BigInt(this.memory.addressOf(view)) }, byteLength);
  }

  addressOf(buffer: Uint8Array): number {
    return this.memory.addressOf(buffer);
  }

  mlock(address: number, length: number): number {
    return this.#do('mlock', () => {
      this.locked.set(address, length);
      return 0;
    });
  }

  munlock(address: number, length: number): number {
    return this.#do('munlock', () => {
      if (this.locked.get(address) === length) this.locked.delete(address);
      return 0;
    });
  }

  madvise(): number {
    return this.#do('madvise', () => 0);
  }

  // --- Descriptors.

  open(path: string): number {
    return this.#do('open', () => {
      if (path === NS_HOME) return this.#add(new PlainFile(HOME));
      if (path === '/dev/null') return this.#add(new PlainFile(NOWHERE));
      if (path !== '/dev/net/tun') return -ENOENT;
      this.tun = new FakeTun(this.#options.tun, HOME, this.#options.offloads);
      return this.#add(this.tun);
    });
  }

  close(fd: number): number {
    return this.#on('close', fd, file => {
      this.#files.delete(fd);
      for (const other of this.#files.values()) if (other instanceof FakeEpoll) other.forget(file);
      return 0;
    });
  }

  inode(fd: number): number {
    return this.#do('inode', () => this.#inode(fd));
  }

  read(fd: number, address: number, length: number): number {
    return this.#on('read', fd, file => file.read?.(bytesAt(this.memory, address, length)) ?? -EINVAL);
  }

  write(fd: number, address: number, length: number): number {
    return this.#on('write', fd, file => file.write?.(bytesAt(this.memory, address, length)) ?? -EINVAL);
  }

  writev(fd: number, iovecs: number, count: number): number {
    return this.#on('write', fd, file => {
      const pieces = iovecsAt(this.memory, iovecs, count);
      return file.write?.(new Uint8Array(Buffer.concat(pieces))) ?? -EINVAL;
    });
  }

  readInto(fd: number, buffer: Uint8Array, offset: number, length: number): number {
    return this.read(fd, this.addressOf(buffer) + offset, length);
  }

  writeFrom(fd: number, buffer: Uint8Array, offset: number, length: number): number {
    return this.write(fd, this.addressOf(buffer) + offset, length);
  }

  fcntl(fd: number): number {
    return this.#on('fcntl', fd, () => 0);
  }

  ioctl(fd: number, request: number, argument: number): number {
    return this.#on('ioctl', fd, file => {
      if (file instanceof FakeTun) return this.#tunIoctl(file, request, argument);
      const ifreq = viewOf(bytesAt(this.memory, argument, 40));
      const { tun } = this;
      if (!tun || tun.isGone || tun.namespace !== HOME || nameIn(ifreq) !== tun.name) return -ENODEV;
      if (request === SIOC.getMtu) ifreq.setUint32(16, tun.mtu, true);
      else if (request === SIOC.setMtu) tun.mtu = ifreq.getUint32(16, true);
      else if (request === SIOC.setQueueLength) tun.queueLength = ifreq.getUint32(16, true);
      else return -EINVAL;
      return 0;
    });
  }

  #tunIoctl(tun: FakeTun, request: number, argument: number): number {
    if (request === TUN_REQUESTS.setIff) {
      const ifreq = viewOf(bytesAt(this.memory, argument, 40));
      tun.name = nameIn(ifreq).replace('%d', '0');
      tun.flags = ifreq.getUint16(16, true);
      return 0;
    }
    if (tun.isGone) return -EBADF;
    if (request === TUN_REQUESTS.setOffload) return (argument & ~tun.offloads) === 0 ? 0 : -EINVAL;
    if (request === TUN_REQUESTS.namespace) return this.#add(new PlainFile(tun.namespace));
    if (request !== TUN_REQUESTS.getIff) return -EINVAL;
    const ifreq = bytesAt(this.memory, argument, 40);
    ifreq.set(Buffer.from(tun.name));
    viewOf(ifreq).setUint16(16, tun.flags, true);
    return 0;
  }

  // --- Sockets.

  socket(family: number): number {
    const kind = family === AF_NETLINK ? 'netlink' : 'udp';
    return this.#do(`socket ${kind}`, () =>
      this.#add(
        kind === 'netlink'
          ? new FakeNetlinkSocket(this.#netlink)
          : new FakeUdpSocket(family, {
              address: wanted => this.#addressFor(wanted),
              owns: ip => this.owns(ip),
              pathMtu: () => this.pathMtu,
              leave: datagram => this.#options.leave(datagram),
            }),
      ),
    );
  }

  bind(fd: number, address: number, length: number): number {
    return this.#on('bind', fd, file => {
      const name = viewOf(bytesAt(this.memory, address, length));
      if (file instanceof FakeNetlinkSocket) file.groups = name.getUint32(8, true);
      else if (file instanceof FakeUdpSocket) {
        const port = name.getUint16(2);
        const taken = this.udpSockets
          .filter(({ family }) => family === file.family)
          .map(socket => socket.port);
        if (port !== 0 && taken.includes(port)) return -EADDRINUSE;
        file.port = port === 0 ? Math.max(FIRST_PORT - 1, ...taken) + 1 : port;
      } else return -EINVAL;
      return 0;
    });
  }

  connect(): number {
    return this.#do('connect', () => -EINVAL);
  }

  getsockname(fd: number, address: number): number {
    return this.#onUdp('getsockname', fd, socket => {
      const name = viewOf(bytesAt(this.memory, address, 16));
      name.setUint16(0, socket.family, true);
      name.setUint16(2, socket.port);
      return 0;
    });
  }

  setsockopt(fd: number, level: number, name: number, value: number): number {
    return this.#onUdp('setsockopt', fd, socket => socket.setOption(level, name, value));
  }

  setsockoptAt(fd: number, level: number, name: number, address: number, length: number): number {
    bytesAt(this.memory, address, length);
    return this.#onUdp('setsockopt', fd, socket => socket.setOption(level, name, length));
  }

  getsockopt(fd: number, level: number, name: number): number {
    return this.#onUdp('getsockopt', fd, socket => socket.option(level, name));
  }

  sendmsg(): number {
    return this.#do('sendmsg', () => -EINVAL);
  }

  recvmsg(): number {
    return this.#do('recvmsg', () => -EINVAL);
  }

  sendmmsg(fd: number, mmsghdrs: number, count: number): number {
    return this.#messages('sendmmsg', fd, mmsghdrs, count, (socket, header) =>
      socket.send(this.memory, header),
    );
  }

  recvmmsg(fd: number, mmsghdrs: number, count: number): number {
    return this.#messages('recvmmsg', fd, mmsghdrs, count, (socket, header) =>
      socket.receive(this.memory, header),
    );
  }

  /** As many as go; the error of the first, or of a later one the next time (Linux net/socket.c do_recvmmsg). */
  #messages(
    call: string,
    fd: number,
    mmsghdrs: number,
    count: number,
    one: (socket: FakeUdpSocket, header: number) => number,
  ): number {
    return this.#onUdp(call, fd, socket => {
      for (let i = 0; i < count; i++) {
        // Each message may fail.
        const failed = this.#fault(`${call} message`);
        const header = mmsghdrs + i * MMSGHDR_BYTES;
        const result = failed === 0 ? one(socket, header) : -failed;
        if (result < 0) return i > 0 ? i : result;
        viewOf(bytesAt(this.memory, header, MMSGHDR_BYTES)).setUint32(56, result, true);
      }
      return count;
    });
  }

  ifNameToIndex(name: string): number {
    return this.#do('ifNameToIndex', () =>
      name === 'uplink' ? UPLINK : name === this.tun?.name ? this.tun.index : 0,
    );
  }

  // --- Waiting, and time.

  poll(pollfds: number, count: number): number {
    return this.#do('poll', () => {
      const view = viewOf(bytesAt(this.memory, pollfds, count * 8));
      let ready = 0;
      for (let i = 0; i < count; i++) {
        const asked = view.getUint16(i * 8 + 4, true) | 0x38;
        const file = this.#files.get(view.getInt32(i * 8, true));
        const happened = file ? file.ready() & asked : POLLNVAL;
        view.setUint16(i * 8 + 6, happened, true);
        if (happened !== 0) ready++;
      }
      return ready;
    });
  }

  eventfd(): number {
    return this.#do('eventfd', () => this.#add(new FakeEventFd()));
  }

  epollCreate(): number {
    return this.#do('epollCreate', () => this.#add(new FakeEpoll()));
  }

  epollCtl(epoll: number, operation: number, fd: number, event: number): number {
    return this.#on('epollCtl', epoll, waiting => {
      const bytes = bytesAt(this.memory, event, EPOLL_EVENT_BYTES);
      if (!(waiting instanceof FakeEpoll)) return -EINVAL;
      // What was closed has left by itself, and who takes it out does no harm.
      if (operation === EPOLL_CTL_DEL && !this.#files.has(fd)) return -EBADF;
      const failed = operation === EPOLL_CTL_ADD ? this.#fault('epollCtl add') : 0;
      if (failed !== 0) return -failed;
      const events = viewOf(bytes).getUint32(0, true);
      const data = bytes.slice(EPOLL_DATA_AT);
      return this.#with(fd, file => waiting.control(operation, file, events, data), 'epollCtl');
    });
  }

  epollWait(epoll: number, events: number, count: number, timeoutMs: number): number {
    return this.#on('epollWait', epoll, waiting => {
      if (!(waiting instanceof FakeEpoll)) return -EINVAL;
      const end = timeoutMs < 0 ? Number.POSITIVE_INFINITY : this.clock.monotonic + timeoutMs;
      for (;;) {
        const happened = waiting.happened(count);
        happened.forEach((each, i) => {
          const into = bytesAt(this.memory, events + i * EPOLL_EVENT_BYTES, EPOLL_EVENT_BYTES);
          viewOf(into).setUint32(0, each.events, true);
          into.set(each.data, EPOLL_DATA_AT);
        });
        if (happened.length > 0 || this.clock.monotonic >= end) return happened.length;
        const wake = Math.min(end, waiting.wakesAt());
        if (wake === Number.POSITIVE_INFINITY) throw new Error('nothing will ever end this wait');
        this.clock.monotonic = wake;
      }
    });
  }

  timerfdCreate(clock: number): number {
    return this.#do('timerfdCreate', () => this.#add(new FakeTimer(this.clock, clock)));
  }

  timerfdSettime(fd: number, flags: number, itimerspec: number): number {
    return this.#on('timerfdSettime', fd, timer => {
      const times = viewOf(bytesAt(this.memory, itimerspec, 32));
      const firstMs = Number(times.getBigUint64(16, true)) * 1e3 + Number(times.getBigUint64(24, true)) / 1e6;
      return timer instanceof FakeTimer ? timer.set(flags, firstMs) : -EINVAL;
    });
  }

  yieldCore(): number {
    return this.#do('yieldCore', () => {
      this.clock.monotonic += YIELD_MS;
      return 0;
    });
  }

  clockMs(clock: number): number {
    if (clock === CLOCK_BOOTTIME) return this.clock.boottime;
    return clock === CLOCK_REALTIME ? this.clock.realtime : this.clock.monotonic;
  }

  // --- How a call is made.

  #do(call: string, action: () => number): number {
    this.counts.set(call, (this.counts.get(call) ?? 0) + 1);
    const failed = this.#fault(call);
    try {
      return failed === 0 ? action() : -failed;
    } finally {
      this.#options.returned();
    }
  }

  #on(call: string, fd: number, action: (file: FakeFile) => number): number {
    const kind = this.#files.get(fd)?.kind ?? 'closed';
    return this.#do(`${call} ${kind}`, () => this.#with(fd, action, call));
  }

  #onUdp(call: string, fd: number, action: (socket: FakeUdpSocket) => number): number {
    return this.#on(call, fd, file => (file instanceof FakeUdpSocket ? action(file) : -EINVAL));
  }

  #with(fd: number, action: (file: FakeFile) => number, call: string): number {
    const file = this.#files.get(fd);
    if (file) return action(file);
    this.misuses.push(`${call}: no descriptor ${fd}`);
    return -EBADF;
  }

  /** What a call is to fail with now; 0 for nothing. */
  #fault(call: string): number {
    const at = this.#faults.findIndex(fault => fault.call === call);
    if (at < 0) return 0;
    const fault = this.#faults[at];
    if (fault.after > 0) {
      fault.after--;
      return 0;
    }
    if (--fault.times <= 0) this.#faults.splice(at, 1);
    return fault.errno;
  }

  #add(file: FakeFile): number {
    let fd = 3;
    while (this.#files.has(fd)) fd++;
    this.#files.set(fd, file);
    return fd;
  }

  #inode(fd: number): number {
    const file = this.#files.get(fd);
    return file instanceof PlainFile ? file.inode : -EBADF;
  }

  #addressFor(family: number): Uint8Array {
    return this.addresses.find(({ length }) => length === (family === AF_INET ? 4 : 16)) ?? new Uint8Array(0);
  }
}

function nameIn(ifreq: DataView): string {
  const bytes = new Uint8Array(ifreq.buffer, ifreq.byteOffset, 16);
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString();
}
