// Which peer of a configuration an address belongs to, and which of our addresses speaks to it.
// Promises: the same choice as the device makes (longest prefix; of two equal ones the later peer has it).

import type { IpPrefix, PeerConfig, TunnelConfig } from '../tunnel/config/config.js';
import { formatPrefix } from '../tunnel/config/config.js';
import { formatIp } from '../tunnel/ip.js';
import { encodeKey } from '../tunnel/keys.js';
import { CliError } from './errors.js';

export interface Route {
  readonly peer: PeerConfig;
  /** Our own address, of the same family as the destination. */
  readonly source: Uint8Array;
}

/**
 * The way to `destination` (4 or 16 bytes). `file` is for messages. Throws `ERR_CLI_ROUTE` when no peer has the address,
 * or when `[Interface]` has no address of its family.
 */
export function chooseRoute(config: TunnelConfig, destination: Uint8Array, file: string): Route {
  const peer = choosePeer(config.peers, destination);
  if (!peer) {
    throw new CliError('ERR_CLI_ROUTE', `${file}: no peer has ${formatIp(destination)} in its AllowedIPs`, {
      hints: config.peers.map(({ publicKey, allowedIps }) => {
        const ranges = allowedIps.map(formatPrefix).join(', ');
        return `peer ${encodeKey(publicKey)}: ${ranges === '' ? 'no AllowedIPs' : ranges}`;
      }),
    });
  }
  const source = chooseSource(config.interface.addresses, destination);
  if (!source) {
    const family = destination.length === 4 ? 'IPv4' : 'IPv6';
    const problem = `[Interface] has no ${family} Address to ask ${formatIp(destination)} from`;
    throw new CliError('ERR_CLI_ROUTE', `${file}: ${problem}`);
  }
  return { peer, source };
}

function choosePeer(peers: readonly PeerConfig[], destination: Uint8Array): PeerConfig | undefined {
  let best: PeerConfig | undefined;
  let bestPrefix = -1;
  for (const peer of peers) {
    for (const range of peer.allowedIps) {
      if (range.prefix < bestPrefix || !holds(range, destination)) continue;
      best = peer;
      bestPrefix = range.prefix;
    }
  }
  return best;
}

// The address whose network the destination lies in, as a routing table would have it; else the first.
function chooseSource(addresses: readonly IpPrefix[], destination: Uint8Array): Uint8Array | undefined {
  const own = addresses.filter(({ ip }) => ip.length === destination.length);
  return (own.find(range => holds(range, destination)) ?? own[0])?.ip;
}

function holds({ ip, prefix }: IpPrefix, address: Uint8Array): boolean {
  if (ip.length !== address.length) return false;
  return ip.every((byte, i) => {
    const mask = 0xff00 >> Math.min(8, Math.max(0, prefix - 8 * i));
    return ((byte ^ address[i]) & mask & 0xff) === 0;
  });
}
