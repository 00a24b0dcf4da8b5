// The receiving path, from a datagram to a delivered packet.
// Promises: nothing changes that authentication did not earn; whatever is refused is counted by its reason.
// Read on: WireGuard paper 5.4.6, 6.5; Linux drivers/net/wireguard/receive.c.

import {
  HANDSHAKE_INITIATION,
  HANDSHAKE_RESPONSE,
  KEEPALIVE_TIMEOUT_MS,
  REJECT_AFTER_TIME_MS,
  REKEY_TIMEOUT_MS,
  TRANSPORT_DATA,
} from '../protocol/constants.js';
import { TRANSPORT, messageType, readU32 } from '../protocol/messages.js';
import { BAD_TAG, REPLAYED_COUNTER, REUSED_COUNTER, openPacket } from '../protocol/transport.js';
import { NO_EPOCH } from '../vmgenid/generation.js';
import { enterForData } from './batch.js';
import type { Context } from './context.js';
import { consumeCookieReply, refuseAtDoor } from './cookies.js';
import type { Drop } from './drops.js';
import { enter } from './fork-response.js';
import { consumeInitiation, consumeResponse, endSentInitiation, initiateHandshake } from './handshakes.js';
import { type Peer, roam } from './peer.js';
import type { Endpoint } from './ports.js';
import { flushStaged } from './send.js';
import { authenticatedPacketReceived, dataReceived, handshakeComplete } from './timers.js';
import { peerCloned } from './tripwire.js';

/** What a datagram turned out to be, or why it was dropped. */
export type ReceiveResult = 'data' | 'keepalive' | 'handshake' | 'cookie' | Drop;

/** Paper 6.5. The age at which the initiator, receiving, asks for new keys before the old ones end. Milliseconds. */
const REKEY_ON_RECEIVE_MS = REJECT_AFTER_TIME_MS - KEEPALIVE_TIMEOUT_MS - REKEY_TIMEOUT_MS;

/** Takes a datagram from the wire. Data is decrypted in place: the content of `datagram` is undefined afterwards. */
export function receiveDatagram(context: Context, datagram: Uint8Array, from: Endpoint): ReceiveResult {
  const type = messageType(datagram);
  if (type === undefined) return context.drops.drop('malformed');
  if (type === TRANSPORT_DATA) return receiveData(context, datagram, from);
  // Read before anything is consumed: a clone must not go on with what its sibling holds too.
  const epoch = enter(context);
  if (epoch === NO_EPOCH) return context.drops.drop('staleEpoch');
  if (context.held) return context.drops.drop('held');
  const now = context.clock.now();
  switch (type) {
    case HANDSHAKE_INITIATION:
      return (
        refuseAtDoor(context, datagram, from, epoch, now) ??
        consumeInitiation(context, datagram, from, epoch, now)
      );
    case HANDSHAKE_RESPONSE:
      return (
        refuseAtDoor(context, datagram, from, epoch, now) ??
        consumeResponse(context, datagram, from, epoch, now)
      );
    default:
      return consumeCookieReply(context, datagram, epoch, now);
  }
}

function receiveData(context: Context, datagram: Uint8Array, from: Endpoint): ReceiveResult {
  const epoch = enterForData(context);
  if (epoch === NO_EPOCH) return context.drops.drop('staleEpoch');
  if (context.held) return context.drops.drop('held');
  return consumeData(context, datagram, from, epoch, context.batch.now);
}

function consumeData(
  context: Context,
  datagram: Uint8Array,
  from: Endpoint,
  epoch: number,
  now: number,
): ReceiveResult {
  const { drops } = context;
  const entry = context.indices.lookup(readU32(datagram, TRANSPORT.receiver));
  const keypair = entry?.keypair;
  if (!entry || !keypair) return drops.drop('unknownIndex');
  if (keypair.receiveEpoch !== epoch) return drops.drop('staleEpoch');
  if (now - keypair.createdAt >= REJECT_AFTER_TIME_MS) return drops.drop('expiredKeypair');
  const length = openPacket(context.suite, keypair, datagram);
  if (length === BAD_TAG) return drops.drop('badTag');
  if (length === REPLAYED_COUNTER) return drops.drop('replayedCounter');
  if (length === REUSED_COUNTER) return peerCloned(context, entry.peer, datagram, from, now);

  // From here on the datagram is the peer's.
  const { peer } = entry;
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
  return deliver(context, peer, datagram, length);
}

/** Strips the padding, and delivers the packet if its source address is the peer's. */
function deliver(context: Context, peer: Peer, datagram: Uint8Array, length: number): ReceiveResult {
  const packetLength = innerLength(datagram, TRANSPORT.packet, length);
  if (packetLength === 0) return context.drops.drop('malformed');
  if (context.allowedIps.lookupSource(datagram, TRANSPORT.packet) !== peer) {
    return context.drops.drop('disallowedSource');
  }
  context.sink.deliverPacket(
    datagram.subarray(TRANSPORT.packet, TRANSPORT.packet + packetLength),
    peer.publicKey,
    TRANSPORT.packet,
  );
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
