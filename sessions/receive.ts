// The receiving path, from a datagram to a delivered packet.
// Promises: nothing changes that authentication did not earn; whatever is refused is counted by its reason. What is lost
// behind an exception, of a listener or of the cipher, was not refused, and is not counted.
// Read on: WireGuard paper 5.4.6, 6.5; Linux drivers/net/wireguard/receive.c.

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
import { enterForData } from './batch.js';
import type { Context } from './context.js';
import type { Drop } from './drops.js';
import { enter } from './fork-response.js';
import type { GatheredMessage } from './gathered.js';
import { endSentInitiation, initiateHandshake } from './handshakes.js';
import { type IndexEntry, type Peer, roam } from './peer.js';
import type { Endpoint } from './ports.js';
import { consumeHandshake, queueHandshake } from './receive-handshakes.js';
import { flushStaged } from './send.js';
import { authenticatedPacketReceived, dataReceived, handshakeComplete } from './timers.js';
import { touchGathered } from './touch.js';
import { peerCloned } from './tripwire.js';

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
  // Before it is put in: whoever hears of a fork may open what is gathered, and may gather more.
  const epoch = enterForData(context);
  openGathered(context);
  context.gathered.put(datagram, 0, from);
  return openGathered(context, epoch) as ReceiveResult;
}

/**
 * As `receiveDatagram`, but data may wait to be opened with what comes behind it, until `openGathered`: so long the
 * datagram must stay as it is. A handshake message is copied, and waits for `consumeQueued`: so data before it finds the
 * keys that it was sealed under, and data behind it loses no time. `address`: where the datagram lies in the memory of the
 * process, 0 if that is not known.
 */
export function gatherDatagram(
  context: Context,
  datagram: Uint8Array,
  from: Endpoint,
  address: number,
): void {
  const type = messageType(datagram);
  if (type === undefined) context.drops.drop('malformed');
  else if (type !== TRANSPORT_DATA) queueHandshake(context, type, datagram, from);
  else {
    if (context.gathered.isClosed) openGathered(context);
    context.gathered.put(datagram, address, from);
  }
}

/**
 * Opens what was gathered and hands it on, in its order. `epoch`: what `enterForData` has just said, if it was asked.
 * Returns what the first of it turned out to be.
 */
export function openGathered(context: Context, epoch?: number): ReceiveResult | undefined {
  const { gathered } = context;
  let first: ReceiveResult | undefined;
  let isDone = false;
  try {
    // Whoever was told of a message may have gathered another, which is opened next.
    for (let entered = epoch; gathered.size > 0; entered = undefined) {
      if (!gathered.isOpened) openAll(context, entered);
      for (let message = gathered.take(); message; message = gathered.take()) {
        const result = message.refused ?? consumeData(context, message, context.batch.now);
        first ??= result;
      }
    }
    isDone = true;
  } finally {
    // Somebody threw: the opener, or who was told of a message. The others are lost, since whoever gave them may use
    // their memory again.
    if (!isDone) gathered.clear();
  }
  return first;
}

/**
 * Opens all that is gathered, step by step for all of it: with one message after the other each would wait for memory by
 * itself, and of very many peers hardly anything is in a cache (docs/performance.md "Very many peers").
 */
function openAll(context: Context, entered: number | undefined): void {
  const { gathered, indices } = context;
  // First: whoever hears of a fork may open what is gathered himself, and then there is nothing left.
  const epoch = entered ?? enterForData(context);
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
    gathered.open();
  }
}

/** Gives a message to the opener, or tells why not. */
function beginData(context: Context, message: GatheredMessage, epoch: number): Drop | undefined {
  const { batch, drops, gathered } = context;
  const keypair = message.entry?.keypair;
  message.keypair = keypair;
  if (epoch === NO_EPOCH) return drops.drop('staleEpoch');
  if (context.held) return drops.drop('held');
  if (!keypair) return drops.drop('unknownIndex');
  if (keypair.receiveEpoch !== epoch) return drops.drop('staleEpoch');
  if (batch.now - keypair.createdAt >= REJECT_AFTER_TIME_MS) return drops.drop('expiredKeypair');
  message.place = beginOpening(gathered.opener, keypair, message.datagram, message.address);
  return message.place === REPLAYED_COUNTER ? drops.drop('replayedCounter') : undefined;
}

function consumeData(context: Context, message: GatheredMessage, now: number): ReceiveResult {
  const { datagram, address, from, place } = message;
  const { drops } = context;
  const { peer } = message.entry as IndexEntry;
  const keypair = message.keypair as Keypair;
  // A message before this one, or whoever heard of it, may have ended the session.
  if (context.held) return drops.drop('held');
  if (keypair.receiveEpoch !== context.epoch) return drops.drop('staleEpoch');
  if (!peer.keypairs.has(keypair)) return drops.drop('unknownIndex');
  const length = finishOpening(context.gathered.opener, place, keypair, datagram);
  if (length === BAD_TAG) return drops.drop('badTag');
  if (length === REPLAYED_COUNTER) return drops.drop('replayedCounter');
  if (length === REUSED_COUNTER) return peerCloned(context, peer, datagram, from, now);

  // From here on the datagram is the peer's.
  peer.rxBytes += datagram.length;
  roam(context, peer, from);
  // Before anything is sent: what is sent now waits for an answer of its own.
  authenticatedPacketReceived(context, peer, now);
  if (peer.keypairs.confirm(keypair)) {
    // Linux has one handshake per peer, and ours has given way to the peer's: no late response revives it.
    endSentInitiation(context, peer);
    handshakeComplete(context, peer);
    context.emit({ type: 'handshakeComplete', peer: peer.publicKey, role: 'responder' });
    flushStaged(context, peer);
  }
  rekeyBeforeTheEnd(context, peer, now);
  if (length === 0) return 'keepalive';
  dataReceived(context, peer, now);
  return deliver(context, peer, datagram, length, address);
}

/** Strips the padding, and delivers the packet if its source address is the peer's. */
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
  context.sink.deliverPacket(datagram, TRANSPORT.packet, packetLength, peer.publicKey, address);
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
  initiateHandshake(context, peer);
}
