// A wireguard-go and a peer of ours that know each other, and their end.

import { onTestFailed } from 'vitest';
import { encodeKey } from '../../../tunnel/keys.js';
import { type CreatedTunnel, createTunnel, parseConfig } from '../../../tunnel/index.js';
import type { VmGenId } from '../../../vmgenid/index.js';
import { readEcho } from './echo.js';
import { OurPeer, type OurPeerOptions } from './our-peer.js';
import { run } from './run.js';
import { OUR_V4, OUR_V6, THEIR_V4, THEIR_V6, WireguardGo } from './wireguard-go.js';

export interface Pair {
  readonly theirs: WireguardGo;
  readonly ours: OurPeer;
}

export interface PairOptions extends OurPeerOptions {
  /** Who knows where the other is, and so can begin. Default `we`. */
  readonly initiator?: 'we' | 'they';
  /** The loopback address between the two. Default `127.0.0.1`. */
  readonly outer?: '127.0.0.1' | '::1';
  readonly ourPresharedKey?: Uint8Array;
  readonly theirPresharedKey?: Uint8Array;
}

const open: { close(): Promise<void> }[] = [];

/** Two peers that have exchanged nothing yet. */
export async function startPair(options: PairOptions = {}): Promise<Pair> {
  const { initiator = 'we', outer = '127.0.0.1', ourPresharedKey, theirPresharedKey } = options;
  const ours = await OurPeer.start(options);
  open.push(ours);
  const theirs = await WireguardGo.start();
  open.push(theirs);
  onTestFailed(() => console.error(theirs.log()));
  ours.setPeer(theirs, {
    ...(initiator === 'we' && { address: outer }),
    ...(ourPresharedKey && { presharedKey: ourPresharedKey }),
  });
  await theirs.setPeer({
    publicKey: ours.publicKey,
    ...(initiator === 'they' && { endpoint: endpoint(outer, ours.port) }),
    ...(theirPresharedKey && { presharedKey: theirPresharedKey }),
  });
  return { theirs, ours };
}

/** A tunnel of the package's own, opened from a wg-quick file, and the numbers of the echo replies that it delivers. */
export async function createTunnelTo(
  theirs: WireguardGo,
  vmgenid?: VmGenId,
): Promise<{ opened: CreatedTunnel; replies: Set<number> }> {
  open.push(theirs);
  const config = parseConfig(`
    [Interface]
    PrivateKey = ${(await run('wg', ['genkey'])).trim()}
    Address = ${OUR_V4}/24, ${OUR_V6}/64
    [Peer]
    PublicKey = ${encodeKey(theirs.publicKey)}
    AllowedIPs = ${THEIR_V4}/32, ${THEIR_V6}/128
    Endpoint = 127.0.0.1:${theirs.listenPort}
  `);
  const replies = new Set<number>();
  const opened = await createTunnel({
    config,
    ...(vmgenid && { vmgenid }),
    onPacket: packet => {
      const echo = readEcho(packet);
      if (echo?.kind === 'reply') replies.add(echo.sequence);
    },
  });
  open.push(opened);
  const { publicKey } = opened.tunnel.device;
  if (!publicKey) throw new Error('the tunnel has no key');
  await theirs.setPeer({ publicKey });
  return { opened, replies };
}

/** Closes at the end of the test what it opened itself. */
export function closeAfterTest(closable: { close(): Promise<void> }): void {
  open.push(closable);
}

/** Call after each test, whether it passed or not. */
export async function closeAll(): Promise<void> {
  const ends = [];
  for (const closable of open.splice(0).reverse())
    ends.push(...(await Promise.allSettled([closable.close()])));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

export function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
