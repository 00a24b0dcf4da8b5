// The receiving path, from a datagram to a delivered packet.
// Promises: nothing changes that authentication did not earn; whatever is refused is counted by its reason. What is lost
// because the cipher threw was not refused, and is not counted.
// Read on: WireGuard paper 5.4.6, 6.5; Linux drivers/net/wireguard/receive.c.

import { type Memory, addressOf, bytesOf } from '../native/room.js';
import {
  KEEPALIVE_TIMEOUT_MS,
  REJECT_AFTER_TIME_MS,
  REKEY_TIMEOUT_MS,
  TRANSPORT_DATA,
} from '../protocol/constants.js';
import type { Keypair } from '../protocol/keypair.js';
import { TRANSPORT, messageType, readU32 } from '../protocol/messages.js';
import {
  BAD_TAG,
  REPLAYED_COUNTER,
  REUSED_COUNTER,
  beginOpening,
  finishOpening,
} from '../protocol/transport.js';
import { NO_EPOCH } from '../vmgenid/generation.js';
import { proveAdmission } from './admission.js';
import type { Context } from './context.js';
import type { Drop } from './drops.js';
import { enter } from './fork-response.js';
import type { GatheredMessage } from './gathered.js';
import { endSentInitiation } from './in-flight.js';
import type { IndexEntry, Peer } from './peer.js';
import type { Endpoint } from './ports.js';
import { consumeHandshake, queueHandshake } from './receive-handshakes.js';
import { roam } from './roam.js';
import { authenticatedPacketReceived, dataReceived, handshakeComplete } from './timers.js';
import { touchGathered } from './touch.js';
import { peerCloned } from './tripwire.js';
import { Wish } from './wishes.js';

/** What a datagram turned out to be, or why it was dropped. */
export type ReceiveResult = 'data' | 'keepalive' | 'handshake' | 'cookie' | Drop;

/** Paper 6.5. The age at which the initiator, receiving, asks for new keys before the old ones end. Milliseconds. */
const REKEY_ON_RECEIVE_MS = REJECT_AFTER_TIME_MS - KEEPALIVE_TIMEOUT_MS - REKEY_TIMEOUT_MS;

/**
 * Takes a datagram from the wire, and does at once what it asks for. Data is decrypted in place: the content of `datagram`
 * is undefined afterwards.
 */
export function receiveDatagram(context: Context, datagram: Uint8Array, from: Endpoint): ReceiveResult {
  openGathered(context);
  const type = messageType(datagram);
  if (type === undefined) return context.drops.drop('malformed');
  if (type !== TRANSPORT_DATA) return consumeHandshake(context, type, datagram, from, enter(context));
  context.gathered.put(datagram, from);
  return openGathered(context) as ReceiveResult;
}

/**
 * As `receiveDatagram`, but data may wait to be opened with what comes behind it, until the turn is over: so long the
 * datagram must stay as it is. A handshake message is copied, and waits for `consumeQueued`: so data before it finds the
 * keys that it was sealed under, and data behind it loses no time.
 */
export function gatherDatagram(context: Context, memory: Memory, from: Endpoint): void {
  const datagram = bytesOf(memory);
  const type = messageType(datagram);
  if (type === undefined) context.drops.drop('malformed');
  else if (type !== TRANSPORT_DATA) queueHandshake(context, type, datagram, from);
  else {
    if (context.gathered.isFull) openGathered(context);
    context.gathered.put(memory, from);
  }
}

/** Opens what was gathered, in its order. Returns what the first of it turned out to be. */
export function openGathered(context: Context): ReceiveResult | undefined {
  const { gathered } = context;
  if (gathered.size === 0) return undefined;
  let first: ReceiveResult | undefined;
  try {
    openAll(context);
    for (let i = 0; i < gathered.size; i++) {
      const message = gathered.at(i);
      const result = message.refused ?? consumeData(context, message);
      first ??= result;
    }
  } finally {
    // Even if the opener threw: whoever gave them may use their memory again when the turn is over.
    gathered.clear();
  }
  return first;
}

/**
 * Opens all that is gathered, step by step for all of it: with one message after the other each would wait for memory by
 * itself, and of very many peers hardly anything is in a cache (docs/performance.md "Very many peers").
 */
function openAll(context: Context): void {
  const { gathered, indices } = context;
  const epoch = enter(context);
  for (let i = 0; i < gathered.size; i++) {
    const message = gathered.at(i);
    message.entry = indices.lookup(readU32(message.datagram, TRANSPORT.receiver));
  }
  touchGathered(context);
  try {
    for (let i = 0; i < gathered.size; i++) {
      const message = gathered.at(i);
      message.refused = beginData(context, message, epoch);
    }
  } finally {
    // Even if that failed: an opener that kept some of them would write where other datagrams lie by then.
    gathered.opener.settle();
  }
}

/** Gives a message to the opener, or tells why not. */
function beginData(context: Context, message: GatheredMessage, epoch: number): Drop | undefined {
  const { drops, gathered, turn } = context;
  const keypair = message.entry?.keypair;
  message.keypair = keypair;
  if (epoch === NO_EPOCH) return drops.drop('staleEpoch');
  if (context.held) return drops.drop('held');
  if (!keypair) return drops.drop('unknownIndex');
  if (keypair.receiveEpoch !== epoch) return drops.drop('staleEpoch');
  if (turn.now - keypair.createdAt >= REJECT_AFTER_TIME_MS) return drops.drop('expiredKeypair');
  message.place = beginOpening(gathered.opener, keypair, message.memory);
  return message.place === REPLAYED_COUNTER ? drops.drop('replayedCounter') : undefined;
}

function consumeData(context: Context, message: GatheredMessage): ReceiveResult {
  const { datagram, memory, from, place } = message;
  const { drops, wishes } = context;
  const { now } = context.turn;
  const { peer } = message.entry as IndexEntry;
  const keypair = message.keypair as Keypair;
  // A message before this one may have ended the session.
  if (!peer.keypairs.has(keypair)) return drops.drop('unknownIndex');
  const length = finishOpening(context.gathered.opener, place, keypair, datagram);
  if (length === BAD_TAG) return drops.drop('badTag');
  if (length === REPLAYED_COUNTER) return drops.drop('replayedCounter');
  if (length === REUSED_COUNTER) return peerCloned(context, peer, datagram, from, now);

  if (peer.isProvisional) {
    const refused = proveAdmission(context, peer);
    if (refused) return refused;
  }
  // From here on the datagram is the peer's.
  peer.rxBytes += datagram.length;
  roam(context, peer, from);
  // Before anything is sent: what is sent now waits for an answer of its own.
  authenticatedPacketReceived(context, peer, now);
  if (peer.keypairs.confirm(keypair)) {
    // Linux has one handshake per peer, and ours has given way to the peer's: no late response revives it.
    endSentInitiation(context, peer);
    handshakeComplete(context, peer);
    const afterForkMs = context.recovery.back(peer, keypair.sendEpoch, now);
    context.emit({ type: 'handshakeComplete', peer: peer.publicKey, role: 'responder', afterForkMs });
    wishes.add(peer, Wish.flush);
  }
  rekeyBeforeTheEnd(context, peer, now);
  if (length === 0) return 'keepalive';
  dataReceived(context, peer, now);
  return deliver(context, peer, datagram, length, addressOf(memory));
}

/** Strips the padding, and has the packet handed out if its source address is the peer's. */
function deliver(
  context: Context,
  peer: Peer,
  datagram: Uint8Array,
  length: number,
  address: number,
): ReceiveResult {
  const packetLength = innerLength(datagram, TRANSPORT.packet, length);
  if (packetLength === 0) return context.drops.drop('malformed');
  if (context.allowedIps.lookupSource(datagram, TRANSPORT.packet) !== peer) {
    return context.drops.drop('disallowedSource');
  }
  context.handout.packet(datagram, TRANSPORT.packet, packetLength, peer.publicKey, address);
  return 'data';
}

/** The length that an IP packet claims; 0 if it is no IP packet or claims more than there is. */
function innerLength(bytes: Uint8Array, at: number, available: number): number {
  const version = bytes[at] >> 4;
  if (version === 4 && available >= 20) {
    const total = (bytes[at + 2] << 8) | bytes[at + 3];
    return total >= 20 && total <= available ? total : 0;
  }
  if (version === 6 && available >= 40) {
    const total = 40 + ((bytes[at + 4] << 8) | bytes[at + 5]);
    return total <= available ? total : 0;
  }
  return 0;
}

// Linux receive.c keep_key_fresh(): once per keypair, and only by the initiator. It is the age of the keypair that
// sends which counts, whichever the packet came under.
function rekeyBeforeTheEnd(context: Context, peer: Peer, now: number): void {
  const keypair = peer.keypairs.current;
  if (peer.sentLastMinuteHandshake || !keypair?.isInitiator || keypair.sendEpoch !== context.epoch) return;
  if (now - keypair.createdAt < REKEY_ON_RECEIVE_MS) return;
  peer.sentLastMinuteHandshake = true;
  context.wishes.add(peer, Wish.handshake);
}
