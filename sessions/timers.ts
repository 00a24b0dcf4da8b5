// When a peer must speak: retransmission, keepalives, new handshakes, and the end of its keys.
// The hooks are named for facts; each says when to call it. Nothing here knows a clock: `now` is monotonic milliseconds.
// Read on: WireGuard paper 6; Linux drivers/net/wireguard/timers.c.

import {
  ERASE_AFTER_TIME_MS,
  KEEPALIVE_TIMEOUT_MS,
  MAX_HANDSHAKE_ATTEMPTS,
  REKEY_TIMEOUT_JITTER_MS,
  REKEY_TIMEOUT_MS,
} from '../protocol/constants.js';
import type { Context } from './context.js';
import { drawJitter } from './draw.js';
import { endHandshakes, initiateHandshake } from './handshakes.js';
import type { Peer } from './peer.js';
import { sendKeepalive } from './send.js';

const OFF = Number.POSITIVE_INFINITY;

/** Call after a data packet that is not a keepalive was sent. */
export function dataSent(context: Context, peer: Peer, now: number): void {
  if (peer.newHandshakeAt !== OFF) return;
  peer.newHandshakeAt = now + KEEPALIVE_TIMEOUT_MS + REKEY_TIMEOUT_MS + peer.newHandshakeJitterMs;
  context.deadlines.schedule(peer, peer.newHandshakeAt);
}

/** Call after an authenticated data packet that is not a keepalive arrived. */
export function dataReceived(context: Context, peer: Peer, now: number): void {
  if (peer.keepaliveAt === OFF) {
    peer.keepaliveAt = now + KEEPALIVE_TIMEOUT_MS;
    context.deadlines.schedule(peer, peer.keepaliveAt);
  } else {
    peer.needsAnotherKeepalive = true;
  }
}

/** Call after any authenticated packet was sent: handshake, data or keepalive. */
export function authenticatedPacketSent(context: Context, peer: Peer, now: number): void {
  peer.keepaliveAt = OFF;
  authenticatedPacketTraversed(context, peer, now);
}

/** Call after any authenticated packet arrived. */
export function authenticatedPacketReceived(context: Context, peer: Peer, now: number): void {
  peer.newHandshakeAt = OFF;
  authenticatedPacketTraversed(context, peer, now);
}

/** Call after an initiation was made. */
export function handshakeInitiated(context: Context, peer: Peer, now: number): void {
  peer.retransmitAt = now + REKEY_TIMEOUT_MS + drawJitter(context, REKEY_TIMEOUT_JITTER_MS);
  context.deadlines.schedule(peer, peer.retransmitAt);
}

/** Call when a handshake has ended well: a response was consumed, or our response was confirmed by data. */
export function handshakeComplete(context: Context, peer: Peer): void {
  peer.retransmitAt = OFF;
  peer.handshakeAttempts = 0;
  peer.sentLastMinuteHandshake = false;
  peer.lastHandshakeAt = context.clock.wallClock();
}

/** Call when new transport keys were derived, on either side. */
export function sessionDerived(context: Context, peer: Peer, now: number): void {
  peer.eraseAt = now + ERASE_AFTER_TIME_MS;
  // Linux draws it for each packet that follows an answer, which costs half as much as to seal the packet.
  peer.newHandshakeJitterMs = drawJitter(context, REKEY_TIMEOUT_JITTER_MS);
  context.deadlines.schedule(peer, peer.eraseAt);
}

/** Call after the interval was changed by configuration. */
export function persistentKeepaliveChanged(context: Context, peer: Peer, now: number): void {
  peer.persistentAt = OFF;
  schedulePersistentKeepalive(context, peer, now);
}

/** Does all that is due. Call from `runTimers` alone. */
export function fireTimers(context: Context, now: number): void {
  for (let peer = context.deadlines.popDue(now); peer; peer = context.deadlines.popDue(now)) {
    // A datagram that was held back, or a sink that removes its peer, may have set a timer after the removal.
    if (context.peers.get(peer.id) !== peer) continue;
    firePeer(context, peer, now);
    // The queue keeps a peer at its earliest deadline of old; timers that have moved since are put back.
    const next = peer.nextDeadline();
    if (next !== OFF && context.peers.get(peer.id) === peer) context.deadlines.schedule(peer, next);
  }
}

function firePeer(context: Context, peer: Peer, now: number): void {
  if (peer.retransmitAt <= now) {
    peer.retransmitAt = OFF;
    retransmit(context, peer, now);
  }
  if (peer.keepaliveAt <= now) {
    peer.keepaliveAt = OFF;
    sendKeepalive(context, peer);
    if (peer.needsAnotherKeepalive) {
      peer.needsAnotherKeepalive = false;
      peer.keepaliveAt = now + KEEPALIVE_TIMEOUT_MS;
    }
  }
  if (peer.newHandshakeAt <= now) {
    // Data was sent and nothing came back: perhaps the peer has lost its keys.
    peer.newHandshakeAt = OFF;
    initiateHandshake(context, peer);
  }
  if (peer.eraseAt <= now) {
    peer.eraseAt = OFF;
    peer.keypairs.clear();
    endHandshakes(context, peer);
    context.emit({ type: 'keysErased', peer: peer.publicKey });
  }
  if (peer.persistentAt <= now) {
    peer.persistentAt = peer.persistentKeepaliveMs > 0 ? now + peer.persistentKeepaliveMs : OFF;
    sendKeepalive(context, peer);
  }
}

function retransmit(context: Context, peer: Peer, now: number): void {
  if (peer.handshakeAttempts < MAX_HANDSHAKE_ATTEMPTS) {
    peer.handshakeAttempts++;
    initiateHandshake(context, peer, true);
    return;
  }
  peer.keepaliveAt = OFF;
  peer.staged.clear();
  // The keys of a peer that no longer answers shall not outlive it for long.
  if (peer.eraseAt === OFF) sessionDerived(context, peer, now);
  context.emit({ type: 'handshakeGivenUp', peer: peer.publicKey });
}

function authenticatedPacketTraversed(context: Context, peer: Peer, now: number): void {
  peer.lastTraffic = now;
  schedulePersistentKeepalive(context, peer, now);
}

function schedulePersistentKeepalive(context: Context, peer: Peer, now: number): void {
  if (peer.persistentKeepaliveMs === 0) return;
  peer.persistentAt = now + peer.persistentKeepaliveMs;
  context.deadlines.schedule(peer, peer.persistentAt);
}
