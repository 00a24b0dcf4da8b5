// `host:port` as people write it: endpoints, addresses to listen at, the Host of a request.
// Promises: what precedes the last colon is the host; an IPv6 address stands in brackets wherever a text could else be read in
// two ways. Names are not resolved here.
// Read on: RFC 3986 section 3.2.2; getaddrinfo(3) for what a port may be called.

import { ipVersion } from './ip-version.js';

const HOST_PORT = /^(?:\[([^\]]*)\]|((?!\[).*)):([^:\]]+)$/s;
const MAX_PORT = 65_535;

export interface HostPort {
  /** Without its brackets. */
  readonly host: string;
  readonly isBracketed: boolean;
  /** As it stands there: not empty, and perhaps no number. */
  readonly port: string;
}

/** `undefined` where there is no port. */
export function splitHostPort(text: string): HostPort | undefined {
  const match = HOST_PORT.exec(text);
  if (!match) return undefined;
  const [, bracketed, bare, port] = match;
  return { host: bracketed ?? bare, isBracketed: bracketed !== undefined, port };
}

/** 0..65535, or NaN. */
export function parsePort(text: string): number {
  return /^\d{1,5}$/.test(text) && Number(text) <= MAX_PORT ? Number(text) : Number.NaN;
}

/** Reads `192.0.2.1:51820`, `[2001:db8::1%scope]:51820`; `undefined` for all else. Brackets belong to IPv6 and to it alone. */
export function parseAddressPort(text: string): { readonly host: string; readonly port: number } | undefined {
  const { host = '', isBracketed, port = '' } = splitHostPort(text) ?? {};
  const number = parsePort(port);
  return ipVersion(host) === (isBracketed ? 6 : 4) && !Number.isNaN(number)
    ? { host, port: number }
    : undefined;
}

/** The text of a host, brackets around it where they belong, and a port. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether nobody but programs of this machine comes from or to an address. */
export function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1';
}
