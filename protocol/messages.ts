// Where each field of the four messages lies, and what a datagram claims to be.
// Promises: a message of any other length or with reserved bits set is not a message.
// Read on: WireGuard paper 5.4.2 - 5.4.7.

import {
  COOKIE_REPLY,
  COOKIE_REPLY_BYTES,
  HANDSHAKE_INITIATION,
  HANDSHAKE_RESPONSE,
  INITIATION_BYTES,
  RESPONSE_BYTES,
  TRANSPORT_DATA,
  TRANSPORT_OVERHEAD_BYTES,
} from './constants.js';

/**
 *  HandshakeInitiation (148)                     HandshakeResponse (92)
 *    0  type 1            4  senderIndex           0  type 2            4  senderIndex
 *    8  ephemeral (32)                             8  receiverIndex    12  ephemeral (32)
 *   40  static (32 + tag)                         44  empty (0 + tag)
 *   88  timestamp (12 + tag)                      60  mac1 (16)        76  mac2 (16)
 *  116  mac1 (16)       132  mac2 (16)
 *
 *  CookieReply (64)                              TransportData (32 + n)
 *    0  type 3            4  receiverIndex         0  type 4            4  receiverIndex
 *    8  nonce (24)       32  cookie (16 + tag)     8  counter (u64)    16  packet (n + tag)
 */
export const INITIATION = {
  sender: 4,
  ephemeral: 8,
  static: 40,
  timestamp: 88,
  mac1: 116,
  mac2: 132,
} as const;
/** Where the fields of a response begin, in bytes. WireGuard paper 5.4.3. */
export const RESPONSE = { sender: 4, receiver: 8, ephemeral: 12, empty: 44, mac1: 60, mac2: 76 } as const;
/** Where the fields of a cookie reply begin, in bytes. WireGuard paper 5.4.7. */
export const COOKIE = { receiver: 4, nonce: 8, cookie: 32 } as const;
/** Where the fields of a data message begin, in bytes. WireGuard paper 5.4.6. */
export const TRANSPORT = { receiver: 4, counter: 8, packet: 16 } as const;

/** The four types of messages. */
export type MessageType =
  | typeof HANDSHAKE_INITIATION
  | typeof HANDSHAKE_RESPONSE
  | typeof COOKIE_REPLY
  | typeof TRANSPORT_DATA;

/** The type of a datagram, or `undefined` when it is none of the four (type, reserved bytes or length are wrong). */
export function messageType(datagram: Uint8Array): MessageType | undefined {
  const { length } = datagram;
  if (length < 4 || (datagram[1] | datagram[2] | datagram[3]) !== 0) return undefined;
  switch (datagram[0]) {
    case TRANSPORT_DATA:
      return length >= TRANSPORT_OVERHEAD_BYTES ? TRANSPORT_DATA : undefined;
    case HANDSHAKE_INITIATION:
      return length === INITIATION_BYTES ? HANDSHAKE_INITIATION : undefined;
    case HANDSHAKE_RESPONSE:
      return length === RESPONSE_BYTES ? HANDSHAKE_RESPONSE : undefined;
    case COOKIE_REPLY:
      return length === COOKIE_REPLY_BYTES ? COOKIE_REPLY : undefined;
    default:
      return undefined;
  }
}

/** Reads 32 bits, little-endian. */
export function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}

/** Writes 32 bits, little-endian. */
export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}
