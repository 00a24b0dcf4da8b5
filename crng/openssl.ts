// OpenSSL's generator, on which `node:crypto`, Web Crypto and TLS draw: cloned with the process, unaware of a fork, and
// here seeded anew. Nothing of this package draws a secret from it; this is for the rest of the program.
// Promises: told of a fork right after the Crng, before sessions and applications; what this thread draws from OpenSSL
// after that differs in every clone, once an ID or fresh entropy was there to part them; seeding takes nothing away.
// Not healed: `Math.random`; what other threads have cached (they call `followOpenSslHealing`); keys and tickets of
// TLS servers and connections that were made before. `process` is reached for here to stay loadable in a browser.
// Read on: OpenSSL RAND_add(3), EVP_RAND(7); Node lib/internal/crypto/random.js (the caches); SECURITY.md.

import { secretBytes } from '../native/secret-bytes.js';
import type { ForkGuard } from '../vmgenid/driver.js';
import { NO_EPOCH, VM_GEN_ID_BYTES } from '../vmgenid/generation.js';
import { loadKoffi } from '../native/koffi.js';
import type { Crng } from './crng.js';
import type { EntropySource } from './entropy.js';

/** What OpenSSL is seeded from, and who hears of it. */
export interface OpenSslHealingOptions {
  /** Tells of forks. */
  readonly vmgenid: ForkGuard;
  /** Its bytes are seeded in when it is fresh, and again when it has learnt more about the fork. */
  readonly crng: Crng;
  /** The kernel's bytes. Stays the caller's to close. */
  readonly entropy: EntropySource;
  /** Hears of each seeding. Must not throw. */
  readonly onSeeded?: (seeding: OpenSslSeeding) => void;
}

/** One seeding of OpenSSL's generator. */
export interface OpenSslSeeding {
  readonly epoch: number;
  /** Something went in that siblings lack. False after a fork until an ID or fresh entropy is there. */
  readonly parted: boolean;
}

/** What seeds OpenSSL anew after each fork, until it is closed. */
export interface OpenSslHealing {
  /** Seeds OpenSSL now, flushes this thread's caches and tells the Workers that follow. Throws `ERR_ENTROPY_...`. */
  heal(): void;
  /** The last one. */
  readonly seeding: OpenSslSeeding;
  /** Leaves the notifier chain. May be called twice. */
  close(): void;
}

/** The healing, or the reason why there is none. */
export type OpenSslProbe =
  | { readonly healing: OpenSslHealing; readonly reason?: undefined }
  /** `reason` says in words why OpenSSL cannot be reached. */
  | { readonly healing?: undefined; readonly reason: string };

/** Draws of `randomUUID` and `randomInt` that Node makes ahead, in each thread. */
const CACHED_UUIDS = 128;
const CACHED_INTEGERS = 1_024;

const KERNEL_BYTES = 32;
const CRNG_BYTES = 32;

/** Told after the Crng, whose bytes are seeded in, and before everybody else of the phase. */
const PRIORITY = 999;

/** The BroadcastChannel on which Workers hear that OpenSSL was seeded. */
const CHANNEL = 'wireonce: OpenSSL was seeded after a VM fork';

/**
 * Seeds OpenSSL now, and at every fork from now on, until it is closed. One in a process is enough: all its threads share
 * the generator. Make it after `crng`. Throws `ERR_ENTROPY_...` when the kernel gives nothing now.
 */
export function openSslHealing(options: OpenSslHealingOptions): OpenSslProbe {
  const { seed, reason } = bindSeed();
  return seed ? { healing: new Healing(seed, options) } : { reason };
}

/**
 * For a Worker: discards what this thread has cached whenever OpenSSL was seeded after a fork, as soon as its event loop
 * turns. Returns the function that ends it. A Worker that cannot wait looks at its own sources, and calls
 * `flushOpenSslCaches` itself.
 */
export function followOpenSslHealing(): () => void {
  const channel = openChannel();
  channel.addEventListener('message', flushOpenSslCaches);
  return () => channel.close();
}

/** Draws and discards what Node has drawn ahead in this thread, from before OpenSSL was seeded. About 50 µs. */
export function flushOpenSslCaches(): void {
  const { randomInt, randomUUID } = process.getBuiltinModule('node:crypto');
  for (let i = 0; i < CACHED_UUIDS; i++) randomUUID();
  for (let i = 0; i < CACHED_INTEGERS; i++) randomInt(2);
}

class Healing implements OpenSslHealing {
  readonly #seed: (bytes: Uint8Array) => void;
  readonly #options: OpenSslHealingOptions;
  readonly #channel = openChannel();
  readonly #unregister: (() => void)[];
  #seeding: OpenSslSeeding = { epoch: NO_EPOCH, parted: false };

  constructor(seed: (bytes: Uint8Array) => void, options: OpenSslHealingOptions) {
    this.#seed = seed;
    this.#options = options;
    const heal = () => this.heal();
    this.heal();
    this.#unregister = [
      options.vmgenid.register('randomness', heal, { name: 'openssl', priority: PRIORITY }),
      options.crng.onEvidence(heal),
    ];
  }

  heal(): void {
    const { vmgenid, crng, entropy, onSeeded } = this.#options;
    const { vmGenId } = vmgenid.evidence;
    const fresh = crng.isFresh() && crng.freshness === 'fresh';
    const bytes = secretBytes(VM_GEN_ID_BYTES + KERNEL_BYTES + CRNG_BYTES);
    try {
      // In what the kernel gives clones may still be alike, so that the ID alone parts them. It is no secret: the kernel's
      // bytes are seeded in again, by way of the Crng, when there is word that it has reseeded.
      if (vmGenId) bytes.set(vmGenId);
      entropy.read(bytes.subarray(VM_GEN_ID_BYTES, VM_GEN_ID_BYTES + KERNEL_BYTES));
      if (fresh) crng.fill(bytes.subarray(VM_GEN_ID_BYTES + KERNEL_BYTES));
      this.#seed(bytes);
    } finally {
      bytes.fill(0);
    }
    flushOpenSslCaches();
    this.#channel.postMessage(null);
    this.#seeding = { epoch: vmgenid.epoch, parted: fresh || vmGenId !== undefined };
    onSeeded?.(this.#seeding);
  }

  get seeding(): OpenSslSeeding {
    return this.#seeding;
  }

  close(): void {
    for (const unregister of this.#unregister.splice(0)) unregister();
    this.#channel.close();
  }
}

type BoundSeed =
  | { readonly seed: (bytes: Uint8Array) => void; readonly reason?: undefined }
  | { readonly seed?: undefined; readonly reason: string };

function bindSeed(): BoundSeed {
  const { koffi, reason } = loadKoffi();
  if (!koffi) return { reason };
  try {
    const randSeed = koffi.load(null).func('RAND_seed', 'void', ['uintptr_t', 'int']);
    return { seed: bytes => void randSeed(Number(koffi.address(bytes)), bytes.length) };
  } catch {
    return { reason: 'this Node does not export the RAND_seed of OpenSSL' };
  }
}

function openChannel() {
  const { BroadcastChannel } = process.getBuiltinModule('node:worker_threads');
  return new BroadcastChannel(CHANNEL).unref();
}
