// UDP for a device thread: one port, IPv4 and IPv6, read and written in batches, synchronously.
// Promises: no network error throws or ends the socket. An answer leaves by the address and interface at which the
// datagram came in; when the kernel refuses that, it is forgotten and the datagram goes once more without.
// Read on: Linux drivers/net/wireguard/socket.c; wireguard-go conn/sticky_linux.go; man 7 ip, man 7 ipv6.

import type { Room } from '../../../native/room.js';
import { TunnelError } from '../../errors.js';
import { parseIp } from '../../ip.js';
import {
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAFNOSUPPORT,
  EAGAIN,
  EHOSTUNREACH,
  EINTR,
  EINVAL,
  EIO,
  EMSGSIZE,
  ENETUNREACH,
  ENODEV,
  ENXIO,
  errnoName,
  systemCallError,
} from '../errno.js';
import {
  AF_INET,
  AF_INET6,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_UDP,
  IPV6_RECVPKTINFO,
  IPV6_V6ONLY,
  IP_PKTINFO,
  type Libc,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_IN_BYTES,
  SOCK_CLOEXEC_NONBLOCK,
  SOCK_DGRAM,
  SOL_SOCKET,
  SO_MARK,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  UDP_GRO,
  UDP_SEGMENT,
  checked,
} from '../libc.js';
import { DatagramPool, type DatagramSlot } from './datagram-pool.js';
import { ReceiveBatch, SLOT_BYTES } from './receive-batch.js';
import { SendBatch } from './send-batch.js';
import { type LinuxUdpEndpoint, swapPort } from './udp-endpoint.js';

/** What wireguard-go asks for, in bytes. Root gets it, others as much as the system allows. */
const SOCKET_BUFFER_BYTES = 7 * 1024 * 1024;
const BATCH = 32;
/** Of the memory that a socket with the default batch receives to. */
export const RECEIVE_BYTES = BATCH * SLOT_BYTES;
const BIND_ATTEMPTS = 16;
/** Errors that wait on a socket are taken one a call; a flood of them must not hold the loop. */
const MAX_WAITING_ERRORS = 64;
const MAX_BYTES_V4 = 65_507;
const MAX_BYTES_V6 = 65_527;

export interface LinuxUdpOptions {
  /** 0, the default, takes any port that is free in both families. */
  readonly port?: number;
  /** The firewall mark of what we send; 0, the default, is none. */
  readonly mark?: number;
  /** The IPv4 address to bind to, or `false` for none. Default `0.0.0.0`. */
  readonly ipv4?: string | false;
  /** The IPv6 address to bind to, or `false` for none. Default `::`. */
  readonly ipv6?: string | false;
  readonly socketBufferBytes?: number;
  /** Messages in one system call. Default 32. */
  readonly batch?: number;
  /** Where datagrams to be sent lie. Default: a pool of this socket's own. */
  readonly pool?: DatagramPool;
  /** Where datagrams are received to; for sockets that follow each other, with the default batch. Default: memory of its own. */
  readonly receiveMemory?: Room;
  /** Let the kernel split and join datagrams where it can. Default true. */
  readonly offloads?: boolean;
}

export interface LinuxUdpCounters {
  received: number;
  sent: number;
  /** Received and longer than any datagram can be, or from no IP address. */
  malformed: number;
  /** Not sent: no socket for this address family. */
  noFamily: number;
  /** Not sent: empty, or longer than a datagram can be. */
  badLength: number;
  /** Not sent: the system does not keep up. */
  queueFull: number;
  /** Not sent: the system refused it; `lastError` says how. */
  sendFailed: number;
  /** Sent without the source that it should have had. */
  sourcesForgotten: number;
  /** Taken from a socket on which the network had left them. */
  waitingErrors: number;
  /** Runs of datagrams that the system did not split: sent again one by one. */
  runsRefused: number;
}

export type DatagramHandler = (datagram: Room, from: LinuxUdpEndpoint) => void;

interface Family {
  readonly fd: number;
  readonly out: SendBatch;
  readonly maxBytes: number;
  /** Whether the kernel splits what we send, and joins what we receive. */
  segments: boolean;
  readonly joins: boolean;
}

/**
 * Serial numbers of what sources are good for, for all sockets of this thread: what an older socket has learnt is not
 * good for a newer one.
 */
let lastSerial = 0;

export class LinuxUdpSocket {
  readonly port: number;
  readonly counters: LinuxUdpCounters = {
    received: 0,
    sent: 0,
    malformed: 0,
    noFamily: 0,
    badLength: 0,
    queueFull: 0,
    sendFailed: 0,
    sourcesForgotten: 0,
    waitingErrors: 0,
    runsRefused: 0,
  };
  /** The name of the last error of sending or receiving that was not waited out, such as `EPERM`. */
  lastError: string | undefined;
  readonly #libc: Libc;
  readonly #pool: DatagramPool;
  readonly #v4: Family | undefined;
  readonly #v6: Family | undefined;
  readonly #in: ReceiveBatch;
  #sourceSerial = ++lastSerial;
  #mark: number;
  #closed = false;

  private constructor(libc: Libc, port: number, v4: number, v6: number, options: LinuxUdpOptions) {
    const { batch = BATCH, mark = 0, offloads = true } = options;
    this.port = port;
    this.#libc = libc;
    this.#mark = mark;
    this.#pool = options.pool ?? new DatagramPool(libc);
    this.#in = new ReceiveBatch(libc, batch, SLOT_BYTES, options.receiveMemory);
    const family = (fd: number, maxBytes: number): Family => {
      const segments = offloads && libc.getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT) >= 0;
      const joins = offloads && libc.setsockopt(fd, IPPROTO_UDP, UDP_GRO, 1) >= 0;
      const out = new SendBatch(libc, this.#pool, batch);
      if (!segments) out.segmentLimit = 0;
      return { fd, out, maxBytes, segments, joins };
    };
    if (v4 >= 0) this.#v4 = family(v4, MAX_BYTES_V4);
    if (v6 >= 0) this.#v6 = family(v6, MAX_BYTES_V6);
  }

  /**
   * Binds. A family that the machine lacks is left out (its descriptor is -1). Throws `ERR_UDP_BIND` when the port is
   * taken, an address is not ours, or no family is left, and `ERR_SYSTEM_CALL` when the mark cannot be set.
   */
  static open(libc: Libc, options: LinuxUdpOptions = {}): LinuxUdpSocket {
    const { port = 0 } = options;
    for (let attempt = 1; ; attempt++) {
      const v4 = bindFamily(libc, AF_INET, port, options.ipv4 ?? '0.0.0.0', options);
      try {
        const shared = v4 < 0 ? port : localPort(libc, v4);
        const v6 = bindFamily(libc, AF_INET6, shared, options.ipv6 ?? '::', options);
        if (v4 < 0 && v6 < 0)
          throw new TunnelError('ERR_UDP_BIND', 'no UDP socket: no address family is left');
        return new LinuxUdpSocket(libc, v4 < 0 ? localPort(libc, v6) : shared, v4, v6, options);
      } catch (error) {
        if (v4 >= 0) libc.close(v4);
        // The port that IPv4 gave us may be another's in IPv6: ask for a new one.
        const conflict = (error as TunnelError).errno === errnoName(EADDRINUSE);
        if (port !== 0 || !conflict || attempt === BIND_ATTEMPTS) throw error;
      }
    }
  }

  /** For polling; -1 without IPv4. */
  get fd4(): number {
    return this.#v4?.fd ?? -1;
  }

  /** For polling; -1 without IPv6. */
  get fd6(): number {
    return this.#v6?.fd ?? -1;
  }

  /** Datagrams that wait for room in the system. */
  get pending(): number {
    return this.pending4 + this.pending6;
  }

  /** Of those, the ones of this family. While there are any, poll its socket, and no other, for `POLLOUT`, then `flush`. */
  get pending4(): number {
    return this.#v4?.out.pending ?? 0;
  }

  get pending6(): number {
    return this.#v6?.out.pending ?? 0;
  }

  get mark(): number {
    return this.#mark;
  }

  /** What the kernel does for us: `UDP_SEGMENT`, `UDP_GRO`. */
  get offloads(): string[] {
    const families = [this.#v4, this.#v6].filter(family => family !== undefined);
    return [
      ...(families.some(({ segments }) => segments) ? ['UDP_SEGMENT'] : []),
      ...(families.some(({ joins }) => joins) ? ['UDP_GRO'] : []),
    ];
  }

  /** Throws `ERR_SYSTEM_CALL`. */
  setMark(mark: number): void {
    for (const family of [this.#v4, this.#v6]) if (family) setMark(this.#libc, family.fd, mark);
    this.#mark = mark;
  }

  /**
   * Reads one batch from one of the two sockets and hands each datagram on, where it lies. The bytes
   * may be changed, and are good until the next call. Returns how many messages came, 0 when none waits; `isDrained` tells
   * whether there may be more.
   */
  receive(fd: number, handle: DatagramHandler): number {
    const received = this.#receive(fd);
    const batch = this.#in;
    for (let i = 0; i < received; i++) {
      const from = batch.truncated(i) ? undefined : batch.from(i, this.#sourceSerial);
      if (!from) {
        this.counters.malformed++;
        continue;
      }
      const length = batch.length(i);
      const segmentBytes = batch.segmentBytes(i);
      let start = 0;
      do {
        this.counters.received++;
        handle(batch.part(i, start, Math.min(segmentBytes, length - start)), from);
        start += segmentBytes;
      } while (start < length);
    }
    return received;
  }

  /** Copies a datagram behind those that wait, and sends them when there are enough. False: dropped, and counted. */
  queue(datagram: Uint8Array, to: LinuxUdpEndpoint): boolean {
    const family = this.#familyFor(datagram.length, to);
    if (!family) return false;
    const slot = this.#pool.take(datagram.length) ?? this.#flushAndTake(datagram.length);
    if (!slot) {
      this.counters.queueFull++;
      return false;
    }
    slot.bytes.set(datagram);
    return this.#push(family, slot, to);
  }

  /** Like `queue`, for a datagram that already lies in a slot of the pool, which is this socket's from here on. */
  queueTaken(slot: DatagramSlot, to: LinuxUdpEndpoint): boolean {
    const family = this.#familyFor(slot.bytes.length, to);
    if (family) return this.#push(family, slot, to);
    this.#pool.give(slot);
    return false;
  }

  /** Whether the last `receive` got all that waited. */
  get isDrained(): boolean {
    return !this.#in.isFull;
  }

  /** Sends what waits. Returns how many datagrams still do. */
  flush(): number {
    if (this.#v4) this.#flush(this.#v4);
    if (this.#v6) this.#flush(this.#v6);
    return this.pending;
  }

  /** Gives up what waits. */
  discard(): void {
    for (const family of [this.#v4, this.#v6]) family?.out.clear();
  }

  /** Call when routes or addresses changed: every answer goes by the kernel's choice until its peer is heard again. */
  forgetSources(): void {
    this.#sourceSerial = ++lastSerial;
    // Another path may carry longer datagrams.
    for (const family of [this.#v4, this.#v6]) {
      if (family?.segments) family.out.segmentLimit = Number.POSITIVE_INFINITY;
    }
  }

  /** What waits is lost. May be called twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.discard();
    for (const family of [this.#v4, this.#v6]) if (family) this.#libc.close(family.fd);
  }

  /** The socket for a datagram of this length to this endpoint; none when it cannot be sent, which is counted. */
  #familyFor(length: number, to: LinuxUdpEndpoint): Family | undefined {
    const { counters } = this;
    const family = to.isV4 ? this.#v4 : this.#v6;
    if (!family) counters.noFamily++;
    else if (length === 0 || length > family.maxBytes) counters.badLength++;
    else if (to.portWord === 0) counters.sendFailed++;
    else return family;
    return undefined;
  }

  #push(family: Family, slot: DatagramSlot, to: LinuxUdpEndpoint): boolean {
    if (family.out.full) this.#flush(family);
    if (family.out.full) {
      this.#pool.give(slot);
      this.counters.queueFull++;
      return false;
    }
    family.out.push(slot, to, to.sourceSerial === this.#sourceSerial);
    return true;
  }

  #flushAndTake(length: number): DatagramSlot | undefined {
    this.flush();
    return this.#pool.take(length);
  }

  #receive(fd: number): number {
    for (let attempt = 0; attempt < MAX_WAITING_ERRORS; attempt++) {
      const received = this.#in.receive(fd);
      if (received >= 0) return received;
      if (received === -EAGAIN) return 0;
      if (received === -EINTR) continue;
      // Somebody's host is gone or refused us: the kernel tells once, and the next call gets the next datagram.
      this.counters.waitingErrors++;
      this.lastError = errnoName(received);
    }
    return 0;
  }

  #flush(family: Family): void {
    const { fd, out } = family;
    let again = true;
    while (out.pending > 0) {
      const sent = out.send(fd);
      if (sent > 0) {
        this.counters.sent += sent;
        again = true;
      } else if (sent === -EAGAIN) return;
      else if (sent !== -EINTR) again = this.#refused(family, -sent, again);
    }
  }

  /** Decides on the first message, which the kernel refused. Returns whether the next refusal earns another try. */
  #refused(family: Family, errno: number, again: boolean): boolean {
    const { out } = family;
    if (blamesTheWay(errno)) {
      const target = out.forgetSource();
      if (target) {
        this.#in.distrust(target);
        this.counters.sourcesForgotten++;
        return true;
      }
    }
    if (out.firstRun > 0 && blamesTheRun(errno)) {
      this.counters.runsRefused++;
      // No device on this way can do it (wireguard-go conn/errors_linux.go); or the way carries no such segments whole.
      if (errno === EIO) family.segments = false;
      out.segmentLimit = errno === EIO ? 0 : out.firstRun - 1;
      return true;
    }
    // It may be an error that an earlier datagram left on the socket. Then the second try succeeds.
    if (again) return false;
    this.counters.sendFailed += out.drop();
    this.lastError = errnoName(errno);
    return true;
  }
}

function blamesTheRun(errno: number): boolean {
  return errno === EIO || errno === EINVAL || errno === EMSGSIZE;
}

function blamesTheWay(errno: number): boolean {
  switch (errno) {
    case EINVAL:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
    case ENODEV:
    case ENXIO:
      return true;
    default:
      return false;
  }
}

/** A bound socket; -1 when it is not wanted or the machine lacks the family. */
function bindFamily(
  libc: Libc,
  family: typeof AF_INET | typeof AF_INET6,
  port: number,
  address: string | false,
  options: LinuxUdpOptions,
): number {
  if (address === false) return -1;
  const v4 = family === AF_INET;
  const ip = parseIp(address)?.ip;
  if (ip?.length !== (v4 ? 4 : 16)) {
    throw new TunnelError(
      'ERR_UDP_BIND',
      `no IPv${v4 ? 4 : 6} address to bind to: ${JSON.stringify(address)}`,
    );
  }
  const fd = libc.socket(family, SOCK_DGRAM | SOCK_CLOEXEC_NONBLOCK, IPPROTO_UDP);
  if (fd === -EAFNOSUPPORT) return -1;
  if (fd < 0) throw systemCallError('socket', fd, '', 'ERR_UDP_BIND');
  try {
    if (!v4) checked(libc.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1), 'setsockopt IPV6_V6ONLY');
    // Without it answers leave by the kernel's choice of address, which is right on most machines.
    if (v4) libc.setsockopt(fd, IPPROTO_IP, IP_PKTINFO, 1);
    else libc.setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    growBuffers(libc, fd, options.socketBufferBytes ?? SOCKET_BUFFER_BYTES);
    if (options.mark) setMark(libc, fd, options.mark);
    const name = libc.alloc(SOCKADDR_IN6_BYTES);
    name.u32[0] = family | (swapPort(port) << 16);
    name.bytes.set(ip, v4 ? 4 : 8);
    const bound = libc.bind(fd, name.address, v4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES);
    if (bound < 0) {
      // A kernel with IPv6 switched off by a setting makes the socket, and refuses its address.
      if (!v4 && bound === -EADDRNOTAVAIL && options.ipv6 === undefined) {
        libc.close(fd);
        return -1;
      }
      throw systemCallError('bind', bound, `${address} port ${port}`, 'ERR_UDP_BIND');
    }
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

function growBuffers(libc: Libc, fd: number, bytes: number): void {
  if (libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes) < 0) {
    libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, bytes);
  }
  if (libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, bytes) < 0) {
    libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, bytes);
  }
}

function setMark(libc: Libc, fd: number, mark: number): void {
  checked(libc.setsockopt(fd, SOL_SOCKET, SO_MARK, mark), 'setsockopt SO_MARK', `mark ${mark}`);
}

function localPort(libc: Libc, fd: number): number {
  const name = libc.alloc(SOCKADDR_IN6_BYTES);
  checked(libc.getsockname(fd, name.address, SOCKADDR_IN6_BYTES), 'getsockname');
  return swapPort(name.u32[0] >>> 16);
}
