// The values of configuration files, each read as `wg`, or as the `ip` that `wg-quick` calls, reads it.
// Promises: a reader throws `BadValue` with words that follow the field's name; no message shows a key or a password.
// Read on: config-file.ts (who adds file, line and field), config.ts, daemon-config.ts; wireguard-tools src/config.c,
// getaddrinfo(3), ip-address(8).

import { splitHostPort } from '../../native/host-port.js';
import { parseWebSocketUrl } from '../websocket/url.js';
import { ipVersion } from '../../native/ip-version.js';
import { parseIp } from '../ip.js';
import { decodeKey } from '../keys.js';
import { portOfService } from './service-names.js';

/** What is wrong with a value, in words that follow the field's name. */
export class BadValue extends Error {}

/** A range of addresses, or an address with the length of its network. */
export interface IpPrefix {
  /** 4 bytes (IPv4) or 16 (IPv6). */
  readonly ip: Uint8Array;
  /** 0..32 or 0..128. */
  readonly prefix: number;
}

/** Where a peer is: a host (address or name, no brackets) and a port, or, our extension, a WebSocket URL. */
export type ConfigEndpoint = { readonly host: string; readonly port: number } | { readonly url: string };

/** Where to listen. Without a host, on every address. */
export interface ConfigListen {
  readonly host?: string | undefined;
  readonly port: number;
}

const HOST_NAME =
  /^(?=.{1,253}\.?$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i;
const ENDPOINT_FORMS = 'host:port, [address]:port or a ws:// URL';
const LISTEN_FORMS = 'a port, host:port or [address]:port';
// Every part of a key looks like this to a reader of logs, and hardly an address or a name does. A URL may carry a
// password or a token.
const RUN = /[A-Za-z0-9+/=]{8,}/g;
const HARMLESS_RUN = /^([a-z]+|\d+)$/;
// oxlint-disable-next-line no-control-regex -- they are what is looked for.
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
// strtoul(3) with base 0, which `ip` reads numbers with.
const C_NUMBER = /^(0x[0-9a-f]+|0[0-7]*|[1-9]\d*)$/i;

/** A value for a message, unless it may be a secret in the wrong place. */
export function quote(value: string): string {
  const runs = value.match(RUN) ?? [];
  if (CONTROL.test(value)) return 'the value (not shown, it has control characters)';
  if (/[@?]/.test(value) || !runs.every(run => HARMLESS_RUN.test(run)))
    return 'the value (not shown, it may be a secret)';
  return `'${value.length > 60 ? `${value.slice(0, 60)}...` : value}'`;
}

/** Lists of `wg-quick` are parted by commas, by blanks, or by both; empty words are none. */
export function words(value: string): string[] {
  return value.split(/[, \t\n]+/).filter(word => word !== '');
}

/** 32 bytes. Zeros, which stand for no key where one may be absent, are the caller's to judge. */
export const readKey = decodeKey;

/** A decimal number; leading zeros are read, signs are not. */
export function readNumber(value: string, min: number, max: number, what: string): number {
  return inRange(/^\d+$/.test(value) ? Number(value) : Number.NaN, value, min, max, what);
}

/** A number of C: decimal, octal with a leading zero, or hexadecimal. */
export function readCNumber(value: string, min: number, max: number, what: string): number {
  return inRange(cNumber(value.replace(/^\+/, '')), value, min, max, what);
}

function inRange(number: number, value: string, min: number, max: number, what: string): number {
  if (!(number >= min && number <= max)) {
    throw new BadValue(`${quote(value)} is not ${what} (${min} to ${max})`);
  }
  return number;
}

function cNumber(text: string): number {
  if (!C_NUMBER.test(text)) return Number.NaN;
  return Number(/^0\d/.test(text) ? `0o${text.slice(1)}` : text);
}

/** A path from the root on: a daemon's folder is /. */
export function readPath(value: string): string {
  if (!value.startsWith('/')) throw new BadValue(`${quote(value)} is not an absolute path`);
  return value;
}

/** A UDP port: a number, or the name of a service on this machine. */
export function readPort(value: string, min: number): number {
  const digits = /^\+?(\d+)$/.exec(value)?.[1];
  if (digits !== undefined) return readNumber(digits, min, 65_535, 'a port');
  const port = portOfService(value);
  if (port === undefined) throw new BadValue(`${quote(value)} is neither a port nor the name of a service`);
  return port;
}

export function readBoolean(value: string): boolean {
  const word = value.toLowerCase();
  if (word !== 'true' && word !== 'false') throw new BadValue(`${quote(value)} is not true or false`);
  return word === 'true';
}

/** An address of an interface with or without `/prefix`, as `ip address add` has it: `10.1` is 10.1.0.0. */
export function readOwnAddress(value: string): IpPrefix {
  const [address, length, ...more] = value.split('/');
  const ip = address.includes(':') ? ipv6(address) : leadingIpv4(address);
  if (ip && more.length === 0) {
    const bits = 8 * ip.length;
    const prefix = length === undefined ? bits : bitsOfLength(length);
    if (prefix <= bits) return { ip, prefix };
  }
  throw new BadValue(`${quote(value)} is not an address`);
}

/** A range of addresses, as `wg` has it: every byte is written. Host bits are cleared. */
export function readRange(value: string): IpPrefix {
  const [address, length, ...more] = value.split('/');
  const parsed = parseIp(address);
  if (parsed && parsed.zone === '' && more.length === 0) {
    const { ip } = parsed;
    const bits = 8 * ip.length;
    const prefix = length === undefined ? bits : /^\d+$/.test(length) ? Number(length) : Number.NaN;
    if (prefix <= bits) return { ip: withoutHostBits(ip, prefix), prefix };
  }
  throw new BadValue(`${quote(value)} is not an address range`);
}

function withoutHostBits(ip: Uint8Array, prefix: number): Uint8Array {
  return ip.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, prefix - 8 * i))));
}

function ipv6(text: string): Uint8Array | undefined {
  const parsed = parseIp(text);
  return parsed?.ip.length === 16 && parsed.zone === '' ? parsed.ip : undefined;
}

/** Up to four bytes; those that are not written are zero. */
function leadingIpv4(text: string): Uint8Array | undefined {
  const bytes = text.split('.').map(cNumber);
  if (bytes.length > 4 || !bytes.every(byte => byte <= 255)) return undefined;
  const ip = new Uint8Array(4);
  ip.set(bytes);
  return ip;
}

/** Up to four numbers, of which the last fills the bytes that are left: `127.1` is 127.0.0.1. See inet_aton(3). */
function inetAton(text: string): string | undefined {
  const numbers = text.split('.').map(cNumber);
  const last = numbers.pop() as number;
  const room = 4 - numbers.length;
  if (room < 1 || !(last < 256 ** room) || !numbers.every(byte => byte <= 255)) return undefined;
  const rest = Array.from({ length: room }, (_, i) => Math.floor(last / 256 ** (room - 1 - i)) % 256);
  return [...numbers, ...rest].join('.');
}

/** 24 for `24`, `0x18` and `255.255.255.0`. */
function bitsOfLength(text: string): number {
  const mask = text.includes('.') ? leadingIpv4(text) : undefined;
  if (!mask) return cNumber(text);
  const bits = [...mask].map(byte => byte.toString(2).padStart(8, '0')).join('');
  return /^1*0*$/.test(bits) ? bits.replaceAll('0', '').length : Number.NaN;
}

/**
 * `host:port`, `[host]:port`, or a WebSocket URL. What precedes the last colon is the host, as in `wg`: so an IPv6
 * address without brackets is read too. Names are not resolved.
 */
export function readEndpoint(value: string): ConfigEndpoint {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(value)) {
    const url = parseWebSocketUrl(value);
    if (!url) throw new BadValue(`${quote(value)} is not a ws:// or wss:// URL`);
    return { url: url.href };
  }
  const parts = splitHostPort(value);
  if (!parts) throw new BadValue(`${quote(value)} is not ${ENDPOINT_FORMS}`);
  return { host: readHost(parts.host), port: readPort(parts.port, 1) };
}

export function readListen(value: string): ConfigListen {
  if (/^\d+$/.test(value)) return { port: readNumber(value, 0, 65_535, 'a port') };
  const parts = splitHostPort(value);
  if (!parts || (parts.host.includes(':') && !parts.isBracketed)) {
    throw new BadValue(`${quote(value)} is not ${LISTEN_FORMS}`);
  }
  return { host: readHost(parts.host), port: readNumber(parts.port, 0, 65_535, 'a port') };
}

function readHost(text: string): string {
  if (ipVersion(text) !== 0) return text;
  const host = inetAton(text) ?? text;
  if (ipVersion(host) === 0 && !isHostName(host)) {
    throw new BadValue(`${quote(text)} is neither an address nor a name`);
  }
  return host;
}

// A name that ends in a number is a mistyped IPv4 address (WHATWG URL standard, "ends in a number").
export function isHostName(value: string): boolean {
  return HOST_NAME.test(value) && !/(^|\.)(\d+|0x[0-9a-f]*)\.?$/i.test(value);
}
