// Our side of the cookie protocol: the secret that cookies are made from, and who has used his up.
// Promises: the secret is of this epoch and at most two minutes old.
// Read on: WireGuard paper 5.4.7; Linux drivers/net/wireguard/cookie.c.

import type { Randomness } from '../crng/randomness.js';
import { COOKIE_SECRET_MAX_AGE_MS } from '../protocol/constants.js';
import { cookieKey, mac1Key } from '../protocol/cookie.js';
import { KEY_BYTES, type Suite } from '../protocol/suite.js';
import { draw } from './draw.js';
import { RateLimiter } from './rate-limiter.js';

/** The two keys that everybody can derive from a static public key. */
export interface MacKeys {
  readonly mac1Key: Uint8Array;
  readonly cookieKey: Uint8Array;
}

export function deriveMacKeys(suite: Suite, publicKey: Uint8Array): MacKeys {
  return { mac1Key: mac1Key(suite, publicKey), cookieKey: cookieKey(suite, publicKey) };
}

/** Our side of the protection: whom we let in under load. */
export class CookieJar {
  readonly rateLimiter = new RateLimiter();
  /** Of messages that have no cookie, and come from where a peer is. */
  readonly peersRateLimiter = new RateLimiter();
  readonly #secret: Uint8Array;
  #secretBornAt = Number.NEGATIVE_INFINITY;
  #secretEpoch = 0;

  /** `secret`: 32 bytes of the session slab. */
  constructor(secret: Uint8Array) {
    this.#secret = secret.subarray(0, KEY_BYTES);
  }

  /** The secret of now, if it has been drawn. */
  currentSecret(epoch: number, now: number): Uint8Array | undefined {
    const isCurrent = this.#secretEpoch === epoch && now - this.#secretBornAt < COOKIE_SECRET_MAX_AGE_MS;
    return isCurrent ? this.#secret : undefined;
  }

  /** The secret of now; `undefined` where a new one is due and the CRNG has to wait. */
  secret(crng: Randomness, epoch: number, now: number): Uint8Array | undefined {
    const current = this.currentSecret(epoch, now);
    if (current) return current;
    if (!crng.isFresh() || !draw(crng, this.#secret)) return undefined;
    this.#secretEpoch = epoch;
    this.#secretBornAt = now;
    return this.#secret;
  }

  wipe(): void {
    this.#secret.fill(0);
    this.#secretEpoch = 0;
    this.rateLimiter.clear();
    this.peersRateLimiter.clear();
  }
}
