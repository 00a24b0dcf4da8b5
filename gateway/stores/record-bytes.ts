// A peer as bytes, for stores that keep bytes.
// Promises: what is read is what was written, or found damaged: a checksum covers the key and all of the record.
// Read on: record.ts (the one form); sqlite.ts.

/*
 *  0  format, 1 byte         2  admittedAt, float64       18  what is there, in this order: revokedAt (8), latestTimestamp
 *  1  what is there, 1 byte  10 lastSeenAt, float64           (12), presharedKey (32), the name's length (1) and the name
 *  then ranges to the end: length of the address (1), of the prefix (1), the address; last CRC-32 of key and record (4).
 */

import { crc32 } from 'node:zlib';
import { copySecret, secretBytes } from '../../native/secret-bytes.js';
import { KEY_BYTES } from '../../protocol/suite.js';
import { TAI64N_BYTES } from '../../protocol/tai64n.js';
import type { AllowedIp } from '../../sessions/allowed-ips.js';
import type { PeerRecord } from '../store.js';

const FORMAT = 1;
const FIXED_BYTES = 18;
const TIME_BYTES = 8;
const CHECKSUM_BYTES = 4;

const REVOKED = 1;
const TIMESTAMP = 2;
const PRESHARED_KEY = 4;
const NAME = 8;

/** Of a record in its own form. They hold its preshared key: erase them. */
export function encodeRecord(record: PeerRecord): Uint8Array {
  const { publicKey, allowedIps, revokedAt, latestTimestamp, presharedKey, enrolledUnder } = record;
  const name = enrolledUnder === undefined ? undefined : new TextEncoder().encode(enrolledUnder);
  const ranges = allowedIps.reduce((sum, { ip }) => sum + 2 + ip.length, 0);
  const length =
    FIXED_BYTES +
    (revokedAt === undefined ? 0 : TIME_BYTES) +
    (latestTimestamp ? TAI64N_BYTES : 0) +
    (presharedKey ? KEY_BYTES : 0) +
    (name ? 1 + name.length : 0) +
    ranges;
  const bytes = secretBytes(length + CHECKSUM_BYTES);
  const view = new DataView(bytes.buffer);
  let at = FIXED_BYTES;
  const put = (flag: number, piece: Uint8Array) => {
    bytes[1] |= flag;
    bytes.set(piece, at);
    at += piece.length;
  };
  bytes[0] = FORMAT;
  view.setFloat64(2, record.admittedAt);
  view.setFloat64(10, record.lastSeenAt);
  if (revokedAt !== undefined) {
    view.setFloat64(at, revokedAt);
    put(REVOKED, bytes.subarray(at, at + TIME_BYTES));
  }
  if (latestTimestamp) put(TIMESTAMP, latestTimestamp);
  if (presharedKey) put(PRESHARED_KEY, presharedKey);
  if (name) {
    bytes[at++] = name.length;
    put(NAME, name);
  }
  for (const { ip, prefix } of allowedIps) {
    bytes[at++] = ip.length;
    bytes[at++] = prefix;
    put(0, ip);
  }
  view.setUint32(length, checksum(publicKey, bytes.subarray(0, length)));
  return bytes;
}

/** Whether it is what was written for this key. */
export function isIntact(publicKey: Uint8Array, bytes: Uint8Array): boolean {
  const length = bytes.length - CHECKSUM_BYTES;
  return length >= FIXED_BYTES && checksum(publicKey, bytes.subarray(0, length)) === checksumOf(bytes);
}

/** What stands in a record as its checksum. */
export function checksumOf(bytes: Uint8Array): number {
  const at = bytes.length - CHECKSUM_BYTES;
  // Without a view: it is done for each record of a store that is opened.
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

/** Shares no memory with `bytes`. `undefined`: damaged, or of another format. */
export function decodeRecord(publicKey: Uint8Array, bytes: Uint8Array): PeerRecord | undefined {
  if (!isIntact(publicKey, bytes) || bytes[0] !== FORMAT) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const flags = bytes[1];
  let at = FIXED_BYTES;
  const time = () => view.getFloat64((at += TIME_BYTES) - TIME_BYTES);
  const piece = (length: number) => bytes.slice(at, (at += length));
  const revokedAt = flags & REVOKED ? time() : undefined;
  const latestTimestamp = flags & TIMESTAMP ? piece(TAI64N_BYTES) : undefined;
  const presharedKey = flags & PRESHARED_KEY ? copySecret(bytes.subarray(at, (at += KEY_BYTES))) : undefined;
  const name = flags & NAME ? piece(bytes[at++]) : undefined;
  const allowedIps: AllowedIp[] = [];
  while (at < bytes.length - CHECKSUM_BYTES) {
    const length = bytes[at++];
    const prefix = bytes[at++];
    allowedIps.push({ ip: piece(length), prefix });
  }
  return {
    publicKey: publicKey.slice(),
    allowedIps,
    ...(presharedKey && { presharedKey }),
    ...(name && { enrolledUnder: new TextDecoder('utf-8', { ignoreBOM: true }).decode(name) }),
    admittedAt: view.getFloat64(2),
    lastSeenAt: view.getFloat64(10),
    ...(latestTimestamp && { latestTimestamp }),
    ...(revokedAt !== undefined && { revokedAt }),
  };
}

/** Whether the peer of an intact record is refused. */
export function isRevoked(bytes: Uint8Array): boolean {
  return (bytes[1] & REVOKED) !== 0;
}

function checksum(publicKey: Uint8Array, record: Uint8Array): number {
  return crc32(record, crc32(publicKey));
}
