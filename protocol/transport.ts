// Sealing and opening data messages, in caller-given buffers, without an allocation.
// Promises: the plaintext is copied before the counter is spent, the counter is spent before the cipher sees it, and a
// counter is marked as received only after its tag was right. Both go by batches: begun one by one, done together.
// Whether the result may leave is the release gate's word.
// Read on: WireGuard paper 5.4.6; RFC 6479.

import { type Memory, bytesOf } from '../native/room.js';
import {
  PADDING_BYTES,
  TRANSPORT_DATA,
  TRANSPORT_HEADER_BYTES,
  TRANSPORT_OVERHEAD_BYTES,
} from './constants.js';
import type { Keypair } from './keypair.js';
import { TRANSPORT, readU32, writeU32 } from './messages.js';
import { type Opener, type Sealer, TAG_BYTES } from './suite.js';

/** `sealPacket` answers this when the keypair has no counter left. */
export const COUNTER_EXHAUSTED = -1;
/** `finishOpening` answers these for a message that is not to be believed, `beginOpening` the second. */
export const BAD_TAG = -1;
/** The message was accepted before, or is older than the window. */
export const REPLAYED_COUNTER = -2;
/** Authentic, but not the message that was accepted under this counter: the sender used a nonce twice. */
export const REUSED_COUNTER = -3;

/**
 * The length of a packet once padded: a multiple of 16, but never above `mtu`. A packet longer than the MTU is padded
 * as its last MTU-sized piece would be; an MTU of 0 bounds nothing (Linux send.c calculate_skb_padding).
 */
export function paddedLength(length: number, mtu: number): number {
  const lastUnit = mtu > 0 && length > mtu ? length % mtu : length;
  // Up to a multiple of the padding, which is a power of two.
  const padded = (lastUnit + PADDING_BYTES - 1) & -PADDING_BYTES;
  return length - lastUnit + (mtu > 0 && padded > mtu ? mtu : padded);
}

/** Bytes of the data message that carries a packet of this padded length. */
export function messageLength(padded: number): number {
  return TRANSPORT_HEADER_BYTES + padded + TAG_BYTES;
}

/**
 * Writes the data message for `packet` (empty: a keepalive) to the start of `to`, which has `messageLength(padded)`
 * bytes or more. It is sealed when the sealer has settled. Returns its length, or COUNTER_EXHAUSTED.
 */
export function sealPacket(
  sealer: Sealer,
  keypair: Keypair,
  packet: Uint8Array,
  padded: number,
  to: Memory,
): number {
  const out = bytesOf(to);
  // From here on nobody else can change what is sealed.
  out.set(packet, TRANSPORT.packet);
  for (let i = packet.length; i < padded; i++) out[TRANSPORT.packet + i] = 0;
  const { counter } = keypair;
  if (!counter.spend()) return COUNTER_EXHAUSTED;
  writeU32(out, 0, TRANSPORT_DATA);
  writeU32(out, TRANSPORT.receiver, keypair.remoteIndex);
  writeU32(out, TRANSPORT.counter, counter.low);
  writeU32(out, TRANSPORT.counter + 4, counter.high);
  sealer.seal(keypair.sendKey, counter.low, counter.high, to, TRANSPORT.packet, padded);
  return messageLength(padded);
}

/**
 * Hands a data message to the opener. Returns its place there, for
 * `finishOpening` when the opener has settled; or REPLAYED_COUNTER for one that is not worth the cipher.
 */
export function beginOpening(opener: Opener, keypair: Keypair, datagram: Memory): number {
  const message = bytesOf(datagram);
  const low = readU32(message, TRANSPORT.counter);
  const high = readU32(message, TRANSPORT.counter + 4);
  // The same tag: the same message again. Another: a forgery, or a nonce used twice.
  if (!keypair.replay.check(high, low) && !differsFromAccepted(keypair, message, high, low)) {
    return REPLAYED_COUNTER;
  }
  const sealed = message.length - TRANSPORT_HEADER_BYTES;
  return opener.open(keypair.receiveKey, low, high, datagram, TRANSPORT.packet, sealed);
}

/**
 * Judges a message that has been opened in place: the packet with its padding then begins at byte 16 of `message`.
 * Returns its length, BAD_TAG, REPLAYED_COUNTER or (where the keypair keeps tags) REUSED_COUNTER; then the content of
 * `message` must not be used.
 */
export function finishOpening(opener: Opener, place: number, keypair: Keypair, message: Uint8Array): number {
  if (!opener.isOpened(place)) return BAD_TAG;
  const low = readU32(message, TRANSPORT.counter);
  const high = readU32(message, TRANSPORT.counter + 4);
  // The look before the cipher saved work; this one, at what is authentic, marks.
  if (!keypair.replay.accept(high, low)) {
    return differsFromAccepted(keypair, message, high, low) ? REUSED_COUNTER : REPLAYED_COUNTER;
  }
  keypair.receivedTags?.remember(high, low, tagOf(message));
  return message.length - TRANSPORT_OVERHEAD_BYTES;
}

/** Whether a message was accepted under this counter that had another tag, as far as that is known. */
function differsFromAccepted(keypair: Keypair, message: Uint8Array, high: number, low: number): boolean {
  const { replay, receivedTags } = keypair;
  return receivedTags !== undefined && replay.accepted(high, low) && receivedTags.of(low) !== tagOf(message);
}

/** Opening leaves the tag as it is. */
function tagOf(message: Uint8Array): number {
  return readU32(message, message.length - TAG_BYTES);
}
