// What a device does when its machine was forked: by the notifier chain, or by its own look at the epoch.
// Promises: whoever notices first, the response runs once per epoch, and nothing of the old epoch can leave after it.
// Read on: Linux drivers/net/wireguard/device.c wg_vm_notification().

import { KEEPALIVE_TIMEOUT_MS, REKEY_TIMEOUT_MS } from '../protocol/constants.js';
import { NO_EPOCH } from '../vmgenid/generation.js';
import type { Context } from './context.js';
import { isSilencedByFork } from './events.js';
import { beginEnrolment } from './identity.js';
import { endHandshakes, endWaitingInitiation } from './in-flight.js';
import { invariant } from './invariant.js';
import { Timer } from './peer-times.js';
import type { Peer } from './peer.js';
import { endAdmissions } from './peers.js';
import type { Recovery } from './recovery.js';

/**
 * Reads the generation and, into `context.turn.now`, the clock, and responds if the machine was forked; once in a turn. The
 * first step of whatever uses a secret. Returns the epoch that this device is in, or NO_EPOCH when nothing vouches for it:
 * then whoever asks next looks again.
 */
export function enter(context: Context): number {
  const { turn } = context;
  if (turn.hasEntered) return context.epoch;
  const epoch = context.vmgenid.check();
  if (epoch !== NO_EPOCH) respondToFork(context, epoch);
  turn.now = context.clock.now();
  turn.hasEntered = epoch !== NO_EPOCH;
  return epoch;
}

export function respondToFork(context: Context, epoch: number): void {
  if (epoch === context.epoch) return;
  invariant(epoch > context.epoch, 'an epoch never goes back');
  const { forkPolicy } = context.settings;
  const isDrill = context.vmgenid.forkEpoch <= context.epoch;
  context.epoch = epoch;
  // After a drill we are who we were: no other has our key.
  const policy = isDrill && isSilencedByFork(forkPolicy) ? 'wipe' : forkPolicy;
  context.recovery.begin(epoch, context.clock.now());
  const ended: Ended = { wipedKeypairs: 0, wipedHandshakes: 0 };
  if (policy === 'enrol') beginEnrolment(context);
  try {
    if (policy === 'expire-sending') expireSending(context, epoch, ended);
    else wipe(context, ended, isSilencedByFork(policy) ? undefined : context.recovery);
  } finally {
    // Even if that failed: nobody comes here again in this epoch.
    if (isSilencedByFork(policy)) hold(context);
    context.emit({ type: 'vmFork', epoch, policy, ...(isDrill && { isDrill }), ...ended });
    endAdmissions(context);
  }
}

/**
 * A peer heard from or spoken to so recently is called anew after a wipe. It cannot know of the fork, and what it goes
 * on sending under the old keys is lost: by itself it would find out after just this time. Milliseconds.
 */
const RECENT_TRAFFIC_MS = KEEPALIVE_TIMEOUT_MS + REKEY_TIMEOUT_MS;

/** One that is kept in reach by persistent keepalives is called whenever those still ran: it cannot be heard before. */
function isTalking(peer: Peer, now: number): boolean {
  const { keypairs, lastTraffic, persistentKeepaliveMs } = peer;
  return keypairs.size > 0 && now - lastTraffic < Math.max(RECENT_TRAFFIC_MS, persistentKeepaliveMs + 1);
}

interface Ended {
  wipedKeypairs: number;
  wipedHandshakes: number;
}

/** Erases every session secret of the device, keeps identities and plaintext that waits, and has peers in conversation called. */
export function wipeSessions(context: Context): Ended {
  const ended: Ended = { wipedKeypairs: 0, wipedHandshakes: 0 };
  wipe(context, ended);
  return ended;
}

/** `recovery`: counts who is called, if anybody is to. */
function wipe(context: Context, ended: Ended, recovery?: Recovery): void {
  // Erase first, tidy up after: from here on there is nothing left to misuse.
  context.sessionSlab.eraseAll();
  try {
    context.suite.forget();
  } finally {
    // Even if that failed: keypairs whose keys and counters are zeros by now must not be there for the next packet.
    dropSessions(context, ended, recovery);
  }
}

function dropSessions(context: Context, ended: Ended, recovery: Recovery | undefined): void {
  const now = context.clock.now();
  context.cookies.wipe();
  context.indices.clear();
  context.deadlines.abandon();
  context.records.endSessions();
  for (const peer of context.peers.values()) tidyUp(context, peer, now, ended, recovery);
}

// A function of its own, and short: after the first fork of a process the walk is through before the engine would have
// compiled the loop around it.
function tidyUp(
  context: Context,
  peer: Peer,
  now: number,
  ended: Ended,
  recovery: Recovery | undefined,
): void {
  const { keypairs } = peer;
  const { size } = keypairs;
  const wasTalking = isTalking(peer, now);
  ended.wipedKeypairs += size;
  if (size > 0) keypairs.forget();
  if (peer.inFlight || peer.waitingInitiation) {
    ended.wipedHandshakes++;
    // What was sent lay in the slab, and its index was forgotten with all others.
    peer.inFlight = undefined;
    endWaitingInitiation(peer);
  }
  peer.needsAnotherKeepalive = false;
  if (peer.staged.length > 0 || wasTalking) {
    context.recalled.add(peer);
    recovery?.called(peer, context.epoch);
  }
  if (peer.persistentKeepaliveMs > 0) {
    peer.setTimer(Timer.persistent, Math.min(peer.timer(Timer.persistent), now + peer.persistentKeepaliveMs));
    context.deadlines.schedule(peer, peer.timer(Timer.persistent));
  }
}

/** Exactly what Linux does: handshakes end, `current` and `next` seal no more, but all keypairs still open. */
function expireSending(context: Context, epoch: number, ended: Ended): void {
  context.cookies.wipe();
  for (const peer of context.peers.values()) {
    if (peer.inFlight || peer.waitingInitiation) ended.wipedHandshakes++;
    endHandshakes(context, peer);
    forgetHandshakeTimes(peer);
    peer.setTimer(Timer.retransmit, Number.POSITIVE_INFINITY);
    const { previous, current, next } = peer.keypairs;
    for (const keypair of [previous, current, next]) {
      if (!keypair) continue;
      if (keypair !== previous && keypair.sendEpoch !== NO_EPOCH) ended.wipedKeypairs++;
      keypair.sendKey.fill(0);
      keypair.sendEpoch = NO_EPOCH;
      keypair.receiveEpoch = epoch;
    }
    if (peer.staged.length > 0) {
      context.recalled.add(peer);
      context.recovery.called(peer, epoch);
    }
  }
  context.suite.forget();
}

/** From here on the device says nothing, and what waited to be said is erased. */
export function hold(context: Context): void {
  context.held = true;
  context.wishes.clear();
  context.recalled.clear();
  context.waiting.clear();
  context.deadlines.clear();
  for (const peer of context.peers.values()) {
    peer.staged.clear();
    peer.setTimer(Timer.persistent, Number.POSITIVE_INFINITY);
  }
}

// Else REKEY_TIMEOUT since the last handshake, which was the sibling's as well, would hold up the new one.
function forgetHandshakeTimes(peer: Peer): void {
  peer.lastSentHandshake = Number.NEGATIVE_INFINITY;
  peer.cookieReceivedAt = Number.NEGATIVE_INFINITY;
}
