// What an enroller prints, or the hook's call brings, as a clone's identity: addresses and peers.
// Promises: the one in the manner of `wg-quick`, the other as JSON, both by the same rules; what is none of it is refused in
// words that show no key.
// Read on: config.ts (the values), ../daemon/clone/clone.ts (who asks); docs/configuration.md "Enrolment".

import { isZero } from '../../native/bytes.js';
import type { UapiEndpoint, UapiPeerChange } from '../daemon/uapi/types.js';
import type { UdpEndpoint } from '../endpoint.js';
import { decodeKey } from '../keys.js';
import type { ToldIdentity } from '../linux/enrolment.js';
import { type IdentityConfig, type PeerConfig, parseIdentityConfig } from './config.js';
import type { ConfigEndpoint } from './config-values.js';

/** Addresses of a host, the one to be taken first. Rejects where there is none. */
export type ResolveEndpoints = (host: string, port: number) => Promise<readonly UdpEndpoint[]>;

/** An identity as the hook's call brings it. */
export interface BroughtIdentity {
  /** 32 bytes; absent: the clone draws its own. */
  readonly privateKey: Uint8Array | undefined;
  readonly config: IdentityConfig;
}

/** With names that are resolved. Rejects where one is not. */
export async function toldIdentity(
  { addresses, peers }: IdentityConfig,
  resolve: ResolveEndpoints,
): Promise<ToldIdentity> {
  return { addresses, peers: await Promise.all(peers.map(peer => changeOf(peer, resolve))) };
}

async function changeOf(peer: PeerConfig, resolve: ResolveEndpoints): Promise<UapiPeerChange> {
  const { publicKey, presharedKey, endpoint, persistentKeepalive, allowedIps } = peer;
  return {
    publicKey,
    remove: false,
    updateOnly: false,
    ...(presharedKey && { presharedKey }),
    ...(endpoint && { endpoint: await endpointOf(endpoint, resolve) }),
    ...(persistentKeepalive !== undefined && { persistentKeepalive }),
    replaceAllowedIps: allowedIps.length > 0,
    allowedIps: allowedIps.map(range => ({ ...range, remove: false })),
  };
}

async function endpointOf(endpoint: ConfigEndpoint, resolve: ResolveEndpoints): Promise<UapiEndpoint> {
  if ('url' in endpoint) return endpoint;
  const [{ ip, port, zone }] = await resolve(endpoint.host, endpoint.port);
  return { ip, port, ...(zone !== '' && { scope: zone }) };
}

/** By the names of fields in JSON, those of a [Peer]. */
const PEER_FIELDS: Readonly<Record<string, string>> = {
  publicKey: 'PublicKey',
  presharedKey: 'PresharedKey',
  allowedIPs: 'AllowedIPs',
  endpoint: 'Endpoint',
  persistentKeepalive: 'PersistentKeepalive',
};

/**
 * Reads `{"privateKey"?, "address", "peers"?: [{"publicKey", "presharedKey"?, "allowedIPs"?, "endpoint"?,
 * "persistentKeepalive"?}]}`, lists as arrays or with commas. Throws an `Error` with the field at fault.
 */
export function parseBroughtIdentity(value: unknown): BroughtIdentity {
  const { privateKey, address, peers = [], ...others } = requireObject(value, 'identity');
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new Error(`identity: unknown field ${JSON.stringify(unknown.slice(0, 60))}`);
  if (privateKey !== undefined && typeof privateKey !== 'string')
    throw new Error('identity.privateKey: not a string');
  if (!Array.isArray(peers)) throw new Error('identity.peers: not an array');
  const lines = ['[Interface]', `Address = ${textOf(address, 'identity.address')}`];
  for (const peer of peers) {
    lines.push('[Peer]');
    for (const [name, each] of Object.entries(requireObject(peer, 'identity.peers'))) {
      if (!Object.hasOwn(PEER_FIELDS, name))
        throw new Error(`identity.peers: unknown field ${JSON.stringify(name.slice(0, 60))}`);
      lines.push(`${PEER_FIELDS[name]} = ${textOf(each, `identity.peers.${name}`)}`);
    }
  }
  const config = parseIdentityConfig(lines.join('\n'), 'identity');
  const key = privateKey === undefined ? undefined : decodeKey(privateKey);
  if (key && isZero(key)) throw new Error('identity.privateKey: a key of zeros is no key');
  return { config, privateKey: key };
}

function requireObject(value: unknown, name: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new Error(`${name}: not an object`);
}

/** As it stands in a file, of which it is one value and no more. */
function textOf(value: unknown, name: string): string {
  const text = Array.isArray(value) ? value.join(',') : String(value);
  const isText = ['string', 'number'].includes(typeof (Array.isArray(value) ? value[0] : value));
  // oxlint-disable-next-line no-control-regex -- they end a line.
  if (!isText || /[\u0000-\u001f#]/.test(text)) throw new Error(`${name}: not a value`);
  return text;
}
