// IP addresses as bytes and as text, for endpoints and for configuration files.
// Promises: only the strict text forms are read (no octal, no `10.1`); what is written is canonical (RFC 5952).
// Read on: RFC 4291 section 2.2, RFC 5952, RFC 6874 (zones).

import ipaddr from 'ipaddr.js';
import { isZero } from '../native/bytes.js';

export interface ParsedIp {
  /** 4 bytes (IPv4) or 16 (IPv6), network order. */
  readonly ip: Uint8Array;
  /** The zone of a scoped IPv6 address, `eth0` in `fe80::1%eth0`; empty without one. */
  readonly zone: string;
}

// The library reads `::1.2.3.4` (RFC 4291 section 2.5.5.1) as an IPv4-mapped address, which it is not.
const DOTTED_TAIL = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/;

const IPV4 = /^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}$/;
const GROUP = /^[0-9a-f]{1,4}$/i;
const GROUPS = 8;
// As Node has it.
const ZONE = /^[0-9a-z.:-]+$/i;

/** 4 or 6 for the text of an address, with a zone or without, 0 for any other: as `isIP` of `node:net`. */
export function ipVersion(text: string): 0 | 4 | 6 {
  if (IPV4.test(text)) return 4;
  const [address, zone, ...more] = text.split('%');
  if (more.length > 0 || (zone !== undefined && !ZONE.test(zone))) return 0;
  const [head, tail, ...others] = address.split('::').map(part => (part === '' ? [] : part.split(':')));
  if (others.length > 0) return 0;
  const groups = tail ? [...head, ...tail] : head;
  // Four bytes with dots may stand for the last two groups.
  const hasDots = IPV4.test(groups.at(-1) ?? '') && (tail === undefined || tail.length > 0);
  if (!groups.slice(0, hasDots ? -1 : undefined).every(group => GROUP.test(group))) return 0;
  const count = groups.length + Number(hasDots);
  return (tail ? count < GROUPS : count === GROUPS) ? 6 : 0;
}

/** The bytes behind an address in text, or `undefined` when it is none. */
export function parseIp(text: string): ParsedIp | undefined {
  const version = ipVersion(text);
  if (version === 0) return undefined;
  const [address, zone = ''] = text.split('%');
  const plain = version === 4 ? address : address.replace(DOTTED_TAIL, inGroups);
  return { ip: Uint8Array.from(ipaddr.parse(plain).toByteArray()), zone };
}

function inGroups(_: string, ...bytes: string[]): string {
  const [a, b, c, d] = bytes.map(Number);
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

/** The text of an address of 4 or 16 bytes, without brackets. */
export function formatIp(ip: Uint8Array, zone = ''): string {
  const address = ipaddr.fromByteArray([...ip]);
  if (address.kind() === 'ipv4') return address.toString();
  const text = (address as ipaddr.IPv6).toRFC5952String();
  return zone === '' ? text : `${text}%${zone}`;
}

/** The 4 bytes inside `::ffff:a.b.c.d`; any other address as it is. */
export function unmapIp(ip: Uint8Array): Uint8Array {
  if (ip.length !== 16 || ip[10] !== 0xff || ip[11] !== 0xff) return ip;
  return isZero(ip.subarray(0, 10)) ? ip.slice(12) : ip;
}
