// Who of those that nobody configured may be a peer: asks the store, derives what an enrolment secret gives, and tells the store what
// becomes of them.
// Promises: what strangers bring about is bounded, whatever the store does; who is revoked is refused, also when that came while
// he was being admitted; nobody is written to the store who has not proven the secret, and none more than `maxPeers`.
// Read on: secrets.ts (two secrets at a time); store-lookups.ts; ../sessions/admission.ts (the port, and what a device bounds).

import { bytesToHex } from '@noble/hashes/utils.js';
import { BoundedMap } from '../native/bounded-map.js';
import { copySecret } from '../native/secret-bytes.js';
import type { AdmittedPeer } from '../sessions/admission.js';
import type { DeviceEvent } from '../sessions/events.js';
import { deriveAddress, derivePresharedKey } from './derive.js';
import type { GatewayError } from './errors.js';
import { expirePeers } from './expire.js';
import { type EnrolmentSecret, EnrolmentSecrets } from './secrets.js';
import type { PeerLookup, PeerRecord, PeerStore } from './store.js';
import { type After, StoreLookups } from './store-lookups.js';

/** Every reason not to admit somebody. */
export const REFUSALS = ['revoked', 'notEnrolled', 'addressTaken', 'full', 'storeFailed'] as const;
/**
 * `revoked`: the store says so. `notEnrolled`: the store does not know him, and there is no secret, or its word is final. `addressTaken`: the address
 * that his key gives is another's. `full`: there are as many peers as there may be. `storeFailed`: it failed, or gave no answer;
 * whoever called is asked about again when he calls again.
 */
export type Refusal = (typeof REFUSALS)[number];

/** What `onEvent` hears. */
export type GatewayEvent =
  /** Has proven himself, and stands in the store. `isNew`: for the first time. */
  | { readonly type: 'admitted'; readonly publicKey: Uint8Array; readonly isNew: boolean }
  | { readonly type: 'refused'; readonly publicKey: Uint8Array; readonly reason: Refusal }
  | { readonly type: 'storeFailed'; readonly error: Error }
  /** Was answered, and has proven nothing. */
  | { readonly type: 'unproven'; readonly publicKey: Uint8Array }
  /** So many were forgotten, as they were not seen for as long as was allowed. */
  | { readonly type: 'expired'; readonly peers: number };

/** Whom a gateway admits, and by what. */
export interface GatewayAdmissionOptions {
  /**
   * Of one that can only be asked, its word is final: whom it does not know is refused, and nothing is told it. Stays the
   * caller's to close.
   */
  readonly store: PeerLookup | PeerStore;
  /** 32 bytes each, the newest first; copied. Without any only those are admitted whom the store knows. */
  readonly secrets: readonly Uint8Array[];
  /** 8 bytes: the /64 of IPv6 that all derived addresses lie in. */
  readonly prefix: Uint8Array;
  /** So many in the store, and nobody new is admitted. Default: any number. */
  readonly maxPeers?: number | undefined;
  /** Whoever has enrolled and was not seen for so long is forgotten by `sweep`. Milliseconds; default: Infinity. */
  readonly expireAfterMs?: number | undefined;
  /** Milliseconds since 1970. */
  readonly wallClock: () => number;
  readonly after: After;
  /** Told of who is admitted and who is not. */
  readonly onEvent?: ((event: GatewayEvent) => void) | undefined;
}

/** What a gateway has counted since it was made. */
export interface GatewayStats {
  readonly refused: Readonly<Record<Refusal, number>>;
  /** Strangers looked up in the store. */
  readonly lookups: number;
  /** Peers forgotten, as they were not seen for too long. */
  readonly expired: number;
}

/** Answers of which it is not known what became of them: a device has fewer provisional peers. */
const MAX_ANSWERED = 16_384;
/** So often the store hears that a peer is still there, or eight times in `expireAfterMs`. Milliseconds. */
const SIGHTING_MS = 3_600_000;
const SIGHTINGS_IN_EXPIRY = 8;
/** Whoever asks how things stand does not wait for a store that is silent. Milliseconds. */
const COUNT_TIMEOUT_MS = 250;
/** Of an IPv6 address. */
const ADDRESS_BITS = 128;

/** The events of a device that say what became of those it asked about. */
type Heard = Extract<
  DeviceEvent,
  { readonly type: 'peerAdmitted' | 'admissionExpired' | 'peerEvicted' | 'handshakeComplete' }
>;
type Eventually<T> = T | Promise<T>;

/** A caller who was answered, and what with. */
interface Answered {
  readonly isKnown: boolean;
  readonly secret: EnrolmentSecret | undefined;
}

/** A peer that is in the device, admitted by us. */
interface Loaded {
  readonly publicKey: Uint8Array;
  /** The name of the secret that it has proven. */
  readonly secret: string | undefined;
  /** What is to be written of one that the store does not know. None: it must know it. */
  readonly newcomer: PeerRecord | undefined;
  /** When the store last heard of it. Wall-clock milliseconds. */
  writtenAt: number;
}

/**
 * Decides about callers that a device does not know, and has a store keep who was admitted.
 *
 * @example
 * const gateway = new GatewayAdmission({ store, secrets: [secret], prefix, wallClock: Date.now, after });
 * const { tunnel } = await createTunnel({
 *   config,
 *   admission: { admit: publicKey => gateway.admit(publicKey, gatewayPublicKey) },
 *   onEvent: event => gateway.hear(event),
 *   onPacket,
 * });
 * gateway.onEvict = publicKey => tunnel.device.removePeer(publicKey);
 */
export class GatewayAdmission {
  readonly #options: GatewayAdmissionOptions;
  /** None where it can only be asked. */
  readonly #store: PeerStore | undefined;
  readonly #secrets: EnrolmentSecrets;
  readonly #lookups: StoreLookups;
  readonly #sightingMs: number;
  readonly #answered = new BoundedMap<string, Answered>(MAX_ANSWERED);
  readonly #loaded = new Map<string, Loaded>();
  /** Of these the newcomers that are not in the store: not yet, or as it fails. */
  readonly #unwritten = new Set<string>();
  readonly #writing = new Set<Promise<void>>();
  readonly #refused = Object.fromEntries(REFUSALS.map(reason => [reason, 0])) as Record<Refusal, number>;
  #lookedUp = 0;
  #expired = 0;

  /** Takes a peer from the device again, who has proven himself and may not stay. */
  onEvict: (publicKey: Uint8Array) => void = () => {};

  constructor(options: GatewayAdmissionOptions) {
    const { secrets, after, expireAfterMs = Number.POSITIVE_INFINITY } = options;
    this.#options = options;
    this.#store = 'update' in options.store ? options.store : undefined;
    this.#secrets = new EnrolmentSecrets(secrets);
    this.#lookups = new StoreLookups(after);
    this.#sightingMs = Math.min(SIGHTING_MS, expireAfterMs / SIGHTINGS_IN_EXPIRY);
  }

  /**
   * What a device is to do about a caller: settings, or `undefined` for no. 32 bytes each: the caller's public key and the
   * device's own. At once, if the store answers so. Throws or rejects when the store gives no answer. The preshared key is the
   * caller's to erase.
   */
  admit(publicKey: Uint8Array, gateway: Uint8Array): Eventually<AdmittedPeer | undefined> {
    const failed = (error: unknown): never => {
      this.#refuse('storeFailed', publicKey);
      this.#storeFailed(error);
      throw error;
    };
    try {
      const answer = this.#lookups.run(() => this.#decide(publicKey, gateway));
      return answer instanceof Promise ? answer.catch(failed) : answer;
    } catch (error) {
      return failed(error);
    }
  }

  /** Call with every event of the device. */
  hear(event: Heard | { readonly type: Exclude<DeviceEvent['type'], Heard['type']> }): void {
    switch (event.type) {
      case 'peerAdmitted':
        this.#proven(event);
        break;
      case 'admissionExpired':
        this.#unproven(event.peer);
        break;
      case 'peerEvicted':
        this.#evicted(event);
        break;
      case 'handshakeComplete':
        this.#seen(event.peer);
        break;
      default:
    }
  }

  /** Call when an operator has taken a peer from the device: no more is written of it. It may call again. */
  removed(publicKey: Uint8Array): void {
    const id = bytesToHex(publicKey);
    this.#answered.delete(id);
    this.#loaded.delete(id);
    this.#unwritten.delete(id);
  }

  /** Call when an operator has taken all peers from the device. */
  removedAll(): void {
    for (const { publicKey } of this.#loaded.values()) this.removed(publicKey);
  }

  /** Forgets who has not been seen for too long. Call now and then. Rejects when the store fails. */
  async sweep(): Promise<void> {
    const { wallClock, expireAfterMs = Number.POSITIVE_INFINITY, onEvent } = this.#options;
    if (expireAfterMs === Number.POSITIVE_INFINITY || !this.#store) return;
    const { length } = await expirePeers(this.#store, {
      before: wallClock() - expireAfterMs,
      // Who is here is seen.
      spare: ({ publicKey }) => this.#loaded.has(bytesToHex(publicKey)),
    });
    this.#expired += length;
    if (length > 0) onEvent?.({ type: 'expired', peers: length });
  }

  /** Counters since it was made. */
  stats(): GatewayStats {
    return { refused: { ...this.#refused }, lookups: this.#lookedUp, expired: this.#expired };
  }

  /** Peers in the store that are not revoked; `undefined` while it gives no answer, or where it can only be read. */
  async known(): Promise<number | undefined> {
    try {
      return await this.#lookups.run(() => this.#store?.count(), COUNT_TIMEOUT_MS);
    } catch {
      return undefined;
    }
  }

  /** Erases the secrets. Resolves when what was to be written is, or has failed: then the store may be closed. */
  async close(): Promise<void> {
    this.#secrets.erase();
    await Promise.all(this.#writing);
  }

  #decide(publicKey: Uint8Array, gateway: Uint8Array): Eventually<AdmittedPeer | undefined> {
    this.#lookedUp++;
    return whenThere(this.#options.store.get(publicKey), record => {
      if (record?.revokedAt !== undefined) return this.#refuse('revoked', publicKey);
      return record ? this.#known(record, gateway) : this.#unknown(publicKey, gateway);
    });
  }

  #known(record: PeerRecord, gateway: Uint8Array): AdmittedPeer | undefined {
    const { publicKey, allowedIps, latestTimestamp, enrolledUnder } = record;
    const id = bytesToHex(publicKey);
    const isDerived = enrolledUnder !== undefined;
    const secret = isDerived ? this.#secrets.choose(id, enrolledUnder) : undefined;
    if (isDerived && !secret) return this.#refuse('notEnrolled', publicKey);
    this.#answered.set(id, { isKnown: true, secret });
    const presharedKey = secret
      ? derivePresharedKey(secret.bytes, gateway, publicKey)
      : record.presharedKey && copySecret(record.presharedKey);
    return { presharedKey, allowedIps, latestTimestamp };
  }

  #unknown(publicKey: Uint8Array, gateway: Uint8Array): Eventually<AdmittedPeer | undefined> {
    const store = this.#store;
    const id = bytesToHex(publicKey);
    const secret = this.#secrets.choose(id, undefined);
    if (!secret || !store) return this.#refuse('notEnrolled', publicKey);
    const range = { ip: deriveAddress(this.#options.prefix, publicKey), prefix: ADDRESS_BITS };
    return whenThere(store.ownerOf(range), owner => {
      if (owner) return this.#refuse('addressTaken', publicKey);
      return whenThere(this.#hasRoom(1), hasRoom => {
        if (!hasRoom) return this.#refuse('full', publicKey);
        this.#answered.set(id, { isKnown: false, secret });
        return { presharedKey: derivePresharedKey(secret.bytes, gateway, publicKey), allowedIps: [range] };
      });
    });
  }

  /** For so many more. Who was answered and has proven nothing takes no room: else strangers could take it all. */
  #hasRoom(more: number): Eventually<boolean> {
    const { maxPeers } = this.#options;
    if (maxPeers === undefined || !this.#store) return true;
    return whenThere(this.#store.count(), count => count + this.#unwritten.size + more <= maxPeers);
  }

  #proven({ peer: publicKey, allowedIps, timestamp }: Extract<Heard, { type: 'peerAdmitted' }>): void {
    const id = bytesToHex(publicKey);
    const answered = this.#answered.get(id);
    // Too many were answered since. It calls again.
    if (!answered) return this.onEvict(publicKey);
    this.#answered.delete(id);
    const { isKnown, secret } = answered;
    if (secret) this.#secrets.proven(id, secret);
    const now = this.#options.wallClock();
    const seen = { lastSeenAt: now, latestTimestamp: timestamp };
    const newcomer = secret && {
      publicKey,
      allowedIps,
      enrolledUnder: secret.name,
      admittedAt: now,
      ...seen,
    };
    const loaded = { publicKey, secret: secret?.name, newcomer, writtenAt: now };
    this.#loaded.set(id, loaded);
    if (!isKnown) this.#unwritten.add(id);
    this.#later(this.#welcome(id, loaded, seen, !isKnown));
  }

  async #welcome(id: string, loaded: Loaded, seen: Partial<PeerRecord>, isNew: boolean): Promise<void> {
    const { publicKey } = loaded;
    // It had room when it called: others have proven themselves since.
    if (isNew && !(await this.#hasRoom(0))) return this.#dismiss(publicKey, 'full');
    if (await this.#write(id, loaded, seen)) this.#options.onEvent?.({ type: 'admitted', publicKey, isNew });
  }

  #unproven(publicKey: Uint8Array): void {
    const id = bytesToHex(publicKey);
    const secret = this.#answered.get(id)?.secret;
    this.#answered.delete(id);
    if (secret) this.#secrets.failed(id, secret);
    this.#options.onEvent?.({ type: 'unproven', publicKey });
  }

  #seen(publicKey: Uint8Array): void {
    const id = bytesToHex(publicKey);
    const loaded = this.#loaded.get(id);
    const now = this.#options.wallClock();
    if (!loaded || now - loaded.writtenAt < this.#sightingMs) return;
    loaded.writtenAt = now;
    this.#later(this.#write(id, loaded, { lastSeenAt: now }));
  }

  #evicted({ peer: publicKey, lastHandshakeAt, timestamp }: Extract<Heard, { type: 'peerEvicted' }>): void {
    const isOurs = this.#loaded.has(bytesToHex(publicKey));
    this.removed(publicKey);
    const seen = { lastSeenAt: lastHandshakeAt, latestTimestamp: timestamp };
    if (isOurs) this.#later(this.#sighted(publicKey, seen));
  }

  async #sighted(publicKey: Uint8Array, seen: Partial<PeerRecord>): Promise<void> {
    await this.#store?.update(publicKey, known => (isGood(known) ? { ...known, ...seen } : known));
  }

  /** False: it may not stay, as the store says now. */
  async #write(id: string, loaded: Loaded, seen: Partial<PeerRecord>): Promise<boolean> {
    const { publicKey, secret, newcomer } = loaded;
    if (!this.#store) return true;
    try {
      const kept = await this.#store.update(publicKey, known => {
        if (!known) return newcomer && { ...newcomer, ...seen };
        const enrolledUnder = known.enrolledUnder === undefined ? undefined : secret;
        return isGood(known) ? { ...known, ...seen, enrolledUnder } : known;
      });
      if (!kept) this.#dismiss(publicKey, 'notEnrolled');
      else if (!isGood(kept)) this.#dismiss(publicKey, 'revoked');
      else return this.#unwritten.delete(id) || true;
    } catch (error) {
      if ((error as Partial<GatewayError>).code !== 'ERR_ADDRESS_TAKEN') {
        // It stays, since it has proven itself; the store hears of it at its next handshake.
        loaded.writtenAt = 0;
        throw error;
      }
      this.#dismiss(publicKey, 'addressTaken');
    }
    return false;
  }

  #later(work: Promise<unknown>): void {
    const done: Promise<void> = work
      .then(() => undefined)
      .catch((error: unknown) => this.#storeFailed(error))
      .finally(() => this.#writing.delete(done));
    this.#writing.add(done);
  }

  #dismiss(publicKey: Uint8Array, reason: Refusal): void {
    this.#refuse(reason, publicKey);
    this.removed(publicKey);
    this.onEvict(publicKey);
  }

  #refuse(reason: Refusal, publicKey: Uint8Array): undefined {
    this.#refused[reason]++;
    this.#options.onEvent?.({ type: 'refused', publicKey, reason });
  }

  #storeFailed(error: unknown): void {
    this.#options.onEvent?.({ type: 'storeFailed', error: error as Error });
  }
}

function isGood(record: PeerRecord | undefined): record is PeerRecord {
  return record !== undefined && record.revokedAt === undefined;
}

/** Goes on at once with what is there at once. */
function whenThere<T, R>(value: Eventually<T>, next: (value: T) => Eventually<R>): Eventually<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}
