// What stores have in common: which records there are, and when two ranges are the same.
// Promises: a record that is kept shares no memory with what was given, and has one form.
// Read on: ../store.ts; bytes.ts (records as bytes).

import { equalBytes } from '../../native/bytes.js';
import { copySecret } from '../../native/secret-bytes.js';
import { KEY_BYTES } from '../../protocol/suite.js';
import { TAI64N_BYTES } from '../../protocol/tai64n.js';
import type { AllowedIp } from '../../sessions/allowed-ips.js';
import { GatewayError } from '../errors.js';
import type { PeerRecord } from '../store.js';

/** More than anybody gives one peer, and few enough for one transaction. */
const MAX_RANGES = 4_096;
/** In UTF-8: its length is one byte. */
export const MAX_NAME_BYTES = 255;

/** A copy in the one form, of the peer with this key. Throws `ERR_PEER_RECORD`. */
export function ownRecord(publicKey: Uint8Array, record: PeerRecord): PeerRecord {
  requireBytes('a public key', record.publicKey, KEY_BYTES);
  if (!equalBytes(publicKey, record.publicKey)) refuse('it has the key of another peer');
  const { presharedKey, latestTimestamp, enrolledUnder, revokedAt } = record;
  if (presharedKey) requireBytes('a preshared key', presharedKey, KEY_BYTES);
  if (latestTimestamp) requireBytes('a timestamp', latestTimestamp, TAI64N_BYTES);
  if (enrolledUnder !== undefined) requireName(enrolledUnder);
  const ranges = new Map<string, AllowedIp>();
  for (const range of record.allowedIps) {
    const own = ownRange(range);
    ranges.set(rangeId(own), own);
  }
  if (ranges.size > MAX_RANGES) refuse(`a peer has ${MAX_RANGES} ranges at most`);
  return {
    publicKey: new Uint8Array(record.publicKey),
    allowedIps: [...ranges.values()],
    ...(presharedKey && { presharedKey: copySecret(presharedKey) }),
    ...(enrolledUnder !== undefined && { enrolledUnder }),
    admittedAt: requireTime('admittedAt', record.admittedAt),
    lastSeenAt: requireTime('lastSeenAt', record.lastSeenAt),
    ...(latestTimestamp && { latestTimestamp: new Uint8Array(latestTimestamp) }),
    ...(revokedAt !== undefined && { revokedAt: requireTime('revokedAt', revokedAt) }),
  };
}

/** A copy with its host bits cleared. Throws `ERR_PEER_RECORD`. */
export function ownRange({ ip, prefix }: AllowedIp): AllowedIp {
  if (ip.length !== 4 && ip.length !== 16) refuse(`an address has 4 or 16 bytes, not ${ip.length}`);
  if (!Number.isInteger(prefix) || prefix < 0 || prefix > 8 * ip.length)
    refuse(`${prefix} is the length of no prefix`);
  return { ip: ip.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, prefix - 8 * i)))), prefix };
}

/** Of one's own range: its bytes, and the length of its prefix. */
export function rangeBytes({ ip, prefix }: AllowedIp): Uint8Array {
  return Uint8Array.of(...ip, prefix);
}

/** The same for whoever looks it up in a map. */
export function rangeId({ ip, prefix }: AllowedIp): string {
  return `${ip.join('.')}/${prefix}`;
}

/** Throws `ERR_PEER_RECORD` unless it has the length of a key. */
export function requireKey(publicKey: Uint8Array): void {
  requireBytes('a public key', publicKey, KEY_BYTES);
}

/** What a record, or none, adds to `count`. */
export function standing(record: PeerRecord | undefined): number {
  return record && record.revokedAt === undefined ? 1 : 0;
}

export function storeClosed(): GatewayError {
  return new GatewayError('ERR_STORE_CLOSED', 'the store is closed');
}

function requireBytes(what: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) refuse(`${what} has ${length} bytes, not ${bytes.length}`);
}

function requireName(name: string): void {
  const length = Buffer.byteLength(name);
  if (length === 0 || length > MAX_NAME_BYTES)
    refuse(`the name of a secret has 1 to ${MAX_NAME_BYTES} bytes`);
}

function requireTime(what: string, ms: number): number {
  if (!Number.isSafeInteger(ms) || ms < 0) refuse(`${what} is whole milliseconds since 1970, not ${ms}`);
  return ms;
}

function refuse(problem: string): never {
  throw new GatewayError('ERR_PEER_RECORD', `no record of a peer: ${problem}`);
}
