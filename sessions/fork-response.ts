// What a device does when its machine was forked: by the notifier chain, or by its own look at the epoch.
// Promises: whoever notices first, the response runs once per epoch, and nothing of the old epoch can leave after it.
// Read on: Linux drivers/net/wireguard/device.c wg_vm_notification().

import { KEEPALIVE_TIMEOUT_MS, REKEY_TIMEOUT_MS } from '../protocol/constants.js';
import { NO_EPOCH } from '../vmgenid/generation.js';
import type { Context } from './context.js';
import { callSoon, endHandshakes } from './handshakes.js';
import type { Peer } from './peer.js';

/**
 * Reads the generation, and responds if the machine was forked. The first step of whatever uses a secret. Returns the
 * epoch, or NO_EPOCH when nothing vouches for it.
 */
export function enter(context: Context): number {
  const epoch = context.vmgenid.check();
  if (epoch !== context.epoch && epoch !== NO_EPOCH) respondToFork(context, epoch);
  return epoch;
}

export function respondToFork(context: Context, epoch: number): void {
  if (epoch === context.epoch) return;
  context.epoch = epoch;
  const policy = context.forkPolicy;
  const ended = policy === 'expire-sending' ? expireSending(context, epoch) : wipeSessions(context);
  if (policy === 'hold') hold(context);
  context.emit({ type: 'vmFork', epoch, policy, ...ended });
}

/**
 * A peer heard from or spoken to so recently is called anew after a wipe. It cannot know of the fork, and what it goes
 * on sending under the old keys is lost: by itself it would find out after just this time. Milliseconds.
 */
const RECENT_TRAFFIC_MS = KEEPALIVE_TIMEOUT_MS + REKEY_TIMEOUT_MS;

interface Ended {
  wipedKeypairs: number;
  wipedHandshakes: number;
}

/** Erases every session secret of the device, keeps identities and plaintext that waits, and has peers in conversation called. */
export function wipeSessions(context: Context): Ended {
  const ended: Ended = { wipedKeypairs: 0, wipedHandshakes: 0 };
  // Erase first, tidy up after: from here on there is nothing left to misuse.
  context.sessionSlab.eraseAll();
  try {
    context.suite.forget();
  } finally {
    // Even if that failed: keypairs whose keys and counters are zeros by now must not be there for the next packet.
    dropSessions(context, ended);
  }
  return ended;
}

function dropSessions(context: Context, ended: Ended): void {
  const now = context.clock.now();
  context.cookies.wipe();
  context.indices.clear();
  context.deadlines.abandon();
  context.records.endSessions();
  for (const peer of context.peers.values()) tidyUp(context, peer, now, ended);
}

// A function of its own, and short: after the first fork of a process the walk is through before the engine would have
// compiled the loop around it.
function tidyUp(context: Context, peer: Peer, now: number, ended: Ended): void {
  const { keypairs } = peer;
  const { size } = keypairs;
  ended.wipedKeypairs += size;
  if (size > 0) keypairs.forget();
  if (peer.sent || peer.waitingInitiation) forgetHandshakes(peer, ended);
  forgetAttempts(peer);
  peer.needsAnotherKeepalive = false;
  const isTalking = size > 0 && now - peer.lastTraffic < RECENT_TRAFFIC_MS;
  if (peer.staged.length > 0 || isTalking) callSoon(context, peer);
  if (peer.persistentKeepaliveMs > 0) {
    peer.persistentAt = Math.min(peer.persistentAt, now + peer.persistentKeepaliveMs);
    context.deadlines.schedule(peer, peer.persistentAt);
  }
}

// What was sent lay in the slab, and its index was forgotten with all others.
function forgetHandshakes(peer: Peer, ended: Ended): void {
  ended.wipedHandshakes++;
  peer.sent = undefined;
  peer.waitingInitiation?.state.wipe();
  peer.waitingInitiation = undefined;
}

/** Exactly what Linux does: handshakes end, `current` and `next` seal no more, but all keypairs still open. */
function expireSending(context: Context, epoch: number): Ended {
  const ended: Ended = { wipedKeypairs: 0, wipedHandshakes: 0 };
  context.cookies.wipe();
  for (const peer of context.peers.values()) {
    if (peer.sent || peer.waitingInitiation) ended.wipedHandshakes++;
    endHandshakes(context, peer);
    forgetHandshakeTimes(peer);
    peer.retransmitAt = Number.POSITIVE_INFINITY;
    const { previous, current, next } = peer.keypairs;
    for (const keypair of [previous, current, next]) {
      if (!keypair) continue;
      if (keypair !== previous && keypair.sendEpoch !== NO_EPOCH) ended.wipedKeypairs++;
      keypair.sendKey.fill(0);
      keypair.sendEpoch = NO_EPOCH;
      keypair.receiveEpoch = epoch;
    }
    if (peer.staged.length > 0) callSoon(context, peer);
  }
  context.suite.forget();
  return ended;
}

function hold(context: Context): void {
  context.held = true;
  context.waiting.clear();
  context.deadlines.clear();
  for (const peer of context.peers.values()) {
    peer.staged.clear();
    peer.persistentAt = Number.POSITIVE_INFINITY;
  }
}

// Else REKEY_TIMEOUT since the last handshake, which was the sibling's as well, would hold up the new one.
function forgetHandshakeTimes(peer: Peer): void {
  peer.lastSentHandshake = Number.NEGATIVE_INFINITY;
  peer.cookieReceivedAt = Number.NEGATIVE_INFINITY;
  forgetAttempts(peer);
}

function forgetAttempts(peer: Peer): void {
  peer.handshakeAttempts = 0;
  peer.sentLastMinuteHandshake = false;
}
