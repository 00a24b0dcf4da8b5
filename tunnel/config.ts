// Configuration files as `wg-quick` has them, and two keys of our own for WebSockets.
// Promises: a mistake names file, line and field; no message shows a key or a password; what is written is read back.
// Read on: wg(8) CONFIGURATION FILE FORMAT, wg-quick(8); wireguard-tools src/config.c.

import { isIP } from 'node:net';
import { parseWebSocketUrl } from './endpoint.js';
import { TunnelError } from './errors.js';
import { formatIp, parseIp } from './ip.js';
import { decodeKey, encodeKey } from './keys.js';

export interface IpPrefix {
  /** 4 bytes (IPv4) or 16 (IPv6). */
  readonly ip: Uint8Array;
  /** 0..32 or 0..128. */
  readonly prefix: number;
}

/** Where a peer is: a host (address or name, no brackets) and a port, or, our extension, a WebSocket URL. */
export type ConfigEndpoint = { readonly host: string; readonly port: number } | { readonly url: string };

export interface InterfaceConfig {
  /** 32 bytes. */
  readonly privateKey: Uint8Array;
  /** 0..65535; 0 for any. */
  readonly listenPort?: number;
  /** 32 bits; 0 for none. */
  readonly fwMark?: number;
  /** Our addresses inside the tunnel, host bits and all. */
  readonly addresses: readonly IpPrefix[];
  /** Name servers and search domains. */
  readonly dns: readonly string[];
  readonly mtu?: number;
  /** `off`, `auto`, or a routing table by number or name. */
  readonly table?: string;
  /** Shell commands, kept as they are and never run here. */
  readonly preUp: readonly string[];
  readonly postUp: readonly string[];
  readonly preDown: readonly string[];
  readonly postDown: readonly string[];
  readonly saveConfig?: boolean;
  /** Our extension: take WebSocket connections here. Without a host, on every address. */
  readonly listenWebSocket?: { readonly host?: string; readonly port: number };
}

export interface PeerConfig {
  /** 32 bytes, different for each peer. */
  readonly publicKey: Uint8Array;
  /** 32 bytes. */
  readonly presharedKey?: Uint8Array;
  /** Host bits are zero. */
  readonly allowedIps: readonly IpPrefix[];
  readonly endpoint?: ConfigEndpoint;
  /** Seconds, 0..65535; 0 for off. */
  readonly persistentKeepalive?: number;
}

export interface TunnelConfig {
  readonly interface: InterfaceConfig;
  readonly peers: readonly PeerConfig[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] };
/** What a section holds while it is read: its required key may still be missing. */
type Draft<T, Required extends keyof T> = Partial<Pick<Mutable<T>, Required>> & Omit<Mutable<T>, Required>;
type InterfaceDraft = Draft<InterfaceConfig, 'privateKey'>;
type PeerDraft = Draft<PeerConfig, 'publicKey'>;

/** What is wrong with a value, in words that follow the field's name. */
class BadValue extends Error {}

interface Field<D> {
  readonly name: string;
  /** May stand on several lines, which add up. */
  readonly repeats?: boolean;
  readonly mayBeEmpty?: boolean;
  /** Throws `BadValue`, or `TunnelError` from a key. */
  read(value: string, draft: D): void;
}

function fields<D>(...list: Field<D>[]): ReadonlyMap<string, Field<D>> {
  return new Map(list.map(field => [field.name.toLowerCase(), field]));
}

const INTERFACE_FIELDS = fields<InterfaceDraft>(
  { name: 'PrivateKey', read: (value, draft) => (draft.privateKey = readKey(value)) },
  { name: 'ListenPort', read: (value, draft) => (draft.listenPort = readNumber(value, 0, 65_535, 'a port')) },
  { name: 'FwMark', read: (value, draft) => (draft.fwMark = readMark(value)) },
  {
    name: 'Address',
    repeats: true,
    read: (value, draft) => draft.addresses.push(...list(value).map(item => readPrefix(item, 'an address'))),
  },
  { name: 'DNS', repeats: true, read: (value, draft) => draft.dns.push(...list(value).map(readDns)) },
  { name: 'MTU', read: (value, draft) => (draft.mtu = readNumber(value, 68, 65_535, 'an MTU')) },
  { name: 'Table', read: (value, draft) => (draft.table = value) },
  { name: 'PreUp', repeats: true, read: (value, draft) => draft.preUp.push(value) },
  { name: 'PostUp', repeats: true, read: (value, draft) => draft.postUp.push(value) },
  { name: 'PreDown', repeats: true, read: (value, draft) => draft.preDown.push(value) },
  { name: 'PostDown', repeats: true, read: (value, draft) => draft.postDown.push(value) },
  { name: 'SaveConfig', read: (value, draft) => (draft.saveConfig = readBoolean(value)) },
  { name: 'ListenWebSocket', read: (value, draft) => (draft.listenWebSocket = readListen(value)) },
);

const PEER_FIELDS = fields<PeerDraft>(
  { name: 'PublicKey', read: (value, draft) => (draft.publicKey = readKey(value)) },
  { name: 'PresharedKey', read: (value, draft) => (draft.presharedKey = readKey(value)) },
  {
    name: 'AllowedIPs',
    repeats: true,
    mayBeEmpty: true,
    read: (value, draft) => draft.allowedIps.push(...(value === '' ? [] : list(value)).map(readRange)),
  },
  { name: 'Endpoint', read: (value, draft) => (draft.endpoint = readEndpoint(value)) },
  {
    name: 'PersistentKeepalive',
    read: (value, draft) =>
      (draft.persistentKeepalive =
        value.toLowerCase() === 'off' ? 0 : readNumber(value, 0, 65_535, "a number of seconds, nor 'off'")),
  },
);

function isKnown(key: string): boolean {
  return INTERFACE_FIELDS.has(key.toLowerCase()) || PEER_FIELDS.has(key.toLowerCase());
}

/** A section of the file, with the line of each key that stood in it. */
interface Section {
  readonly line: number;
  readonly seen: Map<string, number>;
  readonly fields: ReadonlyMap<string, Field<never>>;
  readonly draft: InterfaceDraft | PeerDraft;
}

/**
 * Reads a configuration. `file` is for messages. Throws a `TunnelError` (`ERR_CONFIG`) with `file`, `line` and
 * `field` for the first mistake, such as `wg0.conf:7: AllowedIPs: '10.0.0.0/33' is not an address range`.
 */
export function parseConfig(text: string, file?: string): TunnelConfig {
  const fail = (line: number, field: string | undefined, problem: string): never => {
    const place = `${file ?? 'config'}:${line}: ${field === undefined ? '' : `${field}: `}`;
    throw new TunnelError('ERR_CONFIG', place + problem, { file, line, field });
  };

  let own: Section | undefined;
  const peers: Section[] = [];
  let section: Section | undefined;

  // The byte order mark of a Windows editor is no part of the text.
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/);
  for (const [index, raw] of lines.entries()) {
    const line = index + 1;
    const content = raw.split('#', 1)[0].trim();
    if (content === '') continue;
    if (CONTROL.test(content)) fail(line, undefined, 'a control character');

    if (content.startsWith('[')) {
      const name = content.toLowerCase();
      if (name === '[interface]') {
        if (own) fail(line, undefined, `a second [Interface], after the one in line ${own.line}`);
        own = section = newSection(line, INTERFACE_FIELDS, newInterface());
      } else if (name === '[peer]') {
        section = newSection(line, PEER_FIELDS, { allowedIps: [] });
        peers.push(section);
      } else {
        fail(line, undefined, 'not a section: [Interface] or [Peer] was expected');
      }
      continue;
    }

    const equals = content.indexOf('=');
    const key = content.slice(0, Math.max(equals, 0)).trim();
    // Whatever is no plain word may be a key pasted in the wrong place: it is not repeated.
    if (!WORD.test(key)) fail(line, undefined, NO_KEY_AND_VALUE);
    const value = content.slice(equals + 1).trim();
    // The tail of a key that an editor has wrapped ends like this.
    if (value === '' && !isKnown(key)) fail(line, undefined, NO_KEY_AND_VALUE);
    if (!section) return fail(line, key, 'stands before any section, where [Interface] must come first');
    readLine(section, key, value, line, fail);
  }

  if (!own) return fail(1, undefined, 'there is no [Interface] section');
  const { privateKey, ...rest } = own.draft as InterfaceDraft;
  if (!privateKey) return fail(own.line, 'PrivateKey', 'is missing from this [Interface]');
  return { interface: { privateKey, ...rest }, peers: finishPeers(peers, fail) };
}

type Fail = (line: number, field: string | undefined, problem: string) => never;

function readLine(section: Section, key: string, value: string, line: number, fail: Fail): void {
  const field = section.fields.get(key.toLowerCase());
  if (!field) {
    const isPeer = section.fields === PEER_FIELDS;
    const here = isPeer ? '[Peer]' : '[Interface]';
    return fail(line, key, isKnown(key) ? `does not belong in ${here}` : `is no key of ${here}`);
  }
  const before = section.seen.get(field.name);
  if (before !== undefined && !field.repeats) fail(line, field.name, `stands in line ${before} already`);
  section.seen.set(field.name, line);
  if (value === '' && !field.mayBeEmpty) fail(line, field.name, 'needs a value');
  try {
    (field as Field<InterfaceDraft | PeerDraft>).read(value, section.draft);
  } catch (error) {
    if (error instanceof BadValue || error instanceof TunnelError) fail(line, field.name, error.message);
    throw error;
  }
}

function finishPeers(sections: readonly Section[], fail: Fail): PeerConfig[] {
  const lineOf = new Map<string, number>();
  return sections.map(section => {
    const { publicKey, ...rest } = section.draft as PeerDraft;
    if (!publicKey) return fail(section.line, 'PublicKey', 'is missing from this [Peer]');
    const line = section.seen.get('PublicKey') ?? section.line;
    const text = encodeKey(publicKey);
    const before = lineOf.get(text);
    if (before !== undefined) fail(line, 'PublicKey', `the same peer stands in line ${before} already`);
    lineOf.set(text, line);
    return { publicKey, ...rest };
  });
}

/**
 * Writes a configuration that `parseConfig` reads back as the same. Throws `ERR_CONFIG` when that cannot be: a command
 * with a line break or a `#`, an address that is none.
 */
export function formatConfig(config: TunnelConfig): string {
  const own = config.interface;
  const lines = ['[Interface]'];
  const put = (key: string, value: string | number | undefined) => {
    if (value === undefined) return;
    const text = String(value);
    if (text !== text.trim() || text === '' || text.includes('#') || CONTROL.test(text)) {
      const problem = 'the value cannot be written: empty, or with a line break, a # or spaces at its ends';
      throw new TunnelError('ERR_CONFIG', `${key}: ${problem}`, { field: key });
    }
    lines.push(`${key} = ${text}`);
  };
  const putList = (key: string, values: readonly string[]) =>
    values.length > 0 && put(key, values.join(', '));

  put('PrivateKey', encodeKey(own.privateKey));
  put('ListenPort', own.listenPort);
  put('FwMark', own.fwMark);
  putList('Address', own.addresses.map(formatPrefix));
  putList('DNS', own.dns);
  put('MTU', own.mtu);
  put('Table', own.table);
  for (const command of own.preUp) put('PreUp', command);
  for (const command of own.postUp) put('PostUp', command);
  for (const command of own.preDown) put('PreDown', command);
  for (const command of own.postDown) put('PostDown', command);
  put('SaveConfig', own.saveConfig === undefined ? undefined : String(own.saveConfig));
  if (own.listenWebSocket) {
    const { host, port } = own.listenWebSocket;
    put('ListenWebSocket', host === undefined ? port : hostAndPort(host, port));
  }
  for (const peer of config.peers) {
    lines.push('', '[Peer]');
    put('PublicKey', encodeKey(peer.publicKey));
    put('PresharedKey', peer.presharedKey && encodeKey(peer.presharedKey));
    putList('AllowedIPs', peer.allowedIps.map(formatPrefix));
    const { endpoint } = peer;
    if (endpoint)
      put('Endpoint', 'url' in endpoint ? endpoint.url : hostAndPort(endpoint.host, endpoint.port));
    put('PersistentKeepalive', peer.persistentKeepalive);
  }
  const text = `${lines.join('\n')}\n`;
  // The promise above is kept by trying it.
  parseConfig(text);
  return text;
}

/** `10.0.0.0/8`, `2001:db8::/32`. */
export function formatPrefix({ ip, prefix }: IpPrefix): string {
  return `${formatIp(ip)}/${prefix}`;
}

/**
 * Reads `10.1.2.3/8` or an address alone, which stands for itself, and clears the host bits. Throws `ERR_CONFIG`.
 */
export function parseAllowedIp(text: string): IpPrefix {
  try {
    return readRange(text);
  } catch (error) {
    throw new TunnelError('ERR_CONFIG', (error as Error).message, { field: 'AllowedIPs' });
  }
}

const NO_KEY_AND_VALUE = "not a line of the form 'Key = value'";
const WORD = /^[A-Za-z]{1,24}$/;
// oxlint-disable-next-line no-control-regex -- they are what is looked for.
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028\u2029]/;
const HOST_NAME =
  /^(?=.{1,253}\.?$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i;
const ENDPOINT_FORMS = 'host:port, [address]:port or a ws:// URL';
const LISTEN_FORMS = 'a port, host:port or [address]:port';
// Every part of a key looks like this to a reader of logs, and hardly an address or a name does. A URL may carry a
// password or a token.
const RUN = /[A-Za-z0-9+/=]{8,}/g;
const HARMLESS_RUN = /^([a-z]+|\d+)$/;

function newSection<D extends InterfaceDraft | PeerDraft>(
  line: number,
  known: ReadonlyMap<string, Field<D>>,
  draft: D,
): Section {
  return { line, seen: new Map(), fields: known, draft };
}

function newInterface(): InterfaceDraft {
  return { addresses: [], dns: [], preUp: [], postUp: [], preDown: [], postDown: [] };
}

/** A value for a message, unless it may be a secret in the wrong place. */
function quote(value: string): string {
  const runs = value.match(RUN) ?? [];
  if (/[@?]/.test(value) || !runs.every(run => HARMLESS_RUN.test(run)))
    return 'the value (not shown, it may be a secret)';
  return `'${value.length > 60 ? `${value.slice(0, 60)}...` : value}'`;
}

function list(value: string): string[] {
  return value.split(',').map(item => item.trim());
}

function readKey(value: string): Uint8Array {
  const key = decodeKey(value);
  if (key.every(byte => byte === 0)) throw new BadValue('a key of zeros is no key');
  return key;
}

function readNumber(value: string, min: number, max: number, what: string): number {
  const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= min && number <= max)) {
    throw new BadValue(`${quote(value)} is not ${what} (${min} to ${max})`);
  }
  return number;
}

function readMark(value: string): number {
  if (value.toLowerCase() === 'off') return 0;
  const number = /^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(value) ? Number(value) : Number.NaN;
  if (!(number <= 0xffff_ffff)) throw new BadValue(`${quote(value)} is not a mark (32 bits, or 'off')`);
  return number;
}

function readBoolean(value: string): boolean {
  if (value !== 'true' && value !== 'false') throw new BadValue(`${quote(value)} is not true or false`);
  return value === 'true';
}

function readDns(value: string): string {
  if (isIP(value) === 0 && !isHostName(value)) {
    throw new BadValue(`${quote(value)} is neither an address nor a domain`);
  }
  return value;
}

/** An address with or without `/prefix`. `what` it should be, for the message. */
function readPrefix(value: string, what: string): IpPrefix {
  const [address, length, ...more] = value.split('/');
  const parsed = parseIp(address);
  if (parsed && parsed.zone === '' && more.length === 0) {
    const bits = 8 * parsed.ip.length;
    if (length === undefined) return { ip: parsed.ip, prefix: bits };
    if (/^\d{1,3}$/.test(length) && Number(length) <= bits) return { ip: parsed.ip, prefix: Number(length) };
  }
  throw new BadValue(`${quote(value)} is not ${what}`);
}

function readRange(value: string): IpPrefix {
  const { ip, prefix } = readPrefix(value, 'an address range');
  const masked = ip.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, prefix - 8 * i))));
  return { ip: masked, prefix };
}

function readEndpoint(value: string): ConfigEndpoint {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(value)) {
    const url = parseWebSocketUrl(value);
    if (!url) throw new BadValue(`${quote(value)} is not a ws:// or wss:// URL`);
    return { url: url.href };
  }
  const { host, port } = readHostAndPort(value, 1, ENDPOINT_FORMS);
  if (host === undefined) throw new BadValue(`${quote(value)} is not ${ENDPOINT_FORMS}`);
  return { host, port };
}

function readListen(value: string): { host?: string; port: number } {
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
function isHostName(value: string): boolean {
  return HOST_NAME.test(value) && !/(^|\.)(\d+|0x[0-9a-f]*)\.?$/i.test(value);
}

function hostAndPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
