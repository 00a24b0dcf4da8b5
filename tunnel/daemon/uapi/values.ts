// The values of the UAPI's keys, read from text and written as text.
// Promises: reads what wireguard-go reads and refuses the rest with EINVAL; no message repeats a value.
// Read on: wireguard-go device/uapi.go, device/noise-types.go; Go's net/netip ParsePrefix and ParseAddrPort.

import { ipVersion } from '../../../native/ip-version.js';
import { isZero } from '../../../native/bytes.js';
import { formatHostPort, parsePort, splitHostPort } from '../../../native/host-port.js';
import { secretBytes } from '../../../native/secret-bytes.js';
import { parseWebSocketUrl } from '../../websocket/url.js';
import { formatIp, parseIp, unmapIp } from '../../ip.js';
import { KEY_BYTES } from '../../keys.js';
import { ERRNO, type UapiAllowedIp, type UapiEndpoint, UapiError } from './types.js';

/** The longest URL that is read or shown: two fit into a line. */
export const MAX_URL_LENGTH = 2_000;
const DECIMAL = /^\d+$/;
/** Go refuses leading zeros here, though not in other numbers. */
const PREFIX_LENGTH = /^(0|[1-9]\d{0,2})$/;
const IPV4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;
// A zone is an interface's name, which may hold anything but blanks and slashes, or its number.
const SCOPED = /^([^%]+)(?:%([!-.0-\\^-~]{1,15}))?$/;

/** Refuses a value, named by its key. */
export function invalid(key: string): UapiError {
  return new UapiError(ERRNO.EINVAL, `${key}: not a value of this key`);
}

/** 64 digits of hexadecimal in ASCII bytes, as 32 bytes in memory of their own. */
export function readKey(name: string, value: Uint8Array): Uint8Array {
  if (value.length !== 2 * KEY_BYTES) throw invalid(name);
  const key = secretBytes(KEY_BYTES);
  let bad = 0;
  for (let i = 0; i < KEY_BYTES; i++) {
    const high = nibble(value[2 * i]);
    const low = nibble(value[2 * i + 1]);
    bad |= high | low;
    key[i] = (high << 4) | low;
  }
  if (bad < 0) {
    key.fill(0);
    throw invalid(name);
  }
  return key;
}

/** The value of a digit, by arithmetic alone: no table is read at an index that a key decides. -1 when it is none. */
function nibble(code: number): number {
  const digit = code - 0x30;
  const letter = (code | 0x20) - 0x61;
  // All ones where the code lies in the range.
  const isDigit = ~(digit | (9 - digit)) >> 31;
  const isLetter = ~(letter | (5 - letter)) >> 31;
  return (isDigit & digit) | (isLetter & (letter + 10)) | ~(isDigit | isLetter);
}

/** Writes the 64 digits of a key at `offset`. */
export function writeKey(key: Uint8Array, into: Uint8Array, offset: number): void {
  for (let i = 0; i < KEY_BYTES; i++) {
    into[offset + 2 * i] = hexDigit(key[i] >> 4);
    into[offset + 2 * i + 1] = hexDigit(key[i] & 0xf);
  }
}

function hexDigit(value: number): number {
  // 0x27 leads from the character after '9' to 'a'.
  return 0x30 + value + (((9 - value) >> 31) & 0x27);
}

/** Clamps a private key in place, as wireguard-go and Linux do when it is set. Zeros stay: they mean none. */
export function clamp(key: Uint8Array): Uint8Array {
  if (isZero(key)) return key;
  key[0] &= 0xf8;
  key[31] = (key[31] & 0x7f) | 0x40;
  return key;
}

/** A decimal number of 0..max. Leading zeros are read, signs and blanks are not. */
export function readNumber(name: string, value: string, max: number): number {
  const number = DECIMAL.test(value) ? Number(value) : Number.NaN;
  if (!(number <= max)) throw invalid(name);
  return number;
}

/** `10.0.0.0/8`, `2001:db8::/32`: the length must stand there, host bits may be set. */
export function readPrefix(name: string, value: string): UapiAllowedIp {
  const slash = value.indexOf('/');
  const ip = slash < 0 ? undefined : readAddress(value.slice(0, slash));
  const length = value.slice(slash + 1);
  if (!ip || !PREFIX_LENGTH.test(length) || Number(length) > 8 * ip.length) throw invalid(name);
  return { ip, prefix: Number(length) };
}

/** 4 or 16 bytes; an IPv4-mapped address keeps its 16, a zone is refused. */
function readAddress(text: string): Uint8Array | undefined {
  const v4 = readIpv4(text);
  if (v4) return v4;
  return text.includes(':') && !text.includes('%') ? parseIp(text)?.ip : undefined;
}

/** The frequent case by hand: lists of a hundred thousand ranges come in one request. */
function readIpv4(text: string): Uint8Array | undefined {
  const match = IPV4.exec(text);
  if (!match) return undefined;
  const ip = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const part = match[i + 1];
    if (Number(part) > 255 || (part.length > 1 && part[0] === '0')) return undefined;
    ip[i] = Number(part);
  }
  return ip;
}

export function formatPrefix({ ip, prefix }: UapiAllowedIp): string {
  const address = ip.length === 4 ? `${ip[0]}.${ip[1]}.${ip[2]}.${ip[3]}` : formatIp(ip);
  return `${address}/${prefix}`;
}

/**
 * `192.0.2.1:51820`, `[fe80::1%eth0]:51820`, or a `ws:` or `wss:` URL. Names are not resolved. Port 0, which
 * wireguard-go lets pass and cannot send to, is refused.
 */
export function readEndpoint(name: string, value: string): UapiEndpoint {
  const url = parseWebSocketUrl(value);
  if (url && url.href.length <= MAX_URL_LENGTH) return { url: url.href };
  const parts = splitHostPort(value);
  const [, address = '', scope] = SCOPED.exec(parts?.host ?? '') ?? [];
  const ip = readAddress(address);
  const port = parsePort(parts?.port ?? '');
  // Brackets belong to IPv6 and to it alone.
  if (!ip || (ip.length === 16) !== parts?.isBracketed || !(port > 0)) throw invalid(name);
  return scope === undefined ? { ip: unmapIp(ip), port } : { ip: unmapIp(ip), port, scope };
}

export function formatEndpoint(endpoint: UapiEndpoint): string {
  if ('url' in endpoint) return endpoint.url;
  const { ip, port, scope = '' } = endpoint;
  return formatHostPort(formatIp(ip, scope), port);
}

/** Whether `wg` can read this endpoint in an answer: a numeric address and port. */
export function isNumericEndpoint(text: string): boolean {
  const { host = '', port = '' } = splitHostPort(text) ?? {};
  return ipVersion(host.split('%', 1)[0]) !== 0 && parsePort(port) >= 0;
}
