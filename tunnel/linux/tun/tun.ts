// A TUN device of Linux: the network interface whose packets a tunnel carries.
// Promises: reading and writing never block, allocate nothing and throw nothing; trouble comes as a negative number, which
// `tunOutcome` puts into a word. State and name are asked of the descriptor itself, so that they hold after the interface
// was renamed or moved to another network namespace; what goes by name (MTU) is refused there rather than asked of whoever
// has the name at home.
// Read on: Linux drivers/net/tun.c (tun_chr_poll, tun_get_user, __tun_chr_ioctl), ../net/link-monitor.ts (who notices changes).

import type { NativeMemory } from '../../../native/native-memory.js';
import { TunnelError } from '../../errors.js';
import {
  EAGAIN,
  EBADF,
  EBADFD,
  EFAULT,
  EINTR,
  EINVAL,
  EIO,
  ENODEV,
  ENOBUFS,
  ENOMEM,
  systemCallError,
} from '../errno.js';
import {
  AF_INET,
  F_GETFL,
  F_SETFL,
  IOVEC_BYTES,
  type Libc,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
  POLLERR,
  POLLFD_BYTES,
  POLLHUP,
  POLLNVAL,
  POLLOUT,
  SOCK_CLOEXEC_NONBLOCK,
  SOCK_DGRAM,
  checked,
} from '../libc.js';
import { homeNamespace, namespaceOfTun } from '../net/namespace.js';
import { MAX_JOINED, type TunWrite } from '../offload/coalescer.js';
import { VNET_HEADER_BYTES } from '../offload/vnet-header.js';

const CLONE_DEVICE = '/dev/net/tun';
const TUNSETIFF = 0x4004_54ca;
const TUNGETIFF = 0x8004_54d2;
const TUNSETOFFLOAD = 0x4004_54d0;
const SIOCGIFMTU = 0x8921;
const SIOCSIFMTU = 0x8922;
const SIOCSIFTXQLEN = 0x8943;
const IFF_TUN = 1;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const IFREQ_BYTES = 40;
const IFNAMSIZ = 16;
/** In the memory of a write: behind the virtio-net header, aligned. */
const IOVECS_AT = 16;
/** What the kernel may leave to us, in steps from new kernels to old ones: TUN_F_CSUM, _TSO4, _TSO6, _TSO_ECN, _USO4, _USO6. */
const TSO = 1 | 2 | 4 | 8;
const USO = 0x20 | 0x40;
const OFFLOADS = [
  { bits: TSO | USO, names: ['TUN_TSO', 'TUN_USO'] },
  { bits: TSO, names: ['TUN_TSO'] },
];
const NO_OFFLOADS = { bits: 0, names: [] };
/** What the kernel gives its own WireGuard interfaces; TUN devices get 500, which loses packets in bursts. */
export const TUN_QUEUE_LENGTH = 1_000;

/** `gone`: the interface was deleted, and the descriptor is of no more use. */
export type TunState = 'up' | 'down' | 'gone';

/**
 * What a negative result means. `again`: nothing to read, or no room: wait. `down`: the interface is down, and the
 * packet is lost. `gone`: the interface was deleted. `refused`: the kernel takes no such packet.
 */
export type TunOutcome = 'again' | 'down' | 'gone' | 'refused';

export interface TunOptions {
  /** 1 to 15 bytes; with `%d` in it the kernel puts a number there. */
  readonly name: string;
  /** Bytes. Default: the kernel's, 1500. */
  readonly mtu?: number;
  /** Whether every packet has a virtio-net header in front, as offloads need it. Default false. */
  readonly vnetHeader?: boolean;
  /**
   * Have the kernel hand over packets of up to 64 KiB to be split, with checksums to be completed, as far as it can;
   * with a virtio-net header in front if it has that. Default false.
   */
  readonly offloads?: boolean;
  /**
   * Packets that wait for us in the kernel. Default 1000, as the kernel's own WireGuard has; in a user namespace what
   * the kernel says.
   */
  readonly queueLength?: number;
}

/** What a negative result of `read` or `write` means. */
export function tunOutcome(result: number): TunOutcome {
  switch (-result) {
    case EAGAIN:
    case EINTR:
    case ENOBUFS:
    case ENOMEM:
      return 'again';
    case EIO:
      return 'down';
    case EBADFD:
    case EBADF:
    case ENODEV:
    case EFAULT:
      return 'gone';
    default:
      return 'refused';
  }
}

export class LinuxTun {
  /** For polling: readable when a packet waits, in error when the interface is gone. */
  readonly fd: number;
  /** Bytes in front of every packet, read or written: 10 with a virtio-net header, else 0. */
  readonly vnetHeaderBytes: number;
  readonly #libc: Libc;
  /** A socket at home: interfaces are asked for by name through any. */
  readonly #socket: number;
  readonly #home: number | undefined;
  readonly #ifreq: NativeMemory;
  readonly #pollfd: NativeMemory;
  /** For `writeJoined`: a virtio-net header, and iovecs behind it. */
  readonly #write: NativeMemory;
  #offloads: readonly string[] = [];
  #closed = false;

  private constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.#home = homeNamespace(libc);
    this.fd = fd;
    this.#ifreq = libc.alloc(IFREQ_BYTES);
    this.#pollfd = libc.alloc(POLLFD_BYTES);
    this.#write = libc.alloc(IOVECS_AT + (1 + MAX_JOINED) * IOVEC_BYTES);
    const flags = this.#query();
    if (flags < 0) throw systemCallError('ioctl TUNGETIFF', flags, `descriptor ${fd}`, 'ERR_TUN');
    const unfit =
      (flags & IFF_TAP) !== 0 ? 'a TAP device' : (flags & IFF_NO_PI) === 0 ? 'opened without IFF_NO_PI' : '';
    if (unfit !== '') throw new TunnelError('ERR_TUN', `descriptor ${fd} is of no use: it is ${unfit}`);
    this.vnetHeaderBytes = (flags & IFF_VNET_HDR) === 0 ? 0 : VNET_HEADER_BYTES;
    this.#socket = checked(libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC_NONBLOCK, 0), 'socket');
  }

  /** Makes an interface, down. Throws `ERR_TUN`. */
  static create(libc: Libc, options: TunOptions): LinuxTun {
    const { name } = options;
    const fd = libc.open(CLONE_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) throw systemCallError('open', fd, CLONE_DEVICE, 'ERR_TUN');
    return guarded(libc, fd, () => {
      const { vnetHeader = false, offloads = false } = options;
      const ifreq = libc.alloc(IFREQ_BYTES);
      putName(ifreq, name);
      const setIff = (flags: number) => {
        ifreq.u32[IFNAMSIZ / 4] = IFF_TUN | IFF_NO_PI | flags;
        return libc.ioctl(fd, TUNSETIFF, ifreq.address);
      };
      let set = setIff(vnetHeader || offloads ? IFF_VNET_HDR : 0);
      // No offloads then. So it is where another program stands in for the kernel.
      if (set === -EINVAL && !vnetHeader && offloads) set = setIff(0);
      if (set < 0) throw systemCallError('ioctl TUNSETIFF', set, `interface ${name}`, 'ERR_TUN');
      return new LinuxTun(libc, fd).#configured(options, options.queueLength ?? TUN_QUEUE_LENGTH);
    });
  }

  /** Takes over a descriptor that somebody else opened, as `WG_TUN_FD` says: ours from here on, whatever comes of it. */
  static adopt(libc: Libc, fd: number, options: Pick<TunOptions, 'mtu' | 'offloads'> = {}): LinuxTun {
    return guarded(libc, fd, () => {
      const tun = new LinuxTun(libc, fd);
      const flags = checked(libc.fcntl(fd, F_GETFL), 'fcntl F_GETFL');
      checked(libc.fcntl(fd, F_SETFL, flags | O_NONBLOCK), 'fcntl F_SETFL');
      return tun.#configured(options, undefined);
    });
  }

  /** The name now: an interface can be renamed. Throws `ERR_TUN` when it is gone. */
  name(): string {
    const flags = this.#query();
    if (flags < 0) throw systemCallError('ioctl TUNGETIFF', flags, 'the interface is gone', 'ERR_TUN');
    return this.#name();
  }

  /** Bytes. Throws `ERR_TUN` when the interface is gone, or lies in another network namespace. */
  mtu(): number {
    this.#atHome('SIOCGIFMTU', SIOCGIFMTU, 0);
    return this.#ifreq.u32[IFNAMSIZ / 4];
  }

  /** Throws like `mtu`, and for a number that the kernel refuses. */
  setMtu(mtu: number): void {
    if (!Number.isInteger(mtu) || mtu < 1) throw new TunnelError('ERR_TUN', `no MTU: ${mtu}`);
    this.#atHome('SIOCSIFMTU', SIOCSIFMTU, mtu);
  }

  /** Works in whatever network namespace the interface lies. */
  state(): TunState {
    const { u32, address } = this.#pollfd;
    u32[0] = this.fd;
    u32[1] = POLLOUT;
    // The kernel calls a TUN device writable exactly while its interface is up, and in error once it is deleted.
    if (this.#libc.poll(address, 1, 0) < 0) return 'down';
    const happened = u32[1] >>> 16;
    if ((happened & (POLLERR | POLLHUP | POLLNVAL)) !== 0) return 'gone';
    return (happened & POLLOUT) === 0 ? 'down' : 'up';
  }

  /** One packet into `buffer[offset, offset + length)`: its length, cut to `length`, or `-errno`. */
  read(buffer: Uint8Array, offset: number, length: number): number {
    return this.#libc.readInto(this.fd, buffer, offset, length);
  }

  /** One packet from `buffer[offset, offset + length)`: `length`, or `-errno`. */
  write(buffer: Uint8Array, offset: number, length: number): number {
    return this.#libc.writeFrom(this.fd, buffer, offset, length);
  }

  /** What the kernel leaves to us: `TUN_TSO`, `TUN_USO`. */
  get offloads(): readonly string[] {
    return this.#offloads;
  }

  /** One packet in pieces, which the kernel takes as they lie: the bytes written, or `-errno`. Only with a virtio-net header. */
  writeJoined({ vnetHeader, addresses, lengths, count, headersLength }: TunWrite): number {
    const memory = this.#write;
    for (let i = 0; i < VNET_HEADER_BYTES; i++) memory.bytes[i] = vnetHeader[i];
    memory.setU64(IOVECS_AT, memory.address);
    memory.u32[IOVECS_AT / 4 + 2] = VNET_HEADER_BYTES;
    for (let i = 0, at = IOVECS_AT + IOVEC_BYTES; i < count; i++, at += IOVEC_BYTES) {
      const skip = i === 0 ? 0 : headersLength;
      memory.setU64(at, addresses[i] + skip);
      memory.u32[at / 4 + 2] = lengths[i] - skip;
    }
    return this.#libc.writev(this.fd, memory.address + IOVECS_AT, 1 + count);
  }

  /** Gives the descriptor back. Whoever made the interface without `ip tuntap` loses it by that. May be called twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#libc.close(this.#socket);
    this.#libc.close(this.fd);
  }

  #configured({ mtu, offloads = false }: Omit<TunOptions, 'name'>, queueLength: number | undefined): this {
    // Those of a descriptor that somebody else opened may be anything.
    if (this.vnetHeaderBytes > 0) this.#setOffloads(offloads);
    try {
      if (mtu !== undefined) this.setMtu(mtu);
      if (queueLength !== undefined) this.#setQueueLength(queueLength);
    } catch (error) {
      this.#libc.close(this.#socket);
      throw error;
    }
    return this;
  }

  // For this alone the kernel asks for rights outside of a user namespace, as a rootless container has one of its own.
  #setQueueLength(packets: number): void {
    try {
      this.#atHome('SIOCSIFTXQLEN', SIOCSIFTXQLEN, packets);
    } catch (error) {
      if ((error as TunnelError).errno !== 'EPERM') throw error;
    }
  }

  #setOffloads(wanted: boolean): void {
    const attempts = wanted ? [...OFFLOADS, NO_OFFLOADS] : [NO_OFFLOADS];
    const set = attempts.find(({ bits }) => this.#libc.ioctl(this.fd, TUNSETOFFLOAD, bits) >= 0);
    this.#offloads = set?.names ?? [];
  }

  /** The device's flags, with its name in `#ifreq`; or `-errno`. */
  #query(): number {
    this.#ifreq.bytes.fill(0);
    const result = this.#libc.ioctl(this.fd, TUNGETIFF, this.#ifreq.address);
    return result < 0 ? result : this.#ifreq.u32[IFNAMSIZ / 4] & 0xffff;
  }

  #name(): string {
    const end = this.#ifreq.bytes.indexOf(0);
    return Buffer.from(this.#ifreq.bytes.subarray(0, Math.min(end, IFNAMSIZ))).toString();
  }

  /** A request about the interface by its name, with a number in and out. */
  #atHome(call: string, request: number, value: number): void {
    const name = this.name();
    const namespace = namespaceOfTun(this.#libc, this.fd);
    if (namespace !== undefined && namespace !== this.#home) {
      throw new TunnelError('ERR_TUN', `${name} lies in another network namespace: ${call} cannot be made`);
    }
    this.#ifreq.u32[IFNAMSIZ / 4] = value;
    const result = this.#libc.ioctl(this.#socket, request, this.#ifreq.address);
    if (result < 0) {
      throw systemCallError(`ioctl ${call}`, result, `interface ${name}, value ${value}`, 'ERR_TUN');
    }
  }
}

function guarded(libc: Libc, fd: number, action: () => LinuxTun): LinuxTun {
  try {
    return action();
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

function putName(ifreq: NativeMemory, name: string): void {
  const bytes = Buffer.from(name);
  // The kernel's rule (dev_valid_name), said before it answers EINVAL for a dozen reasons.
  if (
    bytes.length === 0 ||
    bytes.length >= IFNAMSIZ ||
    /[/:\s\0]/.test(name) ||
    name === '.' ||
    name === '..'
  ) {
    throw new TunnelError('ERR_TUN', `no name for an interface: ${JSON.stringify(name.slice(0, 40))}`);
  }
  ifreq.bytes.set(bytes);
}
