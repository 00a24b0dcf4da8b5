// Configuration files as `wg-quick` has them, and two keys of our own for WebSockets.
// Promises: a mistake names file, line and field; no message shows a key or a password; what is written is read back.
// Read on: wg(8) CONFIGURATION FILE FORMAT, wg-quick(8); wireguard-tools src/config.c.

import { isIP } from 'node:net';
import { CONTROL, type Dialect, fields, finishPeers, readSections } from './config-file.js';
import {
  BadValue,
  type ConfigEndpoint,
  type ConfigListen,
  type IpPrefix,
  hostAndPort,
  isHostName,
  list,
  quote,
  readBoolean,
  readEndpoint,
  readKey,
  readListen,
  readNumber,
  readPrefix,
  readRange,
} from './config-values.js';
import { TunnelError } from './errors.js';
import { formatIp } from './ip.js';
import { encodeKey } from './keys.js';

export type { ConfigEndpoint, ConfigListen, IpPrefix } from './config-values.js';

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
  readonly listenWebSocket?: ConfigListen;
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
  return { interface: { privateKey, ...rest }, peers: finishPeers(peers, fail) };
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

function readMark(value: string): number {
  if (value.toLowerCase() === 'off') return 0;
  const number = /^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(value) ? Number(value) : Number.NaN;
  if (!(number <= 0xffff_ffff)) throw new BadValue(`${quote(value)} is not a mark (32 bits, or 'off')`);
  return number;
}

function readDns(value: string): string {
  if (isIP(value) === 0 && !isHostName(value)) {
    throw new BadValue(`${quote(value)} is neither an address nor a domain`);
  }
  return value;
}
