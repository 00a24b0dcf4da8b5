// Handshakes in flight: starting them, answering them, ending them, and waiting until they may be made.
// Promises: no ephemeral key is drawn before the generation was read and the CRNG is fresh; a handshake of another
// epoch is never continued; each message passes the release gate.
// Read on: WireGuard paper 5.4; Linux send.c, noise.c.

import { secretBytes } from '../native/secret-bytes.js';
import {
  INITIATIONS_PER_SECOND,
  INITIATION_BYTES,
  REKEY_TIMEOUT_JITTER_MS,
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
import { considerStranger } from './admission.js';
import type { Context } from './context.js';
import { writeMacs } from './cookies.js';
import { draw, drawJitter } from './draw.js';
import type { Drop } from './drops.js';
import { enter } from './fork-response.js';
import { invariant } from './invariant.js';
import { TRANSPORT_KEYS_BYTES } from './keypairs.js';
import { endSentInitiation, endWaitingInitiation } from './in-flight.js';
import type { IndexEntry, Peer } from './peer.js';
import type { Endpoint } from './ports.js';
import { roam } from './roam.js';
import {
  authenticatedPacketReceived,
  handshakeComplete,
  handshakeInitiated,
  sessionDerived,
} from './timers.js';
import { waitForFreshness } from './waiting.js';
import { Wish } from './wishes.js';

/** TAI64N timestamps are rounded to 16.8 ms: two initiations to one peer lie at least so far apart. Milliseconds. */
const TIMESTAMP_STEP_MS = 17;
const MIN_INITIATION_INTERVAL_MS = 1_000 / INITIATIONS_PER_SECOND;

/** Pushes an initiation to a peer, unless one was sent less than REKEY_TIMEOUT ago. */
export function initiateHandshake(context: Context, peer: Peer): void {
  // First of all, since a fork changes what the next lines look at: who we are, who is known, who may speak.
  const epoch = enter(context);
  const { local, clock, gate, turn } = context;
  if (!local || context.held || context.paused || !peer.endpoint) return;
  if (!hasStaticShared(context, local, peer)) return;
  if (turn.now - peer.lastSentHandshake < REKEY_TIMEOUT_MS) return;
  if (epoch === NO_EPOCH || !context.crng.isFresh()) return waitForFreshness(context, peer);

  endSentInitiation(context, peer);
  const storage = peer.handshakeStorage;
  const ephemeralPrivate = storage.subarray(SYMMETRIC_STATE_BYTES);
  const drawn = drawForHandshake(context, { peer, keypair: undefined }, ephemeralPrivate, epoch);
  if (!drawn) {
    storage.fill(0);
    return waitForFreshness(context, peer);
  }

  const { senderIndex } = drawn;
  // First: what throws from here on is tried again then.
  handshakeInitiated(context, peer, turn.now, drawn.jitterMs);
  peer.lastSentTimestampMs = Math.max(clock.wallClock(), peer.lastSentTimestampMs + TIMESTAMP_STEP_MS);
  const timestamp = tai64n(peer.lastSentTimestampMs);
  const output = gate.output(INITIATION_BYTES);
  let isMade = false;
  try {
    const input = { ephemeralPrivate, senderIndex, timestamp };
    const state = createInitiation(context.suite, local, peer, input, output.bytes, storage);
    // A peer whose key is a low-order point has no static shared secret either, and does not come so far.
    invariant(state !== undefined, 'a usable peer has a key to agree on others with');
    writeMacs(context, peer, output.bytes, epoch, turn.now);
    peer.inFlight = { state, index: senderIndex, epoch };
    isMade = true;
  } finally {
    if (!isMade) {
      gate.abandon(output);
      context.indices.remove(senderIndex);
      storage.fill(0);
    }
  }
  peer.lastSentHandshake = turn.now;
  context.waiting.delete(peer);
  gate.push(output, 'initiation', peer.endpoint, peer, epoch);
  context.emit({ type: 'handshakeInitiated', peer: peer.publicKey, attempt: peer.handshakeAttempts });
}

/** Consumes an initiation whose mac1 was right, and answers it. `epoch` was read before. */
export function consumeInitiation(
  context: Context,
  local: LocalIdentity,
  message: Uint8Array,
  from: Endpoint,
  epoch: number,
): 'handshake' | Drop {
  const { suite, drops } = context;
  const received = receiveInitiation(suite, local, message);
  if (!received) return drops.drop('badTag');
  const peer = context.peers.get(context.peerId(received.remotePublicKey));
  if (!peer || peer.isProvisional) return considerStranger(context, local, received, message.length, from);
  if (!hasStaticShared(context, local, peer)) {
    received.discard();
    return drops.drop('unknownPeer');
  }
  const consumed = received.verify(peer);
  if (!consumed) return drops.drop('badTag');
  return acceptInitiation(context, peer, consumed, message.length, from, epoch);
}

/** Goes on with an initiation of this peer's, unless it is a replay, or came too soon. */
export function acceptInitiation(
  context: Context,
  peer: Peer,
  consumed: ConsumedInitiation,
  bytes: number,
  from: Endpoint,
  epoch: number,
): 'handshake' | Drop {
  const { drops, turn } = context;
  const { now } = turn;
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
  peer.rxBytes += bytes;
  roam(context, peer, from);
  authenticatedPacketReceived(context, peer, now);
  endWaitingInitiation(peer);
  peer.waitingInitiation = { state: consumed, epoch };
  context.wishes.add(peer, Wish.respond);
  return 'handshake';
}

/** Pushes the answer to the initiation that was consumed, if there is fresh randomness. */
export function respond(context: Context, peer: Peer): void {
  const epoch = enter(context);
  const { waitingInitiation: waiting } = peer;
  // A fork has ended it since it was wished for: a sibling may answer it too, and the peer will send another.
  if (!waiting) return;
  if (waiting.epoch !== context.epoch) return endWaitingInitiation(peer);
  const putOff = () => {
    if (peer.waitingInitiation === waiting) waitForFreshness(context, peer);
  };
  if (epoch === NO_EPOCH || !context.crng.isFresh()) return putOff();
  const ephemeralPrivate = secretBytes(KEY_BYTES);
  const keys = secretBytes(TRANSPORT_KEYS_BYTES);
  const entry: IndexEntry = { peer, keypair: undefined };
  try {
    const drawn = drawForHandshake(context, entry, ephemeralPrivate, epoch);
    if (!drawn) return putOff();
    const { senderIndex } = drawn;
    const { gate, turn } = context;
    const { state } = waiting;
    peer.waitingInitiation = undefined;
    const output = gate.output(RESPONSE_BYTES);
    const transportKeys = { send: keys.subarray(0, KEY_BYTES), receive: keys.subarray(KEY_BYTES) };
    let isMade = false;
    try {
      const input = { ephemeralPrivate, senderIndex };
      const isAgreed = state.createResponse(input, peer, output.bytes, transportKeys);
      // An initiation with a low-order point, or of a peer whose key is one, was not consumed.
      invariant(isAgreed, 'who has proven itself has a key to agree on others with');
      writeMacs(context, peer, output.bytes, epoch, turn.now);
      isMade = true;
    } finally {
      if (!isMade) {
        gate.abandon(output);
        context.indices.remove(senderIndex);
      }
    }
    entry.keypair = peer.keypairs.install(keys, {
      createdAt: turn.now,
      epoch,
      localIndex: senderIndex,
      remoteIndex: state.remoteIndex,
      isInitiator: false,
      tripwire: context.settings.tripwire,
    });
    peer.lastSentHandshake = turn.now;
    sessionDerived(context, peer, turn.now);
    // Its initiation came from somewhere.
    gate.push(output, 'response', peer.endpoint as Endpoint, peer, epoch);
  } finally {
    ephemeralPrivate.fill(0);
    keys.fill(0);
  }
}

/** Consumes a response whose mac1 was right. `epoch` was read before: a clone never finishes its sibling's handshake. */
export function consumeResponse(
  context: Context,
  local: LocalIdentity,
  message: Uint8Array,
  from: Endpoint,
  epoch: number,
  now: number,
): 'handshake' | Drop {
  const { drops } = context;
  const localIndex = readU32(message, RESPONSE.receiver);
  const entry = context.indices.lookup(localIndex);
  if (!entry || entry.keypair) return drops.drop('unknownIndex');
  const { peer } = entry;
  const { inFlight } = peer;
  if (inFlight?.epoch !== epoch) return drops.drop('staleEpoch');

  const keys = secretBytes(TRANSPORT_KEYS_BYTES);
  const transportKeys = { send: keys.subarray(0, KEY_BYTES), receive: keys.subarray(KEY_BYTES) };
  try {
    if (!inFlight.state.consumeResponse(message, local, peer, transportKeys)) return drops.drop('badTag');
    peer.inFlight = undefined;
    entry.keypair = peer.keypairs.install(keys, {
      createdAt: now,
      epoch,
      localIndex,
      remoteIndex: readU32(message, RESPONSE.sender),
      isInitiator: true,
      tripwire: context.settings.tripwire,
    });
  } finally {
    keys.fill(0);
  }
  peer.rxBytes += message.length;
  roam(context, peer, from);
  authenticatedPacketReceived(context, peer, now);
  sessionDerived(context, peer, now);
  handshakeComplete(context, peer);
  const afterForkMs = context.recovery.back(peer, epoch, now);
  context.emit({ type: 'handshakeComplete', peer: peer.publicKey, role: 'initiator', afterForkMs });
  // The responder may not send before it has heard from us: what is staged, or a keepalive, confirms.
  context.wishes.add(peer, Wish.keepalive);
  return 'handshake';
}

interface Drawn {
  readonly senderIndex: number;
  readonly jitterMs: number;
}

/**
 * All that a handshake needs of randomness: an ephemeral key, an index that stands for `entry`, and what spreads its
 * retransmission and the handshake after it. Nothing, and nothing kept, when it has to wait, or when drawing has brought
 * to light a fork: then whoever heard of that may have changed anything.
 */
function drawForHandshake(
  context: Context,
  entry: IndexEntry,
  ephemeralPrivate: Uint8Array,
  epoch: number,
): Drawn | undefined {
  const { crng, indices, peers, local } = context;
  const { peer } = entry;
  if (!draw(crng, ephemeralPrivate)) return undefined;
  const jitterMs = drawJitter(crng, REKEY_TIMEOUT_JITTER_MS);
  // Linux draws it for each packet that follows an answer, which costs half as much as to seal the packet.
  const newHandshakeJitterMs = drawJitter(crng, REKEY_TIMEOUT_JITTER_MS);
  let senderIndex: number | undefined;
  try {
    senderIndex = indices.insert(entry, crng);
  } catch {
    return undefined;
  }
  const isAsBefore = context.epoch === epoch && context.local === local && peers.get(peer.id) === peer;
  if (!isAsBefore) {
    indices.remove(senderIndex);
    return undefined;
  }
  peer.newHandshakeJitterMs = newHandshakeJitterMs;
  return { senderIndex, jitterMs };
}

// Computed when first needed, not when the peer is added: a device may have many peers that never call.
function hasStaticShared(context: Context, local: LocalIdentity, peer: Peer): boolean {
  peer.usable ||= context.suite.sharedSecret(local.privateKey, peer.publicKey, peer.staticShared);
  return peer.usable;
}
