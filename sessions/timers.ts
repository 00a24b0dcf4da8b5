// When a peer must speak: retransmission, keepalives, new handshakes, and the end of its keys.
// The hooks are named for facts; each says when to call it. Nothing here knows a clock: `now` is monotonic milliseconds.
// Read on: WireGuard paper 6; Linux drivers/net/wireguard/timers.c.

import {
  ERASE_AFTER_TIME_MS,
  KEEPALIVE_TIMEOUT_MS,
  MAX_HANDSHAKE_ATTEMPTS,
  REKEY_TIMEOUT_MS,
} from '../protocol/constants.js';
import type { Context } from './context.js';
import { endHandshakes } from './in-flight.js';
import { Timer, type TimerName } from './peer-times.js';
import type { Peer } from './peer.js';
import { evictPeer } from './peers.js';
import { Wish } from './wishes.js';

const OFF = Number.POSITIVE_INFINITY;

/** Call after a data packet that is not a keepalive was sent. */
export function dataSent(context: Context, peer: Peer, now: number): void {
  if (peer.timer(Timer.newHandshake) !== OFF) return;
  const afterMs = KEEPALIVE_TIMEOUT_MS + REKEY_TIMEOUT_MS + peer.newHandshakeJitterMs;
  set(context, peer, Timer.newHandshake, now + afterMs);
}

/** Call after an authenticated data packet that is not a keepalive arrived. */
export function dataReceived(context: Context, peer: Peer, now: number): void {
  if (peer.timer(Timer.keepalive) === OFF) set(context, peer, Timer.keepalive, now + KEEPALIVE_TIMEOUT_MS);
  else peer.needsAnotherKeepalive = true;
}

/** Call after a keepalive was sent; and `authenticatedPacketSent` before. */
export function keepaliveSent(context: Context, peer: Peer, now: number): void {
  if (!peer.needsAnotherKeepalive) return;
  peer.needsAnotherKeepalive = false;
  set(context, peer, Timer.keepalive, now + KEEPALIVE_TIMEOUT_MS);
}

/** Call after any authenticated packet was sent: handshake, data or keepalive. */
export function authenticatedPacketSent(context: Context, peer: Peer, now: number): void {
  peer.setTimer(Timer.keepalive, OFF);
  authenticatedPacketTraversed(context, peer, now);
}

/** Call after any authenticated packet arrived. */
export function authenticatedPacketReceived(context: Context, peer: Peer, now: number): void {
  peer.setTimer(Timer.newHandshake, OFF);
  authenticatedPacketTraversed(context, peer, now);
}

/** Call after an initiation was made. `jitterMs`: drawn for it. */
export function handshakeInitiated(context: Context, peer: Peer, now: number, jitterMs: number): void {
  set(context, peer, Timer.retransmit, now + REKEY_TIMEOUT_MS + jitterMs);
}

/** Call when a handshake has ended well: a response was consumed, or our response was confirmed by data. */
export function handshakeComplete(context: Context, peer: Peer): void {
  peer.setTimer(Timer.retransmit, OFF);
  peer.handshakeAttempts = 0;
  peer.sentLastMinuteHandshake = false;
  peer.lastHandshakeAt = context.clock.wallClock();
}

/** Call when new transport keys were derived, on either side. */
export function sessionDerived(context: Context, peer: Peer, now: number): void {
  set(context, peer, Timer.erase, now + ERASE_AFTER_TIME_MS);
}

/** Sets the interval, in seconds. When it is switched on, a keepalive is due at once. */
export function setPersistentKeepalive(context: Context, peer: Peer, seconds: number, now: number): void {
  const wasOff = peer.persistentKeepaliveMs === 0;
  peer.persistentKeepaliveMs = seconds * 1_000;
  peer.setTimer(Timer.persistent, OFF);
  schedulePersistentKeepalive(context, peer, now);
  if (wasOff && seconds > 0) context.wishes.add(peer, Wish.keepalive);
}

/** Does all that is due. Call from `runTimers` alone. */
export function fireTimers(context: Context, now: number): void {
  for (let peer = context.deadlines.popDue(now); peer; peer = context.deadlines.popDue(now)) {
    // A datagram that was held back may have set a timer of a peer that was removed meanwhile.
    if (context.peers.get(peer.id) !== peer) continue;
    firePeer(context, peer, now);
    if (context.peers.get(peer.id) !== peer) continue;
    // The queue keeps a peer at its earliest deadline of old; timers that have moved since are put back.
    context.deadlines.schedule(peer, peer.nextDeadline());
  }
}

function firePeer(context: Context, peer: Peer, now: number): void {
  const { wishes } = context;
  if (fires(peer, Timer.retransmit, now)) retransmit(context, peer, now);
  if (fires(peer, Timer.keepalive, now)) wishes.add(peer, Wish.keepalive);
  // Data was sent and nothing came back: perhaps the peer has lost its keys.
  if (fires(peer, Timer.newHandshake, now)) wishes.add(peer, Wish.handshake);
  if (fires(peer, Timer.erase, now)) {
    peer.keypairs.clear();
    endHandshakes(context, peer);
    context.emit({ type: 'keysErased', peer: peer.publicKey });
    if (peer.admission && !peer.isProvisional) return evictPeer(context, peer);
  }
  if (fires(peer, Timer.persistent, now)) {
    schedulePersistentKeepalive(context, peer, now);
    wishes.add(peer, Wish.keepalive);
  }
}

/** Whether a timer has gone off, which is then off. */
function fires(peer: Peer, timer: TimerName, now: number): boolean {
  if (peer.timer(timer) > now) return false;
  peer.setTimer(timer, OFF);
  return true;
}

function retransmit(context: Context, peer: Peer, now: number): void {
  if (peer.handshakeAttempts < MAX_HANDSHAKE_ATTEMPTS) {
    peer.handshakeAttempts++;
    context.wishes.add(peer, Wish.retry);
    return;
  }
  peer.setTimer(Timer.keepalive, OFF);
  peer.staged.clear();
  // The keys of a peer that no longer answers shall not outlive it for long.
  if (peer.timer(Timer.erase) === OFF) sessionDerived(context, peer, now);
  context.emit({ type: 'handshakeGivenUp', peer: peer.publicKey });
}

function authenticatedPacketTraversed(context: Context, peer: Peer, now: number): void {
  peer.lastTraffic = now;
  schedulePersistentKeepalive(context, peer, now);
}

function schedulePersistentKeepalive(context: Context, peer: Peer, now: number): void {
  if (peer.persistentKeepaliveMs > 0) set(context, peer, Timer.persistent, now + peer.persistentKeepaliveMs);
}

function set(context: Context, peer: Peer, timer: TimerName, at: number): void {
  peer.setTimer(timer, at);
  context.deadlines.schedule(peer, at);
}
