// The section [Enrolment] of a daemon's file: whether this machine is a clone that comes to an identity of its own, or the
// gateway that admits such clones, and by what. The secret itself stands in a file of its own.
// Promises: settings that contradict each other, or do not suffice, are refused with the place where one of them stands.
// Read on: daemon-config.ts (the rest of the file), enrolment-secret.ts; docs/configuration.md "Enrolment".

import { PREFIX_BYTES } from '../../gateway/lengths.js';
import type { ForkPolicy } from '../../sessions/events.js';
import { TunnelError } from '../errors.js';
import type { Field, Place } from './config-file.js';
import { BadValue, quote, readKey, readNumber, readPath, readRange, words } from './config-values.js';

/** What the section says, or flags and environment in its place. */
export interface EnrolmentDraft {
  secretFiles?: string[];
  prefix?: Uint8Array;
  gateways?: Uint8Array[];
  identityFile?: string;
  enrol?: ToldMethod;
  maxPeers?: number;
  expireAfterMs?: number;
  store?: string;
}

/** A clone is told all but its key. */
export type ToldMethod =
  /** By a program, an absolute path, which is told the new public key. */
  | { readonly kind: 'exec'; readonly program: string }
  /** By the call of the hook. */
  | { readonly kind: 'hook' };

/** Address and preshared keys are derived from a secret that the gateway has too. */
export interface DerivedMethod {
  readonly kind: 'derived';
  readonly secretFile: string;
  /** 8 bytes. */
  readonly prefix: Uint8Array;
  /** The peers that a preshared key is derived for, 32 bytes each; undefined: each that has none of the operator's. */
  readonly gateways: readonly Uint8Array[] | undefined;
}

/** This machine comes to an identity of its own whenever it was forked. */
export interface CloneSettings {
  readonly role: 'clone';
  readonly method: DerivedMethod | ToldMethod;
  /** An absolute path: where the identity is kept. */
  readonly identityFile: string;
}

/** This machine admits clones. */
export interface GatewaySettings {
  readonly role: 'gateway';
  /** Absolute paths: one, or two while a secret is changed. */
  readonly secretFiles: readonly string[];
  /** 8 bytes. */
  readonly prefix: Uint8Array;
  /** So many peers are admitted at most. */
  readonly maxPeers: number;
  /** A peer that was not seen for so long is forgotten. Milliseconds; Infinity: none is. */
  readonly expireAfterMs: number;
  /** An absolute path, or an `http(s)://` URL. */
  readonly store: string;
}

export type EnrolmentSettings = CloneSettings | GatewaySettings;

/** Where each setting stands, by `NAME` in [Interface], `Enrolment NAME`, and `[Enrolment]` itself. */
export type Places = ReadonlyMap<string, Place>;

const STATE_FOLDER = '/var/lib/wireonce';
/** While a secret is changed there are two. */
const MOST_SECRETS = 2;
const MOST_PEERS = 1_000_000_000;
const DEFAULT_MAX_PEERS = 65_536;
const DAY_MS = 86_400_000;
const DEFAULT_EXPIRE_AFTER_MS = 30 * DAY_MS;
const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: DAY_MS };
const EXEC = 'exec:';

interface Holder {
  enrolment?: EnrolmentDraft;
}

export const ENROLMENT_FIELDS: readonly Field<Holder>[] = [
  // What stands twice counts twice.
  verbatim('SecretFile', (value, to) =>
    (to.secretFiles ??= []).push(...value.split(/\s*,\s*/).map(readPath)),
  ),
  said('Prefix', (value, to) => (to.prefix = readPrefix(value))),
  verbatim('Gateway', (value, to) => (to.gateways ??= []).push(...words(value).map(readKey))),
  verbatim('IdentityFile', (value, to) => (to.identityFile = readPath(value))),
  verbatim('Enrol', (value, to) => (to.enrol = readMethod(value))),
  said('MaxPeers', (value, to) => (to.maxPeers = readNumber(value, 1, MOST_PEERS, 'a number of peers'))),
  said('ExpireAfter', (value, to) => (to.expireAfterMs = readDuration(value))),
  verbatim('Store', (value, to) => (to.store = readStore(value))),
];

type Read = (value: string, to: EnrolmentDraft) => void;

function said(name: string, read: Read): Field<Holder> {
  return { name, read: (value, holder) => read(value, (holder.enrolment ??= {})) };
}

function verbatim(name: string, read: Read): Field<Holder> {
  return { ...said(name, read), verbatim: true };
}

/**
 * What the settings together make of this machine: nothing, without a section and without `ForkPolicy = enrol`. `name` is
 * that of the interface. Throws `ERR_CONFIG`.
 */
export function settleEnrolment(
  forkPolicy: ForkPolicy | undefined,
  draft: EnrolmentDraft | undefined,
  places: Places,
  name: string,
): EnrolmentSettings | undefined {
  const own = draft ?? (places.has(SECTION) ? {} : undefined);
  if (forkPolicy === 'enrol') return settleClone(own, places, `${STATE_FOLDER}/${name}.identity`);
  return own && settleGateway(own, places, defaultStorePath(name));
}

/** Where a gateway remembers peers when nothing else is said. */
export function defaultStorePath(name: string): string {
  return `${STATE_FOLDER}/${name}.peers`;
}

const SECTION = '[Enrolment]';

function settleClone(draft: EnrolmentDraft | undefined, places: Places, identityFile: string): CloneSettings {
  if (!draft) {
    throw mistake(
      places,
      'ForkPolicy',
      `enrol needs a section ${SECTION} with SecretFile and Prefix, the same as the gateway's, or with Enrol`,
    );
  }
  refuse(draft, places, { maxPeers: 'MaxPeers', expireAfterMs: 'ExpireAfter', store: 'Store' }, field => {
    return `${field} is for a gateway, and ForkPolicy = enrol makes this machine a clone: leave one of them out`;
  });
  const { enrol, secretFiles = [], prefix, gateways } = draft;
  const identity = { role: 'clone', identityFile: draft.identityFile ?? identityFile } as const;
  if (enrol) {
    refuse(draft, places, { secretFiles: 'SecretFile', prefix: 'Prefix', gateways: 'Gateway' }, field => {
      return `${field} is for keys that are derived, and Enrol says who tells them: leave one of them out`;
    });
    return { ...identity, method: enrol };
  }
  const [secretFile, second] = secretFiles;
  if (secretFile === undefined) throw missing(places, 'SecretFile');
  if (second !== undefined)
    throw mistake(places, 'Enrolment SecretFile', 'a clone has one secret, the new one');
  if (!prefix) throw missing(places, 'Prefix');
  return { ...identity, method: { kind: 'derived', secretFile, prefix, gateways } };
}

function settleGateway(draft: EnrolmentDraft, places: Places, ownStore: string): GatewaySettings {
  const { secretFiles = [], prefix, maxPeers, expireAfterMs, store } = draft;
  refuse(draft, places, { enrol: 'Enrol', gateways: 'Gateway', identityFile: 'IdentityFile' }, field => {
    return `${field} is for a clone: that is made by ForkPolicy = enrol`;
  });
  if (maxPeers === undefined && expireAfterMs === undefined && store === undefined) {
    const problem =
      'a clone has ForkPolicy = enrol, and a gateway MaxPeers, ExpireAfter or Store: here is neither';
    throw mistake(places, SECTION, problem);
  }
  if (secretFiles.length === 0) throw missing(places, 'SecretFile');
  if (secretFiles.length > MOST_SECRETS)
    throw mistake(
      places,
      'Enrolment SecretFile',
      `there are ${secretFiles.length}: two, the old and the new, are enough`,
    );
  if (!prefix) throw missing(places, 'Prefix');
  return {
    role: 'gateway',
    secretFiles,
    prefix,
    maxPeers: maxPeers ?? DEFAULT_MAX_PEERS,
    expireAfterMs: expireAfterMs ?? DEFAULT_EXPIRE_AFTER_MS,
    store: store ?? ownStore,
  };
}

function refuse(
  draft: EnrolmentDraft,
  places: Places,
  fields: { readonly [K in keyof EnrolmentDraft]?: string },
  problem: (field: string) => string,
): void {
  for (const [key, field] of Object.entries(fields)) {
    if (draft[key as keyof EnrolmentDraft] !== undefined)
      throw mistake(places, `Enrolment ${field}`, problem(field));
  }
}

function missing(places: Places, field: string): TunnelError {
  return mistake(places, SECTION, `${field} is missing`);
}

/** A mistake in what stands at the place of `setting`, or in the section, or, without one, in what asks for it. */
export function mistake(places: Places, setting: string, problem: string): TunnelError {
  const place = places.get(setting) ?? places.get(SECTION) ?? places.get('ForkPolicy');
  return new TunnelError('ERR_CONFIG', `${place?.shown ?? SECTION}: ${problem}`, place);
}

/** 8 bytes. */
export function readPrefix(value: string): Uint8Array {
  const { ip, prefix } = readRange(value);
  if (ip.length !== 2 * PREFIX_BYTES || prefix !== 8 * PREFIX_BYTES)
    throw new BadValue(`${quote(value)} is no /64 of IPv6, such as fd5e:7c1a:9b2d::/64`);
  // Multicast, and addresses of a link.
  if (ip[0] === 0xff || (ip[0] === 0xfe && (ip[1] & 0xc0) === 0x80) || ip[0] === 0)
    throw new BadValue(`${quote(value)} cannot hold the addresses of an interface`);
  return ip.slice(0, PREFIX_BYTES);
}

function readMethod(value: string): ToldMethod {
  if (value === 'hook') return { kind: 'hook' };
  const program = value.slice(EXEC.length);
  if (!value.startsWith(EXEC) || !program.startsWith('/'))
    throw new BadValue(`${quote(value)} is neither exec:/path nor hook`);
  return { kind: 'exec', program };
}

/** Milliseconds. Throws `BadValue`. */
export function readDuration(value: string): number {
  if (value === 'never') return Number.POSITIVE_INFINITY;
  const [, digits, unit] = /^([1-9]\d{0,8})([smhd])$/.exec(value) ?? [];
  if (unit === undefined) throw new BadValue(`${quote(value)} is no time, such as 12h or 30d, nor never`);
  return Number(digits) * UNITS[unit];
}

function readStore(value: string): string {
  if (/^https?:\/\//.test(value) && URL.canParse(value)) return value;
  if (!value.startsWith('/'))
    throw new BadValue(`${quote(value)} is neither an absolute path nor an http(s):// URL`);
  return value;
}
