// Configuration files as `wg-quick up` takes them, and two extensions of our own for WebSockets.
// Promises: the same files are accepted, with the same result (docs/configuration.md has the exceptions); a mistake
// names file, line and field; no message shows a key or a password; what is written is read back.
// Read on: wg(8) CONFIGURATION FILE FORMAT, wg-quick(8); wireguard-tools src/config.c.

import { equalBytes, isZero } from '../../native/bytes.js';
import { formatHostPort } from '../../native/host-port.js';
import {
  type Dialect,
  type Fail,
  type Field,
  type Section,
  fields,
  finishPeers,
  readSections,
} from './config-file.js';
import {
  BadValue,
  type ConfigEndpoint,
  type ConfigListen,
  type IpPrefix,
  quote,
  readBoolean,
  readCNumber,
  readEndpoint,
  readKey,
  readListen,
  readNumber,
  readOwnAddress,
  readPort,
  readRange,
  words,
} from './config-values.js';
import { parseWebSocketUrl } from '../websocket/url.js';
import { TunnelError } from '../errors.js';
import { formatIp } from '../ip.js';
import { encodeKey } from '../keys.js';

export type { ConfigEndpoint, ConfigListen, IpPrefix } from './config-values.js';

/** The [Interface] of a wg-quick file. */
export interface InterfaceConfig {
  /** 32 bytes. */
  readonly privateKey: Uint8Array;
  /** 0..65535; 0 for any. */
  readonly listenPort?: number;
  /** 32 bits; 0 for none. */
  readonly fwMark?: number;
  /** Our addresses inside the tunnel, host bits and all. */
  readonly addresses: readonly IpPrefix[];
  /** Name servers (digits and dots, or with a colon) and search domains, in their order. */
  readonly dns: readonly string[];
  readonly mtu?: number;
  /** `off`, `auto`, or a routing table by number or name. */
  readonly table?: string;
  /** Shell commands, kept as they are and never run here. Empty ones are left out. */
  readonly preUp: readonly string[];
  readonly postUp: readonly string[];
  readonly preDown: readonly string[];
  readonly postDown: readonly string[];
  readonly saveConfig?: boolean;
  /** Our extension: take WebSocket connections here. Without a host, on every address. */
  readonly listenWebSocket?: ConfigListen;
}

/** A [Peer] of a wg-quick file. */
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

/** What a clone is told beside its key. */
export interface IdentityConfig {
  /** At least one. */
  readonly addresses: readonly IpPrefix[];
  readonly peers: readonly PeerConfig[];
}

/** A wg-quick file. */
export interface TunnelConfig {
  readonly interface: InterfaceConfig;
  readonly peers: readonly PeerConfig[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] };
/** What a section holds while it is read: its required key may still be missing. */
type Draft<T, Required extends keyof T> = Partial<Pick<Mutable<T>, Required>> & Omit<Mutable<T>, Required>;
type InterfaceDraft = Draft<InterfaceConfig, 'privateKey'>;
type PeerDraft = Draft<PeerConfig, 'publicKey'>;

const ADDRESS: Field<InterfaceDraft> = ofWgQuick('Address', (value, draft) => {
  for (const word of words(value)) addAddress(draft.addresses, readOwnAddress(word));
});

const INTERFACE_FIELDS = fields<InterfaceDraft>(
  { name: 'PrivateKey', read: (value, draft) => (draft.privateKey = readPrivateKey(value)) },
  { name: 'ListenPort', read: (value, draft) => (draft.listenPort = readPort(value, 0)) },
  { name: 'FwMark', read: (value, draft) => (draft.fwMark = readMark(value)) },
  ADDRESS,
  ofWgQuick('DNS', (value, draft) => draft.dns.push(...words(value))),
  {
    ...ofWgQuick('MTU', (value, draft) => {
      if (value !== '') draft.mtu = readCNumber(value, 68, 65_535, 'an MTU');
    }),
    lastAlone: true,
  },
  ofWgQuick('Table', (value, draft) => {
    if (value === '') delete draft.table;
    else draft.table = value;
  }),
  ofWgQuick('PreUp', (value, draft) => addCommand(draft.preUp, value)),
  ofWgQuick('PostUp', (value, draft) => addCommand(draft.postUp, value)),
  ofWgQuick('PreDown', (value, draft) => addCommand(draft.preDown, value)),
  ofWgQuick('PostDown', (value, draft) => addCommand(draft.postDown, value)),
  { name: 'SaveConfig', verbatim: true, read: (value, draft) => (draft.saveConfig = readBoolean(value)) },
  { name: 'ListenWebSocket', read: (value, draft) => (draft.listenWebSocket = readListen(value)) },
);

const PEER_FIELDS = fields<PeerDraft>(
  { name: 'PublicKey', read: (value, draft) => (draft.publicKey = readKey(value)) },
  { name: 'PresharedKey', read: (value, draft) => (draft.presharedKey = readKey(value)) },
  {
    name: 'AllowedIPs',
    read: (value, draft) => draft.allowedIps.push(...value.split(',').map(readRange)),
  },
  { name: 'Endpoint', read: (value, draft) => (draft.endpoint = readEndpoint(value)) },
  {
    name: 'PersistentKeepalive',
    read: (value, draft) =>
      (draft.persistentKeepalive =
        value.toLowerCase() === 'off' ? 0 : readNumber(value, 0, 65_535, "a number of seconds, nor 'off'")),
  },
);

const DIALECT: Dialect<InterfaceDraft, PeerDraft> = {
  interface: INTERFACE_FIELDS,
  peer: PEER_FIELDS,
  newInterface: () => ({ addresses: [], dns: [], preUp: [], postUp: [], preDown: [], postDown: [] }),
  newPeer: () => ({ allowedIps: [] }),
};

/**
 * Reads a configuration. `file` is for messages. Throws a `TunnelError` (`ERR_CONFIG`) with `file`, `line` and
 * `field` for the first mistake, such as `wg0.conf:7: AllowedIPs: '10.0.0.0/33' is not an address range`.
 */
export function parseConfig(text: string, file?: string): TunnelConfig {
  const { own, peers, fail } = readSections(text, file, DIALECT);
  if (!own) return fail(1, undefined, 'there is no [Interface] section');
  const { privateKey, ...rest } = own.draft;
  if (!privateKey) return fail(own.line, 'PrivateKey', 'is missing from this [Interface]');
  return { interface: { privateKey, ...rest }, peers: peersOf(peers, fail) };
}

const IDENTITY_DIALECT: Dialect<InterfaceDraft, PeerDraft> = {
  ...DIALECT,
  interface: fields(ADDRESS),
  elsewhere: new Map([...INTERFACE_FIELDS.keys()].map(name => [name, 'is not for others to say'])),
};

/** Reads [Interface] with `Address` alone, and [Peer]s. Throws as `parseConfig`. */
export function parseIdentityConfig(text: string, file?: string): IdentityConfig {
  const { own, peers, fail } = readSections(text, file, IDENTITY_DIALECT);
  const { addresses = [] } = own?.draft ?? {};
  if (addresses.length === 0) return fail(own?.line ?? 1, 'Address', 'is missing from [Interface]');
  return { addresses, peers: peersOf(peers, fail) };
}

function peersOf(sections: readonly Section<PeerDraft>[], fail: Fail): PeerConfig[] {
  const owners = lastOwners(sections);
  return finishPeers(sections, fail).map(({ allowedIps, presharedKey, ...peer }) => ({
    ...peer,
    allowedIps: allowedIps.filter(range => owners.get(textOf(range)) === textOf(peer)),
    ...(presharedKey && !isZero(presharedKey) && { presharedKey }),
  }));
}

/**
 * Writes a configuration that `parseConfig` reads back as the same. Throws `ERR_CONFIG` when that cannot be: a command
 * with a line break or a `#`, an address that is none, one
 * peer twice, one range of two peers.
 */
export function formatConfig(config: TunnelConfig): string {
  const lines = linesOf(config);
  const text = `${lines.join('\n')}\n`;
  // The promise above is kept by trying it.
  const again = linesOf(parseConfig(text));
  const changed = lines.find((line, i) => line.includes(' = ') && line !== again[i]);
  if (changed !== undefined) throw unwritable(changed.split(' = ', 1)[0]);
  return text;
}

function unwritable(field: string): TunnelError {
  const problem = 'the value cannot be written: it would be read as another';
  return new TunnelError('ERR_CONFIG', `${field}: ${problem}`, { field });
}

function linesOf(config: TunnelConfig): string[] {
  const own = config.interface;
  const lines = ['[Interface]'];
  const put = (key: string, value: string | number | undefined) => {
    if (value === undefined) return;
    const text = String(value);
    if (text.includes('\n')) throw unwritable(key);
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
    put('ListenWebSocket', host === undefined ? port : formatHostPort(host, port));
  }
  for (const peer of config.peers) {
    lines.push('', '[Peer]');
    put('PublicKey', encodeKey(peer.publicKey));
    put('PresharedKey', peer.presharedKey && encodeKey(peer.presharedKey));
    putList('AllowedIPs', peer.allowedIps.map(formatPrefix));
    const { endpoint } = peer;
    if (endpoint && 'url' in endpoint) put('Endpoint', parseWebSocketUrl(endpoint.url)?.href ?? endpoint.url);
    else if (endpoint) put('Endpoint', formatHostPort(endpoint.host, endpoint.port));
    put('PersistentKeepalive', peer.persistentKeepalive);
  }
  return lines;
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

function readMark(value: string): number {
  if (value.toLowerCase() === 'off') return 0;
  // `wg` knows hexadecimal by a small x alone.
  const number = /^(0x[0-9a-fA-F]+|\d+)$/.test(value) ? Number(value) : Number.NaN;
  if (!(number <= 0xffff_ffff)) throw new BadValue(`${quote(value)} is not a mark (32 bits, or 'off')`);
  return number;
}

/** Whose each range is, when a device has heard of one [Peer] after the other: each takes its ranges from all others. */
function lastOwners(sections: readonly Section<PeerDraft>[]): ReadonlyMap<string, string> {
  const owners = new Map<string, string>();
  const before = new Map<string, readonly IpPrefix[]>();
  for (const { draft } of sections) {
    const id = textOf(draft);
    for (const range of before.get(id) ?? [])
      if (owners.get(textOf(range)) === id) owners.delete(textOf(range));
    for (const range of draft.allowedIps) owners.set(textOf(range), id);
    before.set(id, draft.allowedIps);
  }
  return owners;
}

/** A peer or a range as the key of a map. */
function textOf(value: Pick<PeerDraft, 'publicKey'> | IpPrefix): string {
  return 'ip' in value ? `${value.ip.join()}/${value.prefix}` : `${value.publicKey?.join()}`;
}

function readPrivateKey(value: string): Uint8Array {
  const key = readKey(value);
  if (isZero(key)) throw new BadValue('a key of zeros is no key');
  return key;
}

/** A key of `wg-quick`, which may be there without saying anything. */
function ofWgQuick(name: string, read: (value: string, draft: InterfaceDraft) => void) {
  return { name, verbatim: true, mayBeEmpty: true, read };
}

function addCommand(commands: string[], command: string): void {
  if (command !== '') commands.push(command);
}

/** Refuses what Linux refuses an interface. */
function addAddress(addresses: IpPrefix[], added: IpPrefix): void {
  const text = formatPrefix(added);
  if (addresses.some(known => isSameAddress(known, added)))
    throw new BadValue(`${quote(text)} stands there already`);
  const { ip } = added;
  if (ip.length === 16 && (ip[0] === 0xff || (isZero(ip.subarray(0, 15)) && ip[15] <= 1))) {
    throw new BadValue(`${quote(text)} cannot be the address of an interface`);
  }
  addresses.push(added);
}

/** IPv4 has one address once in each network, IPv6 once. */
function isSameAddress(a: IpPrefix, b: IpPrefix): boolean {
  return equalBytes(a.ip, b.ip) && (a.ip.length === 16 || a.prefix === b.prefix);
}
