// The suite of this machine: for each kind of operation the fastest of those that load here and pass the self-test.
// All suites make the same bytes, so the choice is one of speed alone; noble is taken where nothing else loads.
// Read on: docs/performance.md, where the figures behind the ranking are.

import { ProtocolError } from '../errors.js';
import { KEY_BYTES, MAC_BYTES, type Sealer, type Suite, TAG_BYTES } from '../suite.js';
import { sealerOf } from '../batches.js';
import { loadIpsecMbSuite } from './ipsec-mb.js';
import { SUITE_NAMES } from './names.js';
import { nobleSuite } from './noble.js';
import { loadOpensslSuite } from './openssl.js';
import { loadSodiumSuite } from './sodium.js';

/** How the fastest suite is chosen. */
export interface SuiteChoice {
  /** Monotonic milliseconds. With a clock the choice is measured, in some 15 ms; without one it is by rank. */
  readonly now?: () => number;
}

/** Operations that go together, the suites by rank where nothing is measured, and work to measure them by. */
interface Part {
  readonly rank: readonly string[];
  readonly measured?: {
    /** How often `work` runs in one round. */
    readonly times: number;
    /** Enough for the engine to have compiled what is measured: a suite with more JavaScript would lose before that. */
    readonly rounds: number;
    work(suite: Suite, scratch: Scratch): void;
  };
}

/** Bytes of a packet that fills a common MTU, padded. */
const PACKET_BYTES = 1424;
/** So many are sealed at a time, as on the way out of a TUN device that gives 64 KiB at a time. */
const PACKETS = 16;

class Scratch {
  readonly key = new Uint8Array(KEY_BYTES).fill(0x42);
  readonly packets = Array.from({ length: PACKETS }, () => new Uint8Array(PACKET_BYTES + TAG_BYTES));
  readonly message = new Uint8Array(116);
  readonly out = new Uint8Array(32);
  readonly mac = new Uint8Array(MAC_BYTES);
  readonly #sealers = new Map<Suite, Sealer>();

  readonly sealerFor = (suite: Suite): Sealer => {
    const sealer = this.#sealers.get(suite) ?? sealerOf(suite);
    this.#sealers.set(suite, sealer);
    return sealer;
  };
}

const PARTS = {
  aead: {
    rank: ['ipsec-mb', 'openssl', 'sodium'],
    measured: {
      times: 2,
      rounds: 60,
      work: (suite, { key, packets, sealerFor }) => {
        const sealer = sealerFor(suite);
        for (const packet of packets) sealer.seal(key, 0, 0, packet, 0, PACKET_BYTES);
        sealer.settle();
      },
    },
  },
  keyAgreement: {
    rank: ['sodium', 'openssl'],
    measured: { times: 2, rounds: 8, work: (suite, { key, out }) => suite.publicKey(key, out) },
  },
  // Cookies alone need it, and OpenSSL has none: not worth the time to measure.
  extendedAead: { rank: ['sodium', 'openssl'] },
  hashes: {
    rank: ['openssl', 'sodium'],
    measured: {
      times: 4,
      rounds: 8,
      work: (suite, { key, message, out, mac }) => {
        suite.mac(mac, key, message);
        suite.hmac(out, key, mac);
      },
    },
  },
} satisfies Record<string, Part>;

let measured: Promise<Suite> | undefined;

/**
 * The fastest suite of this thread. Its name tells whose parts it has, `openssl+sodium`: the first seals data. Never
 * fails. What was measured once stays.
 */
export function fastestSuite({ now }: SuiteChoice = {}): Promise<Suite> {
  if (now === undefined) return loadNativeSuites().then(suites => composeFastest(suites));
  measured ??= loadNativeSuites().then(suites => composeFastest(suites, now));
  return measured;
}

/** The suite of this name. Throws `ERR_SUITE` where there is none, or where it does not load here. */
export async function suiteNamed(name: string, choice: SuiteChoice = {}): Promise<Suite> {
  if (name === 'fastest') return fastestSuite(choice);
  const suite = [...(await loadNativeSuites()), nobleSuite].find(candidate => candidate.name === name);
  if (suite) return suite;
  const isKnown = SUITE_NAMES.some(known => known === name);
  const reason = isKnown ? `suite ${name} does not load here` : `there is no suite ${name}`;
  throw new ProtocolError('ERR_SUITE', `${reason}: take one of ${SUITE_NAMES.join(', ')}`);
}

async function loadNativeSuites(): Promise<Suite[]> {
  const suites = await Promise.all([loadIpsecMbSuite(), loadOpensslSuite(), loadSodiumSuite()]);
  return suites.filter(suite => suite !== undefined);
}

/**
 * The best parts of these native suites; noble where there are none. For `fastestSuite`, and for tests with suites and
 * a clock of their own.
 */
export function composeFastest(suites: readonly Suite[], now?: () => number): Suite {
  const best = (part: Part): Suite => {
    const { rank, measured } = part;
    const able = suites.filter(({ name }) => rank.includes(name));
    if (able.length < 2) return able[0] ?? nobleSuite;
    const costs = now && measured ? measure(measured, able, now) : able.map(({ name }) => rank.indexOf(name));
    return able[costs.indexOf(Math.min(...costs))];
  };
  const aead = best(PARTS.aead);
  const keyAgreement = best(PARTS.keyAgreement);
  const extendedAead = best(PARTS.extendedAead);
  const hashes = best(PARTS.hashes);
  const parts = [...new Set([aead, keyAgreement, extendedAead, hashes])];
  if (parts.length === 1) return aead;
  return {
    name: parts.map(part => part.name).join('+'),
    seal: aead.seal,
    open: aead.open,
    ...(aead.sealer && { sealer: aead.sealer }),
    ...(aead.opener && { opener: aead.opener }),
    sealX: extendedAead.sealX,
    openX: extendedAead.openX,
    publicKey: keyAgreement.publicKey,
    sharedSecret: keyAgreement.sharedSecret,
    hash: hashes.hash,
    mac: hashes.mac,
    hmac: hashes.hmac,
    forget() {
      for (const part of parts) part.forget();
    },
  };
}

/**
 * Milliseconds of each suite's fastest round, as the others were disturbed. They take turns: what slows one down for a
 * while slows all of them.
 */
function measure(
  { times, rounds, work }: NonNullable<Part['measured']>,
  suites: readonly Suite[],
  now: () => number,
): number[] {
  const scratch = new Scratch();
  const best = suites.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < rounds; round++) {
    for (const [which, suite] of suites.entries()) {
      const start = now();
      for (let i = 0; i < times; i++) work(suite, scratch);
      best[which] = Math.min(best[which], now() - start);
    }
  }
  return best;
}
