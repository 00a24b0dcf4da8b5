// IP addresses as bytes and as text, for endpoints and for configuration files.
// Promises: only the strict text forms are read (no octal, no `10.1`); what is written is canonical (RFC 5952).
// Read on: RFC 4291 section 2.2, RFC 5952, RFC 6874 (zones).

import ipaddr from 'ipaddr.js';
import { ipVersion } from '../native/ip-version.js';
import { isZero } from '../native/bytes.js';

export interface ParsedIp {
  /** 4 bytes (IPv4) or 16 (IPv6), network order. */
  readonly ip: Uint8Array;
  /** The zone of a scoped IPv6 address, `eth0` in `fe80::1%eth0`; empty without one. */
  readonly zone: string;
}

// The library reads `::1.2.3.4` (RFC 4291 section 2.5.5.1) as an IPv4-mapped address, which it is not.
const DOTTED_TAIL = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/;

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
