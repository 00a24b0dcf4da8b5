// The endpoints that a socket has met, found by the words that the kernel writes with a datagram.
// Promises: an endpoint is made once for each way that datagrams take, not for each datagram, but for a few that find no
// place; memory stays bounded under a flood of forged addresses. Nothing depends on meeting the same object again: endpoints
// compare by value.
// Read on: udp-endpoint.ts; docs/performance.md "Very many peers".

import { TunnelError } from '../../errors.js';
import { LinuxUdpEndpoint } from './udp-endpoint.js';

const WAY_BITS = 2;
/** Places that share a hash. */
const WAYS = 1 << WAY_BITS;
const FIRST_SETS = 64;
/** With those, some 25 MB are what a flood from forged addresses of one family can take. */
const MAX_SETS = 32_768;
/** From one place to the next, so that none lies in more cache lines than it must: half of one, or one. */
const V4_STRIDE = 8;
const V6_STRIDE = 16;

/**
 * Of one address family. Whoever is looked up has four places where he may be, side by side in memory: so with very many
 * peers one look is one wait for memory, and the endpoint itself is not looked at. It grows as soon as it has an endpoint
 * for each set and one finds no place: some two of a hundred have none then.
 */
export class EndpointTable {
  readonly #words: number;
  /** Words from one place to the next: an endpoint's, the serial number of its source, and what fills a part of a cache line. */
  readonly #stride: number;
  readonly #maxSets: number;
  #sets: number;
  /** Of each place: what it is found by, and behind it the serial number of its source. With 0 nobody is here. */
  #keys: Int32Array;
  #endpoints: (LinuxUdpEndpoint | undefined)[];
  #size = 0;

  /** `words`: of an endpoint. `maxSets`: a power of two; four times as many endpoints are kept. Throws `ERR_ENDPOINT`. */
  constructor(words: number, maxSets: number = MAX_SETS) {
    if (maxSets < 1 || (maxSets & (maxSets - 1)) !== 0) {
      throw new TunnelError('ERR_ENDPOINT', `the sets of a table are a power of two, not ${maxSets}`);
    }
    this.#words = words;
    this.#stride = words < V4_STRIDE ? V4_STRIDE : V6_STRIDE;
    this.#maxSets = maxSets;
    this.#sets = Math.min(FIRST_SETS, maxSets);
    this.#keys = new Int32Array(this.#sets * WAYS * this.#stride);
    this.#endpoints = emptyPlaces(this.#sets * WAYS);
  }

  /** Endpoints that are kept. */
  get size(): number {
    return this.#size;
  }

  /**
   * The endpoint with these words, which came in just now: a known one, or a new one. `sourceSerial`: what its source is
   * good for, not 0.
   */
  get(words: Int32Array, sourceSerial: number): LinuxUdpEndpoint {
    const hash = this.#hash(words);
    const place = this.#find(words, hash);
    if (place < 0) return this.#add(new LinuxUdpEndpoint(words, sourceSerial), words, hash);
    const endpoint = this.#endpoints[place] as LinuxUdpEndpoint;
    const serialAt = place * this.#stride + this.#words;
    if (this.#keys[serialAt] !== sourceSerial) {
      // A datagram came this way: so the way is good again.
      this.#keys[serialAt] = sourceSerial;
      endpoint.sourceSerial = sourceSerial;
    }
    return endpoint;
  }

  /** The source of this endpoint is good for nothing, until a datagram comes in that way. */
  distrust(endpoint: LinuxUdpEndpoint): void {
    endpoint.sourceSerial = 0;
    const words = endpoint.words();
    const place = this.#find(words, this.#hash(words));
    if (place < 0) return;
    this.#keys[place * this.#stride + this.#words] = -1;
    // The table may have forgotten this one, and made another since.
    (this.#endpoints[place] as LinuxUdpEndpoint).sourceSerial = 0;
  }

  #hash(words: Int32Array): number {
    let hash = words.length;
    for (let i = 0; i < words.length; i++) {
      hash = Math.imul(hash ^ words[i], 0x9e37_79b1);
      hash ^= hash >>> 15;
    }
    return hash;
  }

  /** The place of the endpoint with these words, or -1. */
  #find(words: Int32Array, hash: number): number {
    const keys = this.#keys;
    const first = (hash & (this.#sets - 1)) * WAYS;
    for (let place = first; place < first + WAYS; place++) {
      const at = place * this.#stride;
      let i = 0;
      while (i < words.length && keys[at + i] === words[i]) i++;
      if (i === words.length && keys[at + i] !== 0) return place;
    }
    return -1;
  }

  #add(endpoint: LinuxUdpEndpoint, words: Int32Array, hash: number): LinuxUdpEndpoint {
    const first = (hash & (this.#sets - 1)) * WAYS;
    let place = first;
    while (place < first + WAYS && this.#endpoints[place]) place++;
    if (place === first + WAYS) {
      if (this.#size >= this.#sets && this.#sets < this.#maxSets) {
        this.#grow();
        return this.#add(endpoint, words, hash);
      }
      // A newcomer takes the place of whoever had it.
      place = first + (hash >>> (32 - WAY_BITS));
    } else this.#size++;
    const at = place * this.#stride;
    this.#keys.set(words, at);
    this.#keys[at + words.length] = endpoint.sourceSerial === 0 ? -1 : endpoint.sourceSerial;
    this.#endpoints[place] = endpoint;
    return endpoint;
  }

  #grow(): void {
    const known = this.#endpoints;
    this.#sets *= 2;
    this.#keys = new Int32Array(this.#sets * WAYS * this.#stride);
    this.#endpoints = emptyPlaces(this.#sets * WAYS);
    this.#size = 0;
    for (const endpoint of known) {
      if (!endpoint) continue;
      const words = endpoint.words();
      this.#add(endpoint, words, this.#hash(words));
    }
  }
}

function emptyPlaces(count: number): (LinuxUdpEndpoint | undefined)[] {
  return Array.from<LinuxUdpEndpoint | undefined>({ length: count }).fill(undefined);
}
