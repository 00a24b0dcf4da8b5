// Where a datagram came from, at which of our addresses it arrived, and so where from an answer must leave.
// Promises: an endpoint is made once for each way a datagram takes, not once for each datagram; memory stays bounded
// under a flood of forged addresses.
// Read on: Linux drivers/net/wireguard/socket.c (endpoint_eq: source and interface belong to an endpoint there too).

import type { Endpoint } from '../../sessions/ports.js';
import { UdpEndpoint } from '../endpoint.js';
import { TunnelError } from '../errors.js';
import { formatIp } from '../ip.js';

// An endpoint as words, as they lie in the kernel's structs (network order, so that nothing is turned around):
// IPv4: address, port, our address, interface. IPv6: 4 of address, port, scope, 4 of our address, interface.
export const V4_WORDS = 4;
export const V4_PORT = 1;
export const V4_LOCAL = 2;
export const V4_INTERFACE = 3;
export const V6_WORDS = 11;
export const V6_PORT = 4;
export const V6_SCOPE = 5;
export const V6_LOCAL = 6;
export const V6_INTERFACE = 10;

/** The address and interface by which a datagram came in, and answers leave. */
export interface StickySource {
  readonly ip: Uint8Array;
  /** The index of the interface. */
  readonly interfaceIndex: number;
}

export class LinuxUdpEndpoint implements Endpoint {
  readonly ip: Uint8Array;
  readonly port: number;
  /** The interface index of a link-local IPv6 address; else 0. */
  readonly scopeId: number;
  /** For the sockets of this folder alone. */
  readonly words: Uint32Array;
  /** For the sockets of this folder alone: which socket, and which time of its routes, the source is good for. */
  sourceEpoch: number;
  #source: StickySource | undefined;
  #text: string | undefined;

  /** `words`: laid out as above, kept. */
  constructor(words: Uint32Array, sourceEpoch = 0) {
    const v4 = words.length === V4_WORDS;
    const portWord = words[v4 ? V4_PORT : V6_PORT];
    this.words = words;
    this.sourceEpoch = sourceEpoch;
    this.ip = new Uint8Array(words.buffer, words.byteOffset, v4 ? 4 : 16);
    this.port = swapPort(portWord);
    this.scopeId = v4 ? 0 : words[V6_SCOPE];
  }

  /** To an address of 4 or 16 bytes. Throws `ERR_ENDPOINT` for another length or a port outside 0..65535. */
  static of(ip: Uint8Array, port: number, scopeId = 0): LinuxUdpEndpoint {
    // The checks, and what an IPv4-mapped address becomes, are those of every UDP endpoint.
    const checked = new UdpEndpoint(ip, port);
    const v4 = checked.ip.length === 4;
    const words = new Uint32Array(v4 ? V4_WORDS : V6_WORDS);
    new Uint8Array(words.buffer).set(checked.ip);
    words[v4 ? V4_PORT : V6_PORT] = swapPort(port);
    if (!v4) words[V6_SCOPE] = scopeId;
    return new LinuxUdpEndpoint(words);
  }

  /** Where the datagrams of this endpoint came in; `undefined` when it was made from an address alone. */
  get source(): StickySource | undefined {
    const { words } = this;
    const v4 = words.length === V4_WORDS;
    const interfaceIndex = words[v4 ? V4_INTERFACE : V6_INTERFACE];
    if (interfaceIndex === 0) return undefined;
    const at = words.byteOffset + 4 * (v4 ? V4_LOCAL : V6_LOCAL);
    this.#source ??= { ip: new Uint8Array(words.buffer, at, v4 ? 4 : 16), interfaceIndex };
    return this.#source;
  }

  /** Whether it is the same remote address, port and scope, whichever way datagrams take. */
  equals(other: Endpoint): boolean {
    if (this === other) return true;
    if (!(other instanceof LinuxUdpEndpoint) || other.words.length !== this.words.length) return false;
    const remote = this.words.length === V4_WORDS ? V4_PORT : V6_SCOPE;
    for (let i = 0; i <= remote; i++) if (other.words[i] !== this.words[i]) return false;
    return true;
  }

  toString(): string {
    this.#text ??= this.#format();
    return this.#text;
  }

  #format(): string {
    if (this.ip.length === 4) return `${formatIp(this.ip)}:${this.port}`;
    return `[${formatIp(this.ip, this.scopeId === 0 ? '' : String(this.scopeId))}]:${this.port}`;
  }
}

/** A 16-bit number from host to network order, or back. */
export function swapPort(port: number): number {
  return ((port & 0xff) << 8) | (port >>> 8);
}

/**
 * The endpoints that a socket has met. Each has one place, by a hash of its words; a newcomer takes the place of
 * whoever had it. Nothing depends on meeting the same object again: endpoints compare by value.
 */
export class EndpointTable {
  readonly #places: (LinuxUdpEndpoint | undefined)[];
  readonly #mask: number;

  /** `size`: a power of two. Throws `ERR_ENDPOINT`. */
  constructor(size = 16_384) {
    if (size < 1 || (size & (size - 1)) !== 0) {
      throw new TunnelError('ERR_ENDPOINT', `the size of an endpoint table is a power of two, not ${size}`);
    }
    this.#places = Array.from<LinuxUdpEndpoint | undefined>({ length: size }).fill(undefined);
    this.#mask = size - 1;
  }

  /** The endpoint with these words: a known one, or a new one with a copy of them. */
  get(words: Uint32Array, sourceEpoch: number): LinuxUdpEndpoint {
    let hash = words.length;
    for (let i = 0; i < words.length; i++) {
      hash = Math.imul(hash ^ words[i], 0x9e37_79b1);
      hash ^= hash >>> 15;
    }
    const place = hash & this.#mask;
    const known = this.#places[place];
    if (known !== undefined && sameWords(known.words, words)) {
      // A datagram came this way: so the way is good again.
      known.sourceEpoch = sourceEpoch;
      return known;
    }
    const endpoint = new LinuxUdpEndpoint(words.slice(), sourceEpoch);
    this.#places[place] = endpoint;
    return endpoint;
  }
}

function sameWords(a: Uint32Array, b: Uint32Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
