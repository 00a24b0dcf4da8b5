// A TUN device: the network interface whose packets a tunnel carries.
// Promises: reading and writing never block, allocate nothing and throw nothing; trouble comes as a negative number,
// which `tunOutcome` puts into a word. Linux alone has an implementation, linux/tun.ts.
// Read on: Linux Documentation/networking/tuntap.rst; linux/link-monitor.ts (who notices changes).

import { requireLibc } from './linux/libc.js';
import { LinuxTun } from './linux/tun.js';

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
  /** Packets that wait for us in the kernel. Default 1000, as the kernel's own WireGuard has; in a user namespace what the kernel says. */
  readonly queueLength?: number;
}

export interface TunDevice {
  /** For polling: readable when a packet waits, in error when the interface is gone. */
  readonly fd: number;
  /** Bytes in front of every packet, read or written: 10 with a virtio-net header, else 0. */
  readonly vnetHeaderBytes: number;
  /** What the kernel leaves to us: `TUN_TSO`, `TUN_USO`. */
  readonly offloads: readonly string[];
  /** The name now: an interface can be renamed. Throws `ERR_TUN` when it is gone. */
  name(): string;
  /** Bytes. Throws `ERR_TUN` when the interface is gone, or lies in another network namespace. */
  mtu(): number;
  /** Throws like `mtu`, and for a number that the kernel refuses. */
  setMtu(mtu: number): void;
  /** Works in whatever network namespace the interface lies. */
  state(): TunState;
  /** One packet into `buffer[offset, offset + length)`: its length, cut to `length`, or `-errno`. */
  read(buffer: Uint8Array, offset: number, length: number): number;
  /** One packet from `buffer[offset, offset + length)`: `length`, or `-errno`. */
  write(buffer: Uint8Array, offset: number, length: number): number;
  /** Gives the descriptor back. Whoever made the interface without `ip tuntap` loses it by that. May be called twice. */
  close(): void;
}

/** Makes an interface, down. Throws `ERR_NO_SYSTEM_CALLS` off Linux, and `ERR_TUN`. */
export function createTun(options: TunOptions): TunDevice {
  return LinuxTun.create(requireLibc(), options);
}

/** Takes over a descriptor that somebody else opened, as `WG_TUN_FD` says. Throws as `createTun`. */
export function adoptTun(fd: number, options: Pick<TunOptions, 'mtu' | 'offloads'> = {}): TunDevice {
  return LinuxTun.adopt(requireLibc(), fd, options);
}

export { tunOutcome } from './linux/tun.js';
