// The rate limiter: how many handshake messages one source may have answered while the device is under load.
// Promises: per IPv4 address or IPv6 /64 at most the burst and the rate below; bounded memory; no timer of its own.
// Read on: WireGuard paper 5.3; Linux drivers/net/wireguard/ratelimiter.c.

import { SessionError } from './errors.js';

/** Messages per second of one source, in the long run. Linux ratelimiter.c PACKETS_PER_SECOND. */
export const PACKETS_PER_SECOND = 20;
/** Messages at once from a source that was silent. Linux ratelimiter.c PACKETS_BURSTABLE. */
export const PACKETS_BURSTABLE = 5;
/** What a message costs, in nanoseconds: a bucket earns one token a nanosecond. Linux ratelimiter.c PACKET_COST. */
export const PACKET_COST_NS = 1_000_000_000 / PACKETS_PER_SECOND;
/** What a bucket holds at most, in nanoseconds. Linux ratelimiter.c TOKEN_MAX. */
export const MAX_TOKENS_NS = PACKET_COST_NS * PACKETS_BURSTABLE;
/** Milliseconds between collections, and idle time after which an entry goes. Linux: NSEC_PER_SEC and HZ. */
export const COLLECT_AFTER_MS = 1_000;
/** Sources at one time, both families together. Linux: 8 for each of 8192 slots, on a machine with 1 GiB or more. */
export const MAX_SOURCES = 65_536;

const NS_PER_MS = 1_000_000;

interface Bucket {
  /** Monotonic milliseconds. */
  lastTime: number;
  /** Nanoseconds, as of `lastTime`. */
  tokens: number;
}

export class RateLimiter {
  readonly #buckets = new Map<string, Bucket>();
  #lastCollection = Number.NEGATIVE_INFINITY;

  /** The number of sources remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  /**
   * May this source (4 or 16 bytes) have another message handled at `now` (monotonic milliseconds)? An IPv4 address
   * mapped into IPv6 counts as itself. A new source is refused while the table is full. Throws `SessionError`
   * (`ERR_ADDRESS`).
   */
  allow(ip: Uint8Array, now: number): boolean {
    const source = sourceKey(ip);
    if (now - this.#lastCollection >= COLLECT_AFTER_MS) this.collect(now);

    const bucket = this.#buckets.get(source);
    if (bucket === undefined) {
      if (this.#buckets.size >= MAX_SOURCES) return false;
      this.#buckets.set(source, { lastTime: now, tokens: MAX_TOKENS_NS - PACKET_COST_NS });
      return true;
    }
    const earned = Math.max(0, now - bucket.lastTime) * NS_PER_MS;
    const tokens = Math.min(MAX_TOKENS_NS, bucket.tokens + earned);
    bucket.lastTime = now;
    // As in Linux a bucket that holds the exact cost may pay it; in wireguard-go it must hold more.
    const allowed = tokens >= PACKET_COST_NS;
    bucket.tokens = allowed ? tokens - PACKET_COST_NS : tokens;
    return allowed;
  }

  /**
   * Forgets the sources that were silent for more than a second; their buckets are full again, so no answer changes.
   * `allow` does it by itself; call it when the load is over, to give the memory back.
   */
  collect(now: number): void {
    this.#lastCollection = now;
    for (const [source, bucket] of this.#buckets) {
      if (now - bucket.lastTime > COLLECT_AFTER_MS) this.#buckets.delete(source);
    }
  }

  clear(): void {
    this.#buckets.clear();
    this.#lastCollection = Number.NEGATIVE_INFINITY;
  }
}

// Strings, because engines hash them under a secret seed: numbers could be chosen to collide (Linux uses siphash).
// Two UTF-16 units for IPv4, four for an IPv6 /64, so that the families cannot meet.
function sourceKey(ip: Uint8Array): string {
  if (ip.length === 4) return String.fromCharCode(unit(ip, 0), unit(ip, 2));
  if (ip.length !== 16)
    throw new SessionError('ERR_ADDRESS', `an IP address has 4 or 16 bytes, not ${ip.length}`);
  if (isMappedV4(ip)) return String.fromCharCode(unit(ip, 12), unit(ip, 14));
  return String.fromCharCode(unit(ip, 0), unit(ip, 2), unit(ip, 4), unit(ip, 6));
}

// RFC 4291 section 2.5.5.2. As an IPv6 address the whole IPv4 Internet would be one /64.
function isMappedV4(ip: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (ip[i] !== 0) return false;
  return ip[10] === 0xff && ip[11] === 0xff;
}

function unit(ip: Uint8Array, offset: number): number {
  return (ip[offset] << 8) | ip[offset + 1];
}
