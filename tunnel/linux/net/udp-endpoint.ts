// Where a datagram came from, at which of our addresses it arrived, and so where from an answer must leave.
// Promises: an endpoint never changes, but for what is known of its way.
// Read on: endpoint-table.ts (who makes them); Linux drivers/net/wireguard/socket.c (endpoint_eq: source and interface
// belong to an endpoint there too).

import type { Endpoint } from '../../../sessions/ports.js';
import { UdpEndpoint } from '../../endpoint.js';
import { formatIp } from '../../ip.js';

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

/**
 * All of it lies in the object itself, signed so that the engine keeps it as small integers: with very many peers an
 * array of words would be three more places in memory to wait for. What has a number at its end are words of an address,
 * of which IPv4 has one.
 */
export class LinuxUdpEndpoint implements Endpoint {
  /** For the sockets of this folder alone: which socket, and which time of its routes, the source is good for. */
  sourceSerial: number;
  isPeers = false;
  readonly isV4: boolean;
  readonly remote0: number;
  /** In network order. */
  readonly portWord: number;
  readonly local0: number;
  /** Where its datagrams came in; 0 when it was made from an address alone. */
  readonly interfaceIndex: number;
  /** The interface index of a link-local IPv6 address; else 0. */
  readonly scopeId: number;
  readonly remote1: number;
  readonly remote2: number;
  readonly remote3: number;
  readonly local1: number;
  readonly local2: number;
  readonly local3: number;
  #ip: Uint8Array | undefined;
  #text: string | undefined;

  /** `words`: laid out as above, copied. */
  constructor(words: Int32Array, sourceSerial = 0) {
    const isV4 = words.length === V4_WORDS;
    const local = isV4 ? V4_LOCAL : V6_LOCAL;
    this.sourceSerial = sourceSerial;
    this.isV4 = isV4;
    this.remote0 = words[0];
    this.portWord = words[isV4 ? V4_PORT : V6_PORT];
    this.local0 = words[local];
    this.interfaceIndex = words[isV4 ? V4_INTERFACE : V6_INTERFACE];
    this.scopeId = isV4 ? 0 : words[V6_SCOPE];
    this.remote1 = isV4 ? 0 : words[1];
    this.remote2 = isV4 ? 0 : words[2];
    this.remote3 = isV4 ? 0 : words[3];
    this.local1 = isV4 ? 0 : words[local + 1];
    this.local2 = isV4 ? 0 : words[local + 2];
    this.local3 = isV4 ? 0 : words[local + 3];
  }

  /** To an address of 4 or 16 bytes. Throws `ERR_ENDPOINT` for another length or a port outside 0..65535. */
  static of(ip: Uint8Array, port: number, scopeId = 0): LinuxUdpEndpoint {
    // The checks, and what an IPv4-mapped address becomes, are those of every UDP endpoint.
    const checked = new UdpEndpoint(ip, port);
    const isV4 = checked.ip.length === 4;
    const words = new Int32Array(isV4 ? V4_WORDS : V6_WORDS);
    new Uint8Array(words.buffer).set(checked.ip);
    words[isV4 ? V4_PORT : V6_PORT] = swapPort(port);
    if (!isV4) words[V6_SCOPE] = scopeId;
    return new LinuxUdpEndpoint(words);
  }

  /** 4 or 16 bytes. */
  get ip(): Uint8Array {
    this.#ip ??= this.#bytes(this.remote0, this.remote1, this.remote2, this.remote3);
    return this.#ip;
  }

  get port(): number {
    return swapPort(this.portWord);
  }

  /** Where the datagrams of this endpoint came in; `undefined` when it was made from an address alone. */
  get source(): StickySource | undefined {
    const { interfaceIndex } = this;
    if (interfaceIndex === 0) return undefined;
    return { ip: this.#bytes(this.local0, this.local1, this.local2, this.local3), interfaceIndex };
  }

  /** Laid out as above, in a new array. */
  words(): Int32Array {
    const { remote0, remote1, remote2, remote3, local0, local1, local2, local3 } = this;
    const { portWord, scopeId, interfaceIndex } = this;
    if (this.isV4) return Int32Array.of(remote0, portWord, local0, interfaceIndex);
    const remote = [remote0, remote1, remote2, remote3, portWord, scopeId];
    return Int32Array.from([...remote, local0, local1, local2, local3, interfaceIndex]);
  }

  /** Whether it is the same remote address, port and scope, whichever way datagrams take. */
  equals(other: Endpoint): boolean {
    if (this === other) return true;
    return (
      other instanceof LinuxUdpEndpoint &&
      other.isV4 === this.isV4 &&
      other.remote0 === this.remote0 &&
      other.portWord === this.portWord &&
      other.scopeId === this.scopeId &&
      other.remote1 === this.remote1 &&
      other.remote2 === this.remote2 &&
      other.remote3 === this.remote3
    );
  }

  toString(): string {
    this.#text ??= this.#format();
    return this.#text;
  }

  #bytes(...words: [number, number, number, number]): Uint8Array {
    return new Uint8Array(Int32Array.from(this.isV4 ? words.slice(0, 1) : words).buffer);
  }

  #format(): string {
    if (this.isV4) return `${formatIp(this.ip)}:${this.port}`;
    return `[${formatIp(this.ip, this.scopeId === 0 ? '' : String(this.scopeId))}]:${this.port}`;
  }
}

/** A 16-bit number from host to network order, or back. */
export function swapPort(port: number): number {
  return ((port & 0xff) << 8) | (port >>> 8);
}
