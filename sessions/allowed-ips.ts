// Allowed IPs: which peer an inner packet belongs to, by its destination when sending, by its source when receiving.
// Promises: the longest prefix wins; a prefix has one owner and moves when given to another; lookups allocate nothing
// and never read past the packet.
// Read on: WireGuard paper 2 (cryptokey routing); Linux drivers/net/wireguard/allowedips.c.

import { SessionError } from './errors.js';
import { PrefixTrie, type TriePrefix } from './prefix-trie.js';

const V4_BYTES = 4;
const V4_BITS = 32;
const V6_BYTES = 16;

// RFC 791 section 3.1 and RFC 8200 section 3: header length, and where the addresses lie in it, in bytes.
const V4_HEADER_BYTES = 20;
const V4_SOURCE = 12;
const V4_DESTINATION = 16;
const V6_HEADER_BYTES = 40;
const V6_SOURCE = 8;
const V6_DESTINATION = 24;

/** One allowed prefix: 4 or 16 bytes with the host bits zero, and the number of bits that count. */
export interface AllowedIp {
  readonly ip: Uint8Array;
  readonly prefix: number;
}

/** Which peer each inner address belongs to: the longest prefix wins. */
export class AllowedIps<T extends NonNullable<unknown>> {
  readonly #v4 = new PrefixTrie<T>();
  // Of the trie's IPv4 prefixes those of one address, again: no prefix is longer. With 50,000 peers of one address each,
  // the way down the trie costs as much as the cipher, as hardly a node of it is in a cache.
  readonly #v4Hosts = new Map<number, T>();
  readonly #v6 = new PrefixTrie<T>();

  /** The number of prefixes of all owners, both families. */
  get size(): number {
    return this.#v4.size + this.#v6.size;
  }

  /**
   * Gives `ip`/`prefix` to `value`; host bits of `ip` (4 or 16 bytes) are ignored. Returns the other value that owned
   * it until now, if there was one. Throws `SessionError` (`ERR_ADDRESS`).
   */
  insert(ip: Uint8Array, prefix: number, value: T): T | undefined {
    checkPrefix(ip, prefix);
    if (ip.length === V4_BYTES) {
      if (prefix === V4_BITS) this.#v4Hosts.set(word(ip, 0), value);
      return this.#v4.insert(word(ip, 0), 0, 0, 0, prefix, value);
    }
    return this.#v6.insert(word(ip, 0), word(ip, 4), word(ip, 8), word(ip, 12), prefix, value);
  }

  /** Who owns exactly `ip`/`prefix`. Throws as `insert`. */
  ownerOf(ip: Uint8Array, prefix: number): T | undefined {
    checkPrefix(ip, prefix);
    if (ip.length === V4_BYTES) return this.#v4.get(word(ip, 0), 0, 0, 0, prefix);
    return this.#v6.get(word(ip, 0), word(ip, 4), word(ip, 8), word(ip, 12), prefix);
  }

  /** Takes exactly `ip`/`prefix` away from `value`. False when `value` does not own it. Throws as `insert`. */
  remove(ip: Uint8Array, prefix: number, value: T): boolean {
    checkPrefix(ip, prefix);
    if (ip.length === V4_BYTES) {
      const removed = this.#v4.remove(word(ip, 0), 0, 0, 0, prefix, value);
      if (removed && prefix === V4_BITS) this.#v4Hosts.delete(word(ip, 0));
      return removed;
    }
    return this.#v6.remove(word(ip, 0), word(ip, 4), word(ip, 8), word(ip, 12), prefix, value);
  }

  /** Takes every prefix away from `value`. Costs as much as it had. */
  removeAll(value: T): void {
    for (const { a, prefix } of this.#v4.entries(value)) if (prefix === V4_BITS) this.#v4Hosts.delete(a);
    this.#v4.removeAll(value);
    this.#v6.removeAll(value);
  }

  /** What `value` owns: IPv4 before IPv6, then by address, then the shorter prefix first. */
  entries(value: T): AllowedIp[] {
    const list = (trie: PrefixTrie<T>, bytes: number) =>
      trie
        .entries(value)
        .sort(compare)
        .map(entry => ({ ip: addressBytes(entry, bytes), prefix: entry.prefix }));
    return [...list(this.#v4, V4_BYTES), ...list(this.#v6, V6_BYTES)];
  }

  /** Forgets all ranges. */
  clear(): void {
    this.#v4.clear();
    this.#v4Hosts.clear();
    this.#v6.clear();
  }

  /** The owner of the IPv4 address at `packet[offset, offset + 4)`. */
  lookupV4(packet: Uint8Array, offset: number): T | undefined {
    if (offset + V4_BYTES > packet.length) return undefined;
    const address = word(packet, offset);
    return this.#v4Hosts.get(address) ?? this.#v4.lookup(address, 0, 0, 0);
  }

  /** The owner of the IPv6 address at `packet[offset, offset + 16)`. */
  lookupV6(packet: Uint8Array, offset: number): T | undefined {
    if (offset + V6_BYTES > packet.length) return undefined;
    return this.#v6.lookup(
      word(packet, offset),
      word(packet, offset + 4),
      word(packet, offset + 8),
      word(packet, offset + 12),
    );
  }

  /**
   * The owner of the destination of the inner packet at `packet[offset, end)`; `end` is the buffer's where it is left
   * out. `undefined` too when that is no IP packet or is shorter than a header. The lengths that the header claims are
   * not looked at.
   */
  lookupDestination(packet: Uint8Array, offset: number, end: number = packet.length): T | undefined {
    switch (innerVersion(packet, offset, end)) {
      case 4:
        return this.lookupV4(packet, offset + V4_DESTINATION);
      case 6:
        return this.lookupV6(packet, offset + V6_DESTINATION);
      default:
        return undefined;
    }
  }

  /** The owner of the source of the inner packet, as `lookupDestination`. */
  lookupSource(packet: Uint8Array, offset: number, end: number = packet.length): T | undefined {
    switch (innerVersion(packet, offset, end)) {
      case 4:
        return this.lookupV4(packet, offset + V4_SOURCE);
      case 6:
        return this.lookupV6(packet, offset + V6_SOURCE);
      default:
        return undefined;
    }
  }
}

/** 4 or 6 when a whole header of that version fits in; else 0. */
function innerVersion(packet: Uint8Array, offset: number, end: number): 0 | 4 | 6 {
  const length = Math.min(end, packet.length) - offset;
  if (length < V4_HEADER_BYTES) return 0;
  const version = packet[offset] >> 4;
  if (version === 4) return 4;
  return version === 6 && length >= V6_HEADER_BYTES ? 6 : 0;
}

function checkPrefix(ip: Uint8Array, prefix: number): void {
  if (ip.length !== V4_BYTES && ip.length !== V6_BYTES) {
    throw new SessionError('ERR_ADDRESS', `an IP address has 4 or 16 bytes, not ${ip.length}`);
  }
  if (!Number.isInteger(prefix) || prefix < 0 || prefix > ip.length * 8) {
    throw new SessionError('ERR_ADDRESS', `a prefix length is 0..${ip.length * 8} here, not ${prefix}`);
  }
}

/** Four bytes, big-endian, as a signed integer. */
function word(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] << 24) | (bytes[offset + 1] << 16) | (bytes[offset + 2] << 8) | bytes[offset + 3];
}

function addressBytes(entry: TriePrefix, length: number): Uint8Array {
  const bytes = new Uint8Array(V6_BYTES);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, entry.a);
  view.setInt32(4, entry.b);
  view.setInt32(8, entry.c);
  view.setInt32(12, entry.d);
  return bytes.slice(0, length);
}

function compare(x: TriePrefix, y: TriePrefix): number {
  return (
    (x.a >>> 0) - (y.a >>> 0) ||
    (x.b >>> 0) - (y.b >>> 0) ||
    (x.c >>> 0) - (y.c >>> 0) ||
    (x.d >>> 0) - (y.d >>> 0) ||
    x.prefix - y.prefix
  );
}
