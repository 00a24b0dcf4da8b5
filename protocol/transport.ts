// Sealing and opening data messages, in caller-given buffers, without an allocation.
// Promises: the plaintext is copied before the counter is spent, the counter is spent before the cipher sees it, and a
// counter is marked as received only after its tag was right. Whether the result may leave is the release gate's word.
// Read on: WireGuard paper 5.4.6; RFC 6479.

import { PADDING_BYTES, TRANSPORT_DATA, TRANSPORT_HEADER_BYTES } from './constants.js';
import type { Keypair } from './keypair.js';
import { TRANSPORT, readU32, writeU32 } from './messages.js';
import { type Suite, TAG_BYTES } from './suite.js';

/** `sealPacket` answers this when the keypair has no counter left. */
export const COUNTER_EXHAUSTED = -1;
/** `openPacket` answers these for a message that is not to be believed. */
export const BAD_TAG = -1;
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
 * Writes the data message for `packet` (empty: a keepalive) to the start of `out`, which has `messageLength(padded)`
 * bytes or more. Returns its length, or COUNTER_EXHAUSTED.
 */
export function sealPacket(
  suite: Suite,
  keypair: Keypair,
  packet: Uint8Array,
  padded: number,
  out: Uint8Array,
): number {
  // From here on nobody else can change what is sealed.
  out.set(packet, TRANSPORT.packet);
  for (let i = packet.length; i < padded; i++) out[TRANSPORT.packet + i] = 0;
  const { counter } = keypair;
  if (!counter.spend()) return COUNTER_EXHAUSTED;
  writeU32(out, 0, TRANSPORT_DATA);
  writeU32(out, TRANSPORT.receiver, keypair.remoteIndex);
  writeU32(out, TRANSPORT.counter, counter.low);
  writeU32(out, TRANSPORT.counter + 4, counter.high);
  suite.seal(keypair.sendKey, counter.low, counter.high, out, TRANSPORT.packet, padded);
  return messageLength(padded);
}

/**
 * Opens a data message in place: the packet with its padding then begins at byte 16 of `message`. Returns its length,
 * BAD_TAG, REPLAYED_COUNTER or (where the keypair keeps tags) REUSED_COUNTER; then the content of `message` must not be
 * used.
 */
export function openPacket(suite: Suite, keypair: Keypair, message: Uint8Array): number {
  const low = readU32(message, TRANSPORT.counter);
  const high = readU32(message, TRANSPORT.counter + 4);
  const { replay, receivedTags } = keypair;
  const sealed = message.length - TRANSPORT_HEADER_BYTES;
  const tag = readU32(message, message.length - TAG_BYTES);
  // A look before the cipher saves work; only the second look, after it, marks.
  const isReplay = !replay.check(high, low);
  // The same tag: the same message again, and not worth the cipher. Another: a forgery, or a nonce used twice.
  if (isReplay && !(receivedTags && replay.accepted(high, low) && receivedTags.of(low) !== tag)) {
    return REPLAYED_COUNTER;
  }
  if (!suite.open(keypair.receiveKey, low, high, message, TRANSPORT.packet, sealed)) return BAD_TAG;
  if (isReplay) return REUSED_COUNTER;
  if (!replay.accept(high, low)) return REPLAYED_COUNTER;
  receivedTags?.remember(high, low, tag);
  return sealed - TAG_BYTES;
}
