// Handshakes in flight: starting them, answering them, ending them, and waiting until they may be made.
// Promises: no ephemeral key is drawn before the generation was read and the CRNG is fresh; a handshake of another
// epoch is never continued; each message passes the release gate.
// Read on: WireGuard paper 5.4; Linux send.c, noise.c.

import { secretBytes } from '../native/secret-bytes.js';
import {
  INITIATIONS_PER_SECOND,
  INITIATION_BYTES,
  REKEY_TIMEOUT_MS,
  RESPONSE_BYTES,
} from '../protocol/constants.js';
import {
  type ConsumedInitiation,
  type LocalIdentity,
  createInitiation,
  receiveInitiation,
} from '../protocol/handshake.js';
import { RESPONSE, readU32 } from '../protocol/messages.js';
import { KEY_BYTES } from '../protocol/suite.js';
import { SYMMETRIC_STATE_BYTES } from '../protocol/symmetric-state.js';
import { isAfterTai64n, tai64n } from '../protocol/tai64n.js';
import { NO_EPOCH } from '../vmgenid/generation.js';
import type { Context } from './context.js';
import { writeMacs } from './cookies.js';
import { draw } from './draw.js';
import type { Drop } from './drops.js';
import { enter } from './fork-response.js';
import { TRANSPORT_KEYS_BYTES } from './keypairs.js';
import { type IndexEntry, type Peer, roam } from './peer.js';
import type { Endpoint } from './ports.js';
import { flushStaged, sendKeepalive } from './send.js';
import {
  authenticatedPacketReceived,
  handshakeComplete,
  handshakeInitiated,
  sessionDerived,
} from './timers.js';

/** After a fork many peers may wait: so many are called before datagrams get their turn again. */
const HANDSHAKES_PER_RETRY = 32;

/** TAI64N timestamps are rounded to 16.8 ms: two initiations to one peer lie at least so far apart. Milliseconds. */
const TIMESTAMP_STEP_MS = 17;
const MIN_INITIATION_INTERVAL_MS = 1_000 / INITIATIONS_PER_SECOND;

/** Sends an initiation to a peer, unless one was sent less than REKEY_TIMEOUT ago. Retries keep the attempt count. */
export function initiateHandshake(context: Context, peer: Peer, isRetry = false): void {
  if (!isRetry) peer.handshakeAttempts = 0;
  // First of all, since a fork changes what the next lines look at: who we are, who is known, who may speak.
  const epoch = enter(context);
  const { local, clock, gate } = context;
  if (!local || context.held || context.paused || !peer.endpoint) return;
  if (!hasStaticShared(context, local, peer)) return;
  const now = clock.now();
  if (now - peer.lastSentHandshake < REKEY_TIMEOUT_MS) return;
  if (epoch === NO_EPOCH || !context.crng.isFresh()) return waitForFreshness(context, peer);

  endSentInitiation(context, peer);
  const storage = peer.handshakeStorage;
  const ephemeralPrivate = storage.subarray(SYMMETRIC_STATE_BYTES);
  const senderIndex = draw(context, ephemeralPrivate)
    ? drawIndex(context, { peer, keypair: undefined })
    : undefined;
  if (senderIndex === undefined || context.epoch !== epoch) {
    // A fork, noticed while drawing, has wiped what was begun here.
    if (senderIndex !== undefined) context.indices.remove(senderIndex);
    storage.fill(0);
    return waitForFreshness(context, peer);
  }

  peer.lastSentTimestampMs = Math.max(clock.wallClock(), peer.lastSentTimestampMs + TIMESTAMP_STEP_MS);
  const timestamp = tai64n(peer.lastSentTimestampMs);
  const output = gate.output(INITIATION_BYTES);
  peer.sent = createInitiation(
    context.suite,
    local,
    peer,
    { ephemeralPrivate, senderIndex, timestamp },
    output.bytes,
    storage,
  );
  peer.sentIndex = senderIndex;
  peer.sentEpoch = epoch;
  peer.lastSentHandshake = now;
  context.waiting.delete(peer);
  writeMacs(context, peer, output.bytes, epoch, now);
  handshakeInitiated(context, peer, now);
  gate.push(output, 'initiation', peer.endpoint, peer, epoch);
  gate.flush();
  context.emit({ type: 'handshakeInitiated', peer: peer.publicKey, attempt: peer.handshakeAttempts });
}

/** Consumes an initiation whose mac1 was right, and answers it. `epoch` was read before. */
export function consumeInitiation(
  context: Context,
  message: Uint8Array,
  from: Endpoint,
  epoch: number,
  now: number,
): 'handshake' | Drop {
  const { local, suite, drops } = context;
  if (!local) return drops.drop('noPrivateKey');
  const received = receiveInitiation(suite, local, message);
  if (!received) return drops.drop('badTag');
  const peer = context.peers.get(context.peerId(received.remotePublicKey));
  if (!peer || !hasStaticShared(context, local, peer)) {
    received.discard();
    return drops.drop('unknownPeer');
  }
  const consumed = received.verify(peer);
  if (!consumed) return drops.drop('badTag');
  if (!isAfterTai64n(consumed.timestamp, peer.latestTimestamp)) {
    consumed.wipe();
    return drops.drop('replayedInitiation');
  }
  if (now - peer.lastConsumedInitiation < MIN_INITIATION_INTERVAL_MS) {
    consumed.wipe();
    return drops.drop('flooded');
  }
  peer.latestTimestamp.set(consumed.timestamp);
  peer.lastConsumedInitiation = now;
  peer.rxBytes += message.length;
  roam(context, peer, from);
  authenticatedPacketReceived(context, peer, now);
  respond(context, peer, consumed, epoch);
  return 'handshake';
}

/** Answers a consumed initiation, now or when there is fresh randomness. */
function respond(context: Context, peer: Peer, consumed: ConsumedInitiation, epoch: number): void {
  const { gate, clock } = context;
  endWaitingInitiation(peer);
  const ephemeralPrivate = secretBytes(KEY_BYTES);
  const keys = secretBytes(TRANSPORT_KEYS_BYTES);
  const entry: IndexEntry = { peer, keypair: undefined };
  try {
    const fresh = context.crng.isFresh() && draw(context, ephemeralPrivate);
    const senderIndex = fresh ? drawIndex(context, entry) : undefined;
    if (context.epoch !== epoch || !peer.endpoint) {
      // A fork has made this initiation one that a sibling may answer too: the peer will send another.
      if (senderIndex !== undefined) context.indices.remove(senderIndex);
      return consumed.wipe();
    }
    if (senderIndex === undefined) {
      peer.waitingInitiation = { state: consumed, epoch };
      return waitForFreshness(context, peer);
    }
    const now = clock.now();
    const output = gate.output(RESPONSE_BYTES);
    const transportKeys = { send: keys.subarray(0, KEY_BYTES), receive: keys.subarray(KEY_BYTES) };
    if (!consumed.createResponse({ ephemeralPrivate, senderIndex }, peer, output.bytes, transportKeys)) {
      context.indices.remove(senderIndex);
      context.drops.drop('badTag');
      return;
    }
    entry.keypair = peer.keypairs.install(keys, {
      createdAt: now,
      epoch,
      localIndex: senderIndex,
      remoteIndex: consumed.remoteIndex,
      isInitiator: false,
      tripwire: context.tripwire,
    });
    peer.lastSentHandshake = now;
    writeMacs(context, peer, output.bytes, epoch, now);
    sessionDerived(context, peer, now);
    gate.push(output, 'response', peer.endpoint, peer, epoch);
    gate.flush();
  } finally {
    ephemeralPrivate.fill(0);
    keys.fill(0);
  }
}

/** Consumes a response whose mac1 was right. `epoch` was read before: a clone never finishes its sibling's handshake. */
export function consumeResponse(
  context: Context,
  message: Uint8Array,
  from: Endpoint,
  epoch: number,
  now: number,
): 'handshake' | Drop {
  const { local, drops } = context;
  if (!local) return drops.drop('noPrivateKey');
  const localIndex = readU32(message, RESPONSE.receiver);
  const entry = context.indices.lookup(localIndex);
  if (!entry || entry.keypair) return drops.drop('unknownIndex');
  const { peer } = entry;
  if (!peer.sent || peer.sentEpoch !== epoch) return drops.drop('staleEpoch');

  const keys = secretBytes(TRANSPORT_KEYS_BYTES);
  const transportKeys = { send: keys.subarray(0, KEY_BYTES), receive: keys.subarray(KEY_BYTES) };
  try {
    if (!peer.sent.consumeResponse(message, local, peer, transportKeys)) return drops.drop('badTag');
    peer.sent = undefined;
    entry.keypair = peer.keypairs.install(keys, {
      createdAt: now,
      epoch,
      localIndex,
      remoteIndex: readU32(message, RESPONSE.sender),
      isInitiator: true,
      tripwire: context.tripwire,
    });
  } finally {
    keys.fill(0);
  }
  peer.rxBytes += message.length;
  roam(context, peer, from);
  authenticatedPacketReceived(context, peer, now);
  sessionDerived(context, peer, now);
  handshakeComplete(context, peer);
  context.emit({ type: 'handshakeComplete', peer: peer.publicKey, role: 'initiator' });
  // The responder may not send before it has heard from us: what is staged, or a keepalive, confirms.
  sendKeepalive(context, peer);
  return 'handshake';
}

/** Makes the handshakes that had to wait, as far as they may be made now, and sends what waits for none. */
export function retryWaiting(context: Context): void {
  if (context.waiting.size === 0 || enter(context) !== context.epoch || !context.crng.isFresh()) return;
  let room = HANDSHAKES_PER_RETRY;
  for (const peer of Array.from(context.waiting.keys())) {
    if (room-- === 0) return;
    context.waiting.delete(peer);
    const waiting = peer.waitingInitiation;
    if (waiting?.epoch === context.epoch) {
      peer.waitingInitiation = undefined;
      respond(context, peer, waiting.state, waiting.epoch);
    } else if (peer.staged.length > 0) {
      flushStaged(context, peer);
    } else {
      initiateHandshake(context, peer);
    }
  }
}

/** Ends the handshakes of a peer, in both roles. */
export function endHandshakes(context: Context, peer: Peer): void {
  endSentInitiation(context, peer);
  endWaitingInitiation(peer);
}

/** Ends the handshake that we started, if one is in flight. */
export function endSentInitiation(context: Context, peer: Peer): void {
  if (!peer.sent) return;
  peer.sent.wipe();
  peer.sent = undefined;
  context.indices.remove(peer.sentIndex);
}

function endWaitingInitiation(peer: Peer): void {
  peer.waitingInitiation?.state.wipe();
  peer.waitingInitiation = undefined;
}

/** Has `retryWaiting` call this peer the next time that timers run. */
export function callSoon(context: Context, peer: Peer): void {
  if (!context.paused && !context.waiting.has(peer)) context.waiting.set(peer, false);
}

/** Has `retryWaiting` look after this peer, when the generation can be read and the randomness is fresh. */
export function waitForFreshness(context: Context, peer: Peer): void {
  if (context.held || context.waiting.get(peer) || context.peers.get(peer.id) !== peer) return;
  context.waiting.set(peer, true);
  context.emit({ type: 'waitingForFreshness', peer: peer.publicKey });
}

/** A random index, unique in this device; `undefined` where the CRNG has to wait. */
function drawIndex(context: Context, entry: IndexEntry): number | undefined {
  try {
    return context.indices.insert(entry, context.crng);
  } catch {
    return undefined;
  }
}

// Computed when first needed, not when the peer is added: a device may have many peers that never call.
function hasStaticShared(context: Context, local: LocalIdentity, peer: Peer): boolean {
  peer.usable ||= context.suite.sharedSecret(local.privateKey, peer.publicKey, peer.staticShared);
  return peer.usable;
}
