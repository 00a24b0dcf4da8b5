// The values of configuration files, read strictly.
// Promises: a reader throws `BadValue` with words that follow the field's name; no message shows a key or a password.
// Read on: config-file.ts (who adds file, line and field), config.ts, daemon-config.ts.

import { isIP } from 'node:net';
import { parseWebSocketUrl } from './endpoint.js';
import { parseIp } from './ip.js';
import { decodeKey } from './keys.js';

/** What is wrong with a value, in words that follow the field's name. */
export class BadValue extends Error {}

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
  readonly host?: string;
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

/** A value for a message, unless it may be a secret in the wrong place. */
export function quote(value: string): string {
  const runs = value.match(RUN) ?? [];
  if (/[@?]/.test(value) || !runs.every(run => HARMLESS_RUN.test(run)))
    return 'the value (not shown, it may be a secret)';
  return `'${value.length > 60 ? `${value.slice(0, 60)}...` : value}'`;
}

export function list(value: string): string[] {
  return value.split(',').map(item => item.trim());
}

export function readKey(value: string): Uint8Array {
  const key = decodeKey(value);
  if (key.every(byte => byte === 0)) throw new BadValue('a key of zeros is no key');
  return key;
}

export function readNumber(value: string, min: number, max: number, what: string): number {
  const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= min && number <= max)) {
    throw new BadValue(`${quote(value)} is not ${what} (${min} to ${max})`);
  }
  return number;
}

export function readBoolean(value: string): boolean {
  if (value !== 'true' && value !== 'false') throw new BadValue(`${quote(value)} is not true or false`);
  return value === 'true';
}

/** An address with or without `/prefix`. `what` it should be, for the message. */
export function readPrefix(value: string, what: string): IpPrefix {
  const [address, length, ...more] = value.split('/');
  const parsed = parseIp(address);
  if (parsed && parsed.zone === '' && more.length === 0) {
    const bits = 8 * parsed.ip.length;
    if (length === undefined) return { ip: parsed.ip, prefix: bits };
    if (/^\d{1,3}$/.test(length) && Number(length) <= bits) return { ip: parsed.ip, prefix: Number(length) };
  }
  throw new BadValue(`${quote(value)} is not ${what}`);
}

export function readRange(value: string): IpPrefix {
  const { ip, prefix } = readPrefix(value, 'an address range');
  const masked = ip.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, prefix - 8 * i))));
  return { ip: masked, prefix };
}

export function readEndpoint(value: string): ConfigEndpoint {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(value)) {
    const url = parseWebSocketUrl(value);
    if (!url) throw new BadValue(`${quote(value)} is not a ws:// or wss:// URL`);
    return { url: url.href };
  }
  const { host, port } = readHostAndPort(value, 1, ENDPOINT_FORMS);
  if (host === undefined) throw new BadValue(`${quote(value)} is not ${ENDPOINT_FORMS}`);
  return { host, port };
}

export function readListen(value: string): ConfigListen {
  const { host, port } = readHostAndPort(value, 0, LISTEN_FORMS);
  return host === undefined ? { port } : { host, port };
}

/** `[host:]port`. `forms` says what it should be, for the message. */
function readHostAndPort(
  value: string,
  minPort: number,
  forms: string,
): { host: string | undefined; port: number } {
  const match = /^(?:(.*):)?([^:\]]+)$/.exec(value);
  const host = match?.[1];
  if (!match || (host === undefined && !/^\d+$/.test(value))) {
    throw new BadValue(`${quote(value)} is not ${forms}`);
  }
  const port = readNumber(match[2], minPort, 65_535, 'a port');
  if (host === undefined) return { host, port };
  const bracketed = /^\[(.*)\]$/.exec(host)?.[1];
  if (bracketed !== undefined) {
    if (isIP(bracketed) !== 6) throw new BadValue(`${quote(host)} is not an IPv6 address in brackets`);
    return { host: bracketed, port };
  }
  if (isIP(host) === 6) throw new BadValue('an IPv6 address needs brackets: [address]:port');
  if (isIP(host) !== 4 && !isHostName(host))
    throw new BadValue(`${quote(host)} is neither an address nor a name`);
  return { host, port };
}

// A name that ends in a number is a mistyped IPv4 address (WHATWG URL standard, "ends in a number").
export function isHostName(value: string): boolean {
  return HOST_NAME.test(value) && !/(^|\.)(\d+|0x[0-9a-f]*)\.?$/i.test(value);
}

export function hostAndPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
