// Datagrams over UDP: one port, IPv4 and IPv6, on Node's event loop.
// Promises: no network error ends the process or the socket; a machine without one family gets along with the other.
// Read on: wireguard-go conn/bind_std.go (one port for both families, and the size of its buffers).

import dgram, { type RemoteInfo, type Socket } from 'node:dgram';
import type { Endpoint } from '../../sessions/ports.js';
import { EndpointCache, UdpEndpoint } from '../endpoint.js';
import { TunnelError } from '../errors.js';
import { newCounters, type Transport, type TransportDrop } from '../transport.js';

/** What wireguard-go asks for, in bytes; the system may give less. */
export const SOCKET_BUFFER_BYTES = 7 * 1024 * 1024;
/** The most that fits into a UDP datagram over IPv6; over IPv4 the system refuses 20 bytes earlier. */
const MAX_DATAGRAM_BYTES = 65_527;
/** How often to look for a port that is free in both families, when any will do. */
const BIND_ATTEMPTS = 16;
// A machine without a family says so in one of these ways.
const FAMILY_MISSING = new Set(['EAFNOSUPPORT', 'EPROTONOSUPPORT', 'EADDRNOTAVAIL', 'EPFNOSUPPORT']);

/** Where to bind. */
export interface UdpOptions {
  /** 0, the default, takes any port that is free in both families. */
  readonly port?: number;
  /** The IPv4 address to bind to, or `false` for none. Default `0.0.0.0`. */
  readonly ipv4?: string | false;
  /** The IPv6 address to bind to, or `false` for none. Default `::`. */
  readonly ipv6?: string | false;
  /** Bytes asked of the system for each direction, best effort. */
  readonly socketBufferBytes?: number;
}

export type FamilyStatus =
  | {
      readonly bound: true;
      readonly address: string;
      /** What the system gave. Linux counts its own bookkeeping in and so reports twice the bytes. */
      readonly receiveBufferBytes: number;
      readonly sendBufferBytes: number;
    }
  | { readonly bound: false; readonly reason: string };

/** What was bound. */
export interface UdpStatus {
  readonly port: number;
  readonly ipv4: FamilyStatus;
  readonly ipv6: FamilyStatus;
}

type Family = { readonly socket: Socket; readonly status: FamilyStatus & { bound: true } };
type Missing = { readonly socket?: undefined; readonly status: FamilyStatus & { bound: false } };

/** Datagrams over UDP: one port, both families. */
export class UdpTransport implements Transport {
  readonly kind = 'udp';
  readonly counters = newCounters();
  readonly status: UdpStatus;
  onDatagram: (datagram: Uint8Array, from: Endpoint) => void = () => {};
  onError: (error: TunnelError) => void = () => {};
  readonly #v4: Socket | undefined;
  readonly #v6: Socket | undefined;
  readonly #endpoints = new EndpointCache();
  #closed: Promise<void> | undefined;

  private constructor(port: number, v4: Family | Missing, v6: Family | Missing) {
    this.#v4 = v4.socket;
    this.#v6 = v6.socket;
    this.status = { port, ipv4: v4.status, ipv6: v6.status };
    for (const socket of this.#sockets()) {
      socket.on('message', (datagram, from) => this.#received(datagram, from));
      socket.on('error', cause => this.#report('ERR_UDP_RECEIVE', cause));
    }
  }

  /**
   * Binds. A family that the machine lacks is left out, and `status` says why. Throws `ERR_UDP_BIND` when the port is
   * taken, the address is not ours, or no family is left.
   */
  static async open(options: UdpOptions = {}): Promise<UdpTransport> {
    const { port = 0 } = options;
    let conflict: unknown;
    for (let attempt = 0; attempt < (port === 0 ? BIND_ATTEMPTS : 1); attempt++) {
      const v4 = await bindFamily('udp4', port, options.ipv4 ?? '0.0.0.0', options);
      const shared = v4.socket?.address().port ?? port;
      try {
        const v6 = await bindFamily('udp6', shared, options.ipv6 ?? '::', options);
        const bound = v4.socket?.address().port ?? v6.socket?.address().port;
        if (bound !== undefined) return new UdpTransport(bound, v4, v6);
        const reasons = [v4, v6].map(({ status }) => ('reason' in status ? status.reason : ''));
        throw new TunnelError('ERR_UDP_BIND', `no UDP socket: IPv4 ${reasons[0]}, IPv6 ${reasons[1]}`);
      } catch (error) {
        if (v4.socket) await closeSocket(v4.socket);
        conflict = error;
        // The port that IPv4 gave us may be another's in IPv6: ask for a new one. Anything else will not get better.
        if (errorCode((error as Error).cause) !== 'EADDRINUSE') throw error;
      }
    }
    throw conflict;
  }

  get port(): number {
    return this.status.port;
  }

  get localAddresses(): readonly string[] {
    const { port, ipv4, ipv6 } = this.status;
    return [ipv4, ipv6].flatMap(family =>
      family.bound ? [UdpEndpoint.of(family.address, port).toString()] : [],
    );
  }

  owns(to: Endpoint): boolean {
    return to instanceof UdpEndpoint;
  }

  send(datagram: Uint8Array, to: Endpoint): boolean {
    if (this.#closed) return this.#drop('closed');
    if (!(to instanceof UdpEndpoint)) return this.#drop('notOurs');
    if (datagram.length > MAX_DATAGRAM_BYTES) return this.#drop('badLength');
    const socket = to.ip.length === 4 ? this.#v4 : this.#v6;
    if (!socket) return this.#drop('noFamily');
    // A forged datagram can come from port 0, where nothing can be sent.
    if (to.port === 0) return this.#drop('sendFailed');
    // Node sends at the end of the running turn, and the caller's buffer has a new content by then.
    socket.send(Buffer.from(datagram), to.port, to.address, this.#sent);
    return true;
  }

  dropAll(): void {}

  close(): Promise<void> {
    this.#closed ??= Promise.all(this.#sockets().map(closeSocket)).then(() => undefined);
    return this.#closed;
  }

  // One function for all datagrams, not one each.
  readonly #sent = (error: Error | null): void => {
    if (!error) {
      this.counters.sent++;
      return;
    }
    this.#drop('sendFailed');
    if (!this.#closed) this.#report('ERR_UDP_SEND', error);
  };

  #received(datagram: Uint8Array, from: RemoteInfo): void {
    if (this.#closed) return;
    this.counters.received++;
    // A plain array: `slice` of a Node Buffer shares its memory, and whoever gets this should not have to know.
    const bytes = new Uint8Array(datagram.buffer, datagram.byteOffset, datagram.length);
    this.onDatagram(bytes, this.#endpoints.get(from.address, from.port));
  }

  #drop(reason: TransportDrop): false {
    this.counters.dropped[reason]++;
    return false;
  }

  #report(code: 'ERR_UDP_SEND' | 'ERR_UDP_RECEIVE', cause: Error): void {
    this.onError(new TunnelError(code, cause.message, { cause }));
  }

  #sockets(): Socket[] {
    return [this.#v4, this.#v6].filter(socket => socket !== undefined);
  }
}

async function bindFamily(
  type: 'udp4' | 'udp6',
  port: number,
  address: string | false,
  options: UdpOptions,
): Promise<Family | Missing> {
  if (address === false) return { status: { bound: false, reason: 'not asked for' } };
  // Endpoints are numeric: without this, Node would ask its resolver about each datagram.
  const lookup = (host: string, _: unknown, done: (error: null, address: string, family: number) => void) =>
    done(null, host, type === 'udp4' ? 4 : 6);
  const socket = dgram.createSocket({ type, lookup, ...(type === 'udp6' && { ipv6Only: true }) });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ port, address, exclusive: true }, () => {
        socket.off('error', reject);
        resolve();
      });
    });
  } catch (cause) {
    await closeSocket(socket);
    if (FAMILY_MISSING.has(errorCode(cause)) && isWildcardOrLoopback(address)) {
      return { status: { bound: false, reason: (cause as Error).message } };
    }
    const name = type === 'udp4' ? 'IPv4' : 'IPv6';
    const reason = (cause as Error).message;
    throw new TunnelError('ERR_UDP_BIND', `cannot bind to UDP port ${port} of ${name}: ${reason}`, { cause });
  }
  const bytes = options.socketBufferBytes ?? SOCKET_BUFFER_BYTES;
  bestEffort(() => socket.setRecvBufferSize(bytes));
  bestEffort(() => socket.setSendBufferSize(bytes));
  return {
    socket,
    status: {
      bound: true,
      address: socket.address().address,
      receiveBufferBytes: socket.getRecvBufferSize(),
      sendBufferBytes: socket.getSendBufferSize(),
    },
  };
}

// An address that the caller chose and the machine lacks is a mistake; `::` or `::1` that it lacks is no IPv6.
function isWildcardOrLoopback(address: string): boolean {
  return ['0.0.0.0', '::', '127.0.0.1', '::1'].includes(address);
}

function closeSocket(socket: Socket): Promise<void> {
  return new Promise(resolve => socket.close(() => resolve()));
}

function errorCode(error: unknown): string {
  return (error as NodeJS.ErrnoException | undefined)?.code ?? '';
}

// Smaller buffers lose datagrams in bursts; they are no reason not to start.
function bestEffort(action: () => void): void {
  try {
    action();
  } catch {}
}
