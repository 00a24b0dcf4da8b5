// What a running device says of itself beyond what `wg show` can: the answer to the UAPI's `status=1`.
// Promises: JSON as it is, without secrets; what is read from a daemon is checked before anybody uses it.
// Read on: uapi/connection.ts (who sends it), metrics.ts and cli/status.ts (who shows it), status-hints.ts.

import type { OpenSslSeeding } from '../../crng/openssl.js';
import type { Refusal } from '../../gateway/admission.js';
import type { DropReason } from '../../sessions/drops.js';
import type { ForkPolicy } from '../../sessions/events.js';
import type { Protection, SourceStatus } from '../../vmgenid/index.js';
import type { KeyMemoryReport } from '../loop/key-memory.js';
import type { Privileges } from '../linux/capabilities.js';
import type { RecoveryHistogram } from './recovery-times.js';
import type { TransportDrop } from '../transport.js';
import type { TunState } from '../linux/tun/tun.js';

/** How one of its peers stands. */
export interface PeerStatus {
  /** Base64, as `wg` writes it. */
  readonly publicKey: string;
  /** As `fd00::/64`, in the order in which `wg` shows them. */
  readonly allowedIps: readonly string[];
  /** `192.0.2.1:51820`, a WebSocket URL without password and query, or null while it is not known. */
  readonly endpoint: string | null;
  /** Wall-clock milliseconds since 1970; 0 before the first. */
  readonly lastHandshakeAt: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Whether there is a keypair that may seal now. */
  readonly hasSession: boolean;
  /** The epoch in which that keypair was born; null without one. */
  readonly sessionEpoch: number | null;
  /** The index by which the peer calls it, as it goes over the wire; null without one. */
  readonly sessionIndex: number | null;
  /** Of a peer that was called for the last fork or drill; else null. */
  readonly recovery: PeerRecoveryStatus | null;
  /** Initiations of ours since it last completed a handshake. */
  readonly unanswered: number;
  /** How often it has moved to another address within the last minute; counts to `MAX_MOVES`. */
  readonly moves: number;
}

/** How a peer that was called for the last fork or drill came back. */
export interface PeerRecoveryStatus {
  /** Milliseconds from seeing it to having keys of its epoch on both sides; null until then. */
  readonly backAfterMs: number | null;
}

/** How far the device has come back from the last fork of its machine, or drill. */
export interface RecoveryStatus {
  /** The epoch that it began. */
  readonly epoch: number;
  /** Milliseconds since the device saw it. */
  readonly ageMs: number;
  /** Peers that were called for it: those in conversation, and those for whom packets wait. */
  readonly called: number;
  /** Those of them with which there are keys of this epoch, on both sides. */
  readonly back: number;
  /** Milliseconds from seeing it to the last of these; null while there is none. */
  readonly lastBackMs: number | null;
}

export const MAX_MOVES = 8;

/** What began an epoch after the first. */
export interface EpochStart {
  readonly epoch: number;
  /** Wall-clock milliseconds since 1970. */
  readonly at: number;
  readonly cause: 'fork' | 'drill';
}

/** So many of them are kept. */
export const MAX_EPOCHS = 32;

/** How far a clone is. `operator`: its private key is one that `wg` has set. `asking`: it waits to be told the rest. */
export const ENROLMENT_STAGES = ['operator', 'drawing', 'asking', 'addressing', 'enrolled'] as const;
export type EnrolmentStage = (typeof ENROLMENT_STAGES)[number];

/** How a clone stands with its identity. */
export interface EnrolmentStatus {
  /** How it comes to what is not its key. */
  readonly method: 'derived' | 'exec' | 'hook';
  /** `enrolled`: the public key of the device is one that it has drawn, and that peers take. */
  readonly stage: EnrolmentStage;
  /** As `fd5e:7c1a:9b2d::7/64`; none until it is enrolled. */
  readonly addresses: readonly string[];
  /** Wall-clock milliseconds; null until it is enrolled. */
  readonly since: number | null;
  /** The public key of the machine that it was cloned from, in base64, where that is known. */
  readonly parent: string | null;
  /** In words. */
  readonly waitsFor: string | null;
}

export interface TripwireStatus {
  /** The peer that was cloned, in base64. */
  readonly peer: string;
  /** Wall-clock milliseconds since 1970. */
  readonly at: number;
}

/** Why a packet did not go on between interface and device; docs/errors.md has a row for each. */
export const INTERFACE_DROPS = ['unsplittable', 'undeliverable'] as const;
/** One of `INTERFACE_DROPS`. */
export type InterfaceDrop = (typeof INTERFACE_DROPS)[number];

/** Of a gateway: who may be a peer without being configured. Counts are since the start. */
export interface GatewayStatus {
  /** Peers in the store that are not revoked; null while it gives no answer, and where it only answers for one at a time. */
  readonly known: number | null;
  /** Admitted peers in memory. */
  readonly present: number;
  /** Answered, and not proven yet. */
  readonly provisional: number;
  /** Asked about, and not answered yet. */
  readonly awaited: number;
  /** Strangers looked up in the store. */
  readonly lookups: number;
  /** Who proved himself, and who did not in time. */
  readonly admitted: number;
  readonly unproven: number;
  /** Admitted peers put out of memory, when all their keys had expired. */
  readonly evicted: number;
  /** Peers that the store forgot, as they were not seen for as long as was allowed. */
  readonly expired: number;
  readonly refused: Readonly<Record<Refusal, number>>;
}

/** How a running daemon stands, as `wireonce status --json` prints it. */
export interface DeviceStatus {
  readonly interface: string;
  /** Of the program that runs. */
  readonly version: string;
  /** Milliseconds since the device was made. */
  readonly uptimeMs: number;
  /** Base64; null without a private key. */
  readonly publicKey: string | null;
  /** Bytes of the largest inner packet. */
  readonly mtu: number;
  /** Of the interface. */
  readonly linkState: TunState;
  /** UDP; 0 while it is not bound. */
  readonly listenPort: number;
  /** Where WebSocket peers may connect, as `address:port`. */
  readonly webSockets: readonly string[];
  readonly protection: Protection;
  /** By how much the system's clock was left behind by a fork, as far as the hardware clock tells. */
  readonly clockBehindMs: number;
  /** Whether the keys lie in memory that is kept out of swap and core dumps. */
  readonly keyMemory: KeyMemoryReport;
  /** What the process may do; null where it cannot tell. */
  readonly privileges: Privileges | null;
  readonly sources: readonly SourceStatus[];
  readonly forkPolicy: ForkPolicy;
  readonly strict: boolean;
  readonly holdBackMs: number;
  readonly epoch: number;
  /** Forks responded to. */
  readonly forks: number;
  /** Drills responded to: `wireonce drill`. */
  readonly drills: number;
  readonly wipedKeypairs: number;
  /** Keypairs that would seal in another epoch than this: 0, unless something is wrong. */
  readonly staleKeypairs: number;
  /** When OpenSSL's generator was last seeded, by epoch, and whether something went in that siblings lack; null if it cannot be. */
  readonly openssl: OpenSslSeeding | null;
  /** Null before the first fork or drill. */
  readonly recovery: RecoveryStatus | null;
  /** Wall-clock milliseconds since 1970; null before the first. */
  readonly lastForkAt: number | null;
  readonly lastDrillAt: number | null;
  /** The latest, `MAX_EPOCHS` at most, in their order. */
  readonly epochs: readonly EpochStart[];
  /** How long peers took to come back, since the start. */
  readonly recoveries: { readonly fork: RecoveryHistogram; readonly drill: RecoveryHistogram };
  /** Sealed datagrams that the release gate discarded. */
  readonly discardedAtRelease: number;
  readonly handshakes: {
    /** Since the start. */
    readonly completed: number;
  };
  readonly drops: Readonly<Record<DropReason, number>>;
  readonly transportDrops: Readonly<Record<TransportDrop, number>>;
  /** The name of the error with which UDP last failed, such as `EPERM`; null while it never did. */
  readonly lastUdpError: string | null;
  readonly interfaceDrops: Readonly<Record<InterfaceDrop, number>>;
  /**
   * The fewest counters that a current sending keypair has left before REJECT_AFTER_MESSAGES, in decimal: it may
   * exceed 2^53. Null without a keypair.
   */
  readonly nonceHeadroom: string | null;
  /** How often a peer was found to be cloned. */
  readonly clonedPeers: number;
  readonly lastTripwire: TripwireStatus | null;
  /** The primitives, such as `sodium`. */
  readonly suite: string;
  /** In use, such as `UDP_GRO`. */
  readonly offloads: readonly string[];
  /** Peers whose handshake waits for fresh randomness. */
  readonly waitingForFreshness: number;
  /** Policy `hold` after a fork: silent until a new private key is set. */
  readonly held: boolean;
  /** Null where peers are admitted by configuration alone. */
  readonly gateway: GatewayStatus | null;
  /** Of a clone, by policy `enrol`; else null. */
  readonly enrolment: EnrolmentStatus | null;
  readonly peers: readonly PeerStatus[];
  /** What the operator should look at, one sentence each. */
  readonly hints: readonly string[];
}

/** Reads what a daemon answered. Throws an `Error` that names the first field which is not as it should be. */
export function parseStatus(text: string): DeviceStatus {
  const value: unknown = JSON.parse(text);
  if (!isObject(value)) throw new Error('a status that is no object');
  for (const [name, check] of Object.entries(CHECKS)) {
    if (!check(value[name])) throw new Error(`a status whose '${name}' is none`);
  }
  return value as unknown as DeviceStatus;
}

type Check = (value: unknown) => boolean;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isString: Check = value => typeof value === 'string';
const isNumber: Check = value => typeof value === 'number';
const isBoolean: Check = value => typeof value === 'boolean';
const orNull =
  (check: Check): Check =>
  value =>
    value === null || check(value);
const each =
  (check: Check): Check =>
  value =>
    Array.isArray(value) && value.every(check);
const counts: Check = value => isObject(value) && Object.values(value).every(isNumber);

type Checks<T> = { readonly [K in keyof T]-?: Check };

/** An object with these fields, and perhaps more. */
function shape(fields: Readonly<Record<string, Check>>): Check {
  const entries = Object.entries(fields);
  return value => isObject(value) && entries.every(([name, check]) => check(value[name]));
}

const isHistogram = shape({
  counts: each(isNumber),
  sumMs: isNumber,
} satisfies Checks<RecoveryHistogram>);

const CHECKS: Checks<DeviceStatus> = {
  interface: isString,
  version: isString,
  uptimeMs: isNumber,
  publicKey: orNull(isString),
  mtu: isNumber,
  linkState: isString,
  listenPort: isNumber,
  webSockets: each(isString),
  protection: isString,
  clockBehindMs: isNumber,
  keyMemory: shape({ bytes: isNumber, lockedBytes: isNumber, refused: orNull(isString) }),
  privileges: orNull(
    shape({ capabilities: each(isString), noNewPrivileges: isBoolean } satisfies Checks<Privileges>),
  ),
  sources: each(
    shape({
      name: isString,
      timing: isString,
      uniqueness: isString,
      readable: isBoolean,
      reason: value => value === undefined || isString(value),
    } satisfies Checks<SourceStatus>),
  ),
  forkPolicy: isString,
  strict: isBoolean,
  holdBackMs: isNumber,
  epoch: isNumber,
  forks: isNumber,
  drills: isNumber,
  wipedKeypairs: isNumber,
  staleKeypairs: isNumber,
  openssl: orNull(shape({ epoch: isNumber, parted: isBoolean } satisfies Checks<OpenSslSeeding>)),
  lastForkAt: orNull(isNumber),
  lastDrillAt: orNull(isNumber),
  epochs: each(shape({ epoch: isNumber, at: isNumber, cause: isString } satisfies Checks<EpochStart>)),
  recoveries: shape({ fork: isHistogram, drill: isHistogram }),
  recovery: orNull(
    shape({
      epoch: isNumber,
      ageMs: isNumber,
      called: isNumber,
      back: isNumber,
      lastBackMs: orNull(isNumber),
    } satisfies Checks<RecoveryStatus>),
  ),
  discardedAtRelease: isNumber,
  handshakes: shape({ completed: isNumber } satisfies Checks<DeviceStatus['handshakes']>),
  drops: counts,
  transportDrops: counts,
  lastUdpError: orNull(isString),
  interfaceDrops: counts,
  nonceHeadroom: value => value === null || (typeof value === 'string' && /^\d+$/.test(value)),
  clonedPeers: isNumber,
  lastTripwire: orNull(shape({ peer: isString, at: isNumber } satisfies Checks<TripwireStatus>)),
  suite: isString,
  offloads: each(isString),
  waitingForFreshness: isNumber,
  held: isBoolean,
  gateway: orNull(
    shape({
      known: orNull(isNumber),
      present: isNumber,
      provisional: isNumber,
      awaited: isNumber,
      lookups: isNumber,
      admitted: isNumber,
      unproven: isNumber,
      evicted: isNumber,
      expired: isNumber,
      refused: counts,
    } satisfies Checks<GatewayStatus>),
  ),
  enrolment: orNull(
    shape({
      method: isString,
      stage: isString,
      addresses: each(isString),
      since: orNull(isNumber),
      parent: orNull(isString),
      waitsFor: orNull(isString),
    } satisfies Checks<EnrolmentStatus>),
  ),
  peers: each(
    shape({
      publicKey: isString,
      allowedIps: each(isString),
      endpoint: orNull(isString),
      lastHandshakeAt: isNumber,
      rxBytes: isNumber,
      txBytes: isNumber,
      hasSession: isBoolean,
      sessionEpoch: orNull(isNumber),
      sessionIndex: orNull(isNumber),
      recovery: orNull(shape({ backAfterMs: orNull(isNumber) } satisfies Checks<PeerRecoveryStatus>)),
      unanswered: isNumber,
      moves: isNumber,
    } satisfies Checks<PeerStatus>),
  ),
  hints: each(isString),
};
