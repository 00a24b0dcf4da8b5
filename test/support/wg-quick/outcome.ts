// What a file for `wg-quick up` comes to, in one form for both sides: what Debian's programs did, and what we read.
// Promises: two outcomes are equal exactly when the tunnels are the same. Addresses are brought into that form here and
// not by the code under test.

import {
  type ConfigEndpoint,
  type IpPrefix,
  type TunnelConfig,
  parseConfig,
} from '../../../tunnel/config/config.js';
import { TunnelError } from '../../../tunnel/errors.js';

/** All of it in text: keys in hex, `address/length`, lists sorted where their order says nothing. */
export interface Outcome {
  readonly privateKey: string;
  readonly listenPort: number;
  readonly fwMark: number;
  readonly peers: Readonly<Record<string, PeerOutcome>>;
  /** What `wg-quick` itself does; absent where it was asked for `strip` alone. */
  readonly quick?: QuickOutcome;
}

export interface PeerOutcome {
  readonly presharedKey: string;
  readonly endpoint: string;
  readonly persistentKeepalive: number;
  readonly allowedIps: readonly string[];
}

export interface QuickOutcome {
  readonly addresses: readonly string[];
  readonly nameServers: readonly string[];
  readonly searchDomains: readonly string[];
  readonly mtu: number;
  /** Where the routes went; empty for nowhere. */
  readonly table: string;
  /** Run at `up`, then at `down`. */
  readonly commands: readonly string[];
  readonly saved: boolean;
}

export type Verdict = Outcome | 'refused';

/** What we make of a file. Anything but a refusal that names its place is thrown on. */
export function ourVerdict(text: string, quick: boolean): Verdict {
  let config: TunnelConfig;
  try {
    config = parseConfig(text, 'wg0.conf');
  } catch (error) {
    if (!(error instanceof TunnelError) || error.code !== 'ERR_CONFIG' || error.line === undefined)
      throw error;
    return 'refused';
  }
  return outcomeOf(config, quick);
}

/** What `wg-quick` takes where it knows of no other: Ethernet less 80. */
export const MTU_OF_NO_ROUTE = 1_420;
export const NO_KEY = '0'.repeat(64);

function outcomeOf({ interface: own, peers }: TunnelConfig, quick: boolean): Outcome {
  const owners = new Map(
    peers.flatMap(({ publicKey, allowedIps }) =>
      allowedIps.map(range => [network(textOf(range)), hex(publicKey)]),
    ),
  );
  const servers = own.dns.filter(isNameServer);
  const outcome = {
    privateKey: hex(own.privateKey),
    listenPort: own.listenPort ?? 0,
    fwMark: own.fwMark ?? 0,
    peers: Object.fromEntries(
      peers.map(({ publicKey, presharedKey, endpoint, persistentKeepalive = 0 }) => [
        hex(publicKey),
        {
          presharedKey: presharedKey ? hex(presharedKey) : NO_KEY,
          endpoint: endpoint ? endpointText(endpoint) : '',
          persistentKeepalive,
          allowedIps: rangesOf(owners, hex(publicKey)),
        },
      ]),
    ),
  };
  if (!quick) return outcome;
  const routed = own.table !== 'off' && owners.size > 0;
  return {
    ...outcome,
    quick: {
      addresses: own.addresses.map(each => address(textOf(each))).toSorted(),
      nameServers: servers,
      searchDomains: servers.length > 0 ? own.dns.filter(word => !isNameServer(word)) : [],
      mtu: own.mtu ?? MTU_OF_NO_ROUTE,
      table: !routed ? '' : own.table === undefined || own.table === 'auto' ? 'main' : own.table,
      commands: [...own.preUp, ...own.postUp, ...own.preDown, ...own.postDown],
      saved: own.saveConfig ?? false,
    },
  };
}

/** As the documentation of `InterfaceConfig.dns` tells them apart. */
function isNameServer(word: string): boolean {
  return /^[\d.]+$/.test(word) || word.includes(':');
}

/** The ranges of one peer, by whom each came to belong to last. */
export function rangesOf(owners: ReadonlyMap<string, string>, peer: string): string[] {
  return [...owners].flatMap(([range, owner]) => (owner === peer ? [range] : [])).toSorted();
}

function hex(key: Uint8Array): string {
  return Buffer.from(key).toString('hex');
}

function textOf({ ip, prefix }: IpPrefix): string {
  const bytes = [...ip];
  const groups = bytes.flatMap((byte, i) => (i % 2 ? [] : [((byte << 8) | bytes[i + 1]).toString(16)]));
  return `${ip.length === 4 ? bytes.join('.') : groups.join(':')}/${prefix}`;
}

function endpointText(endpoint: ConfigEndpoint): string {
  if ('url' in endpoint) return endpoint.url;
  const { host, port } = endpoint;
  return socketAddress(host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);
}

/** `localhost` is the one name that needs no server; which of its addresses it is lies with the machine. */
export function socketAddress(text: string): string {
  const [, host, zone = '', port] = /^\[?([^\]%]*)(%[^\]]*)?\]?:(\d+)$/.exec(text) ?? [];
  const shown = host.includes(':') ? bytesOf(host).join('.') : host;
  const isLocal = ['localhost', '127.0.0.1', `${'0.'.repeat(15)}1`].includes(shown);
  return `${isLocal ? 'localhost' : shown}${zone} ${port}`;
}

/** An address and its length, spelled in one way. */
export function address(text: string): string {
  const [ip, length] = text.split('/');
  return `${bytesOf(ip).join('.')}/${length}`;
}

/** A range, without its host bits. */
export function network(text: string): string {
  const [ip, length] = text.split('/');
  const bytes = bytesOf(ip).map(
    (byte, i) => byte & (0xff << Math.max(0, 8 - Math.max(0, Number(length) - 8 * i))),
  );
  return `${bytes.join('.')}/${length}`;
}

/** 4 or 16 of them; the URL standard's parser brings every IPv6 address into groups. */
function bytesOf(ip: string): number[] {
  if (!ip.includes(':')) return ip.split('.').map(Number);
  const [head, tail] = new URL(`http://[${ip}]`).hostname.slice(1, -1).split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail ? tail.split(':') : [];
  const gap = tail === undefined ? 0 : 8 - before.length - after.length;
  const groups = [...before, ...Array.from({ length: gap }, () => '0'), ...after];
  return groups.map(group => Number.parseInt(group, 16)).flatMap(group => [group >> 8, group & 0xff]);
}
