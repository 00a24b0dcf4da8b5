// A gateway's admission over a store in memory, with a clock of the test's.

import { bytesToHex } from '@noble/hashes/utils.js';
import {
  GatewayAdmission,
  type GatewayAdmissionOptions,
  type GatewayEvent,
} from '../../gateway/admission.js';
import { deriveAddress } from '../../gateway/derive.js';
import type { PeerLookup, PeerRecord, PeerStore } from '../../gateway/store.js';
import { MemoryPeerStore } from '../../gateway/stores/memory.js';
import type { AdmittedPeer } from '../../sessions/admission.js';

export const DAY_MS = 86_400_000;
export const PREFIX = Uint8Array.of(0xfd, 0x5e, 0x7c, 0x1a, 0x9b, 0x2d, 0, 0);
export const GATEWAY = new Uint8Array(32).fill(0x99);
export const SECRET = new Uint8Array(32).fill(0x51);
export const OLDER = new Uint8Array(32).fill(0x52);

export const key = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);

/** What its key derives. */
export const rangeOf = (publicKey: Uint8Array) => ({ ip: deriveAddress(PREFIX, publicKey), prefix: 128 });

export class TestGateway {
  readonly store: PeerStore;
  readonly admission: GatewayAdmission;
  readonly events: GatewayEvent[] = [];
  /** Public keys, in hexadecimal, that were taken from the device again. */
  readonly evicted: string[] = [];
  wallMs = 1_700_000_000_000;
  readonly #timers = new Set<{ readonly at: number; readonly callback: () => void }>();
  #ms = 0;

  constructor(
    options: Partial<Omit<GatewayAdmissionOptions, 'store'>> & { store?: PeerStore | PeerLookup } = {},
  ) {
    const { store = new MemoryPeerStore() } = options;
    this.store = store as PeerStore;
    this.admission = new GatewayAdmission({
      secrets: [SECRET],
      prefix: PREFIX,
      wallClock: () => this.wallMs,
      after: (ms, callback) => {
        const timer = { at: this.#ms + ms, callback };
        this.#timers.add(timer);
        return () => this.#timers.delete(timer);
      },
      onEvent: event => this.events.push(event),
      ...options,
      store: this.store,
    });
    this.admission.onEvict = publicKey => this.evicted.push(bytesToHex(publicKey));
  }

  /** Timers that were set and have neither rung nor been cancelled. */
  get timers(): number {
    return this.#timers.size;
  }

  advance(ms: number): void {
    this.#ms += ms;
    for (const timer of this.#timers) {
      if (timer.at > this.#ms || !this.#timers.delete(timer)) continue;
      timer.callback();
    }
  }

  /** What a caller is answered; a failure is `failed`. */
  async call(publicKey: Uint8Array): Promise<AdmittedPeer | 'no' | 'failed'> {
    try {
      return (await this.admission.admit(publicKey, GATEWAY)) ?? 'no';
    } catch {
      return 'failed';
    }
  }

  /** The device has had data from whom it answered. Resolves when the store knows. */
  async prove(
    publicKey: Uint8Array,
    allowedIps = [rangeOf(publicKey)],
    timestamp = new Uint8Array(12).fill(1),
  ) {
    this.admission.hear({ type: 'peerAdmitted', peer: publicKey, allowedIps, timestamp });
    await this.settled();
  }

  /** Calls and proves itself. */
  async join(publicKey: Uint8Array): Promise<void> {
    await this.call(publicKey);
    await this.prove(publicKey);
  }

  /** Whatever was to be written is. */
  async settled(): Promise<void> {
    for (let turn = 0; turn < 5; turn++) await new Promise(resolve => setImmediate(resolve));
  }

  async record(publicKey: Uint8Array): Promise<PeerRecord | undefined> {
    return this.store.get(publicKey);
  }

  async keep(publicKey: Uint8Array, change: Partial<PeerRecord> = {}): Promise<void> {
    const record = { publicKey, allowedIps: [], admittedAt: this.wallMs, lastSeenAt: 0, ...change };
    await this.store.update(publicKey, () => record);
  }

  get refused() {
    return this.admission.stats().refused;
  }
}
