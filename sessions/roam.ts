// Where a peer is: where its last authenticated packet came from.
// Read on: WireGuard paper 2.1.

import type { Context } from './context.js';
import type { Peer } from './peer.js';
import type { Endpoint } from './ports.js';

/** The endpoint follows authenticated packets. Call after any, but never for a cookie reply. */
export function roam(context: Context, peer: Peer, from: Endpoint): void {
  if (peer.isProvisional) {
    // Anybody can make up a key, and call: that opens no door to him.
    peer.endpoint = from;
    return;
  }
  from.authenticated?.();
  const known = peer.endpoint;
  // Equal is not the same: an endpoint may also know by which of our addresses its datagrams come in.
  peer.endpoint = from;
  // Nothing of an endpoint is looked at for each packet: with very many peers it would have to be fetched.
  if (known === from) return;
  from.isPeers = true;
  if (known?.equals(from)) return;
  context.emit({ type: 'roamed', peer: peer.publicKey, endpoint: from });
}
