// Peers of a store as text: what a service answers, and the lines that `wireonce peers` prints and reads.
// Promises: what is no peer is refused, with words that show no key; what is written is read again as the same.
// Read on: gateway/store.ts; docs/configuration.md "Peers of a gateway".

import type { PeerRecord } from '../../gateway/store.js';
import type { AllowedIp } from '../../sessions/allowed-ips.js';
import { BadValue, readRange } from '../config/config-values.js';
import { formatIp } from '../ip.js';
import { decodeKey, encodeKey } from '../keys.js';

/** One peer, as JSON has it. Times are wall-clock milliseconds. */
export interface PeerText {
  /** Keys are base64, as `wg` has them. */
  readonly publicKey: string;
  readonly allowedIps: readonly string[];
  readonly presharedKey?: string;
  readonly enrolledUnder?: string;
  readonly admittedAt?: number;
  readonly lastSeenAt?: number;
  /** TAI64N in hexadecimal, 24 digits. */
  readonly latestTimestamp?: string;
  readonly revokedAt?: number;
}

/** What a text says of a peer. */
export type SaidOfPeer = Pick<PeerRecord, 'publicKey' | 'allowedIps'> & Partial<PeerRecord>;

type Field = Exclude<keyof PeerText, 'publicKey' | 'allowedIps'>;

const READERS: { readonly [Name in Field]: (value: unknown) => NonNullable<PeerRecord[Name]> } = {
  presharedKey: value => readKey(readText(value)),
  enrolledUnder: readText,
  admittedAt: readTime,
  lastSeenAt: readTime,
  latestTimestamp: readTimestamp,
  revokedAt: readTime,
};

/** What a service says of the peer that it was asked for. Throws `BadValue`. */
export function readPeer(publicKey: Uint8Array, value: unknown): SaidOfPeer {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new BadValue('no object');
  const { allowedIps, ...others } = value as Record<string, unknown>;
  const draft: Partial<PeerRecord> = {};
  for (const [name, said] of Object.entries(others)) {
    const reader = Object.hasOwn(READERS, name) ? READERS[name as Field] : undefined;
    if (!reader)
      throw new BadValue(`a field that is not known${/^[\w-]{1,40}$/.test(name) ? `: ${name}` : ''}`);
    Object.assign(draft, { [name]: named(name, () => reader(said)) });
  }
  const ranges = named('allowedIps', () => readRanges(allowedIps));
  return { ...draft, publicKey, allowedIps: ranges };
}

/** One line of an export, which names its peer. Throws `BadValue`. */
export function readNamedPeer(value: unknown): SaidOfPeer {
  const { publicKey, ...others } = Object(value) as Record<string, unknown>;
  return readPeer(
    named('publicKey', () => readKey(readText(publicKey))),
    others,
  );
}

/** `withSecrets`: the preshared key too. */
export function peerText(record: PeerRecord, withSecrets: boolean): PeerText {
  const { presharedKey, enrolledUnder, admittedAt, lastSeenAt, latestTimestamp, revokedAt } = record;
  return {
    publicKey: encodeKey(record.publicKey),
    allowedIps: record.allowedIps.map(rangeText),
    ...(withSecrets && presharedKey && { presharedKey: encodeKey(presharedKey) }),
    ...(enrolledUnder !== undefined && { enrolledUnder }),
    admittedAt,
    lastSeenAt,
    ...(latestTimestamp && { latestTimestamp: Buffer.from(latestTimestamp).toString('hex') }),
    ...(revokedAt !== undefined && { revokedAt }),
  };
}

export function rangeText({ ip, prefix }: AllowedIp): string {
  return `${formatIp(ip)}/${prefix}`;
}

function readKey(text: string): Uint8Array {
  try {
    return decodeKey(text);
  } catch (error) {
    throw new BadValue((error as Error).message);
  }
}

function readRanges(value: unknown): AllowedIp[] {
  if (!Array.isArray(value)) throw new BadValue('no list of addresses');
  return value.map(range => readRange(readText(range)));
}

function readText(value: unknown): string {
  if (typeof value !== 'string') throw new BadValue('no text');
  return value;
}

function readTime(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw new BadValue('no whole number of milliseconds');
  return value;
}

function readTimestamp(value: unknown): Uint8Array {
  const text = readText(value);
  if (!/^[0-9a-f]{24}$/i.test(text)) throw new BadValue('no timestamp of 24 hexadecimal digits');
  return new Uint8Array(Buffer.from(text, 'hex'));
}

function named<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof BadValue ? new BadValue(`${name}: ${error.message}`) : error;
  }
}
