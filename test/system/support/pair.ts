// A wireguard-go and a peer of ours that know each other, and their end.

import { OurPeer, type OurPeerOptions } from './our-peer.js';
import { WireguardGo } from './wireguard-go.js';

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

/** Closes at the end of the test what it opened itself. */
export function closeAfterTest(closable: { close(): Promise<void> }): void {
  open.push(closable);
}

/** Call after each test, whether it passed or not. */
export async function closeAll(): Promise<void> {
  for (const closable of open.splice(0).reverse()) await closable.close();
}

export function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
