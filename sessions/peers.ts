// Peers as they come and go.
// Promises: a peer that is gone has left nothing behind: no secret, no index, no address, no wish, no deadline.
// Read on: peer.ts; device.ts `setPeer`, admission.ts, who add them.

import { ERASE_AFTER_TIME_MS } from '../protocol/constants.js';
import type { Context } from './context.js';
import { deriveMacKeys } from './cookie-jar.js';
import { endHandshakes } from './in-flight.js';
import { Timer } from './peer-times.js';
import { Peer } from './peer.js';

/** `id`: `context.peerId(publicKey)`, which nobody has yet. */
export function addPeer(context: Context, id: string, publicKey: Uint8Array): Peer {
  const peer = new Peer(
    id,
    publicKey,
    context.sessionSlab.allocate(),
    context.identitySlab.allocate(),
    deriveMacKeys(context.suite, publicKey),
    context.records,
    keypair => {
      context.indices.remove(keypair.localIndex);
      context.suite.forget();
    },
  );
  context.peers.set(id, peer);
  return peer;
}

/** False: there is none. */
export function removePeer(context: Context, id: string): boolean {
  const peer = context.peers.get(id);
  if (!peer) return false;
  context.peers.delete(id);
  context.allowedIps.removeAll(peer);
  endHandshakes(context, peer);
  peer.keypairs.clear();
  peer.staged.clear();
  peer.endpoint = undefined;
  context.waiting.delete(peer);
  context.recalled.delete(peer);
  context.recovery.forget(peer);
  context.wishes.forget(peer);
  context.deadlines.remove(peer);
  context.admissions?.forget(peer);
  peer.leave(context.records);
  context.sessionSlab.free(peer.sessionBlock);
  context.identitySlab.free(peer.identityBlock);
  return true;
}

/** An admitted peer has no keys any more: whoever admitted it knows it still, and memory is for those who are here. */
export function evictPeer(context: Context, peer: Peer): void {
  const { publicKey, lastHandshakeAt } = peer;
  const timestamp = new Uint8Array(peer.latestTimestamp);
  removePeer(context, peer.id);
  if (context.admissions) context.admissions.evicted++;
  context.emit({ type: 'peerEvicted', peer: publicKey, lastHandshakeAt, timestamp });
}

/** A provisional peer has not proven itself in time, or gives way to another. */
export function expirePeer(context: Context, { id, publicKey }: Peer): void {
  removePeer(context, id);
  if (context.admissions) context.admissions.expired++;
  context.emit({ type: 'admissionExpired', peer: publicKey });
}

/** Sessions have ended, by a fork or by a wipe: who was not proven begins anew, and who was may never call again. */
export function endAdmissions(context: Context): void {
  const { admissions, clock, deadlines, peers } = context;
  if (!admissions) return;
  admissions.endAwaited();
  for (let peer = admissions.nextUnproven(); peer; peer = admissions.nextUnproven())
    removePeer(context, peer.id);
  if (admissions.present === 0) return;
  const eraseAt = clock.now() + ERASE_AFTER_TIME_MS;
  for (const peer of peers.values()) {
    if (!peer.admission || peer.timer(Timer.erase) <= eraseAt) continue;
    peer.setTimer(Timer.erase, eraseAt);
    deadlines.schedule(peer, eraseAt);
  }
}
