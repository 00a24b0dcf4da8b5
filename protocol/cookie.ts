// mac1, mac2 and the cookie reply: how a handshake message shows that it knows our public key, and under load that
// its sender owns its address. Pure computation; ages of secrets and cookies are the caller's to watch.
// Promises: comparison in constant time; a peer's malformed message is `false` or `undefined`, never an exception.
// Read on: WireGuard paper 5.4.4 and 5.4.7; Linux drivers/net/wireguard/cookie.c.

import { equalBytes, wipe } from '../native/bytes.js';
import { secretBytes } from '../native/secret-bytes.js';
import { COOKIE_REPLY, COOKIE_REPLY_BYTES } from './constants.js';
import { ProtocolError } from './errors.js';
import { COOKIE, messageType, writeU32 } from './messages.js';
import { HASH_BYTES, MAC_BYTES, type Suite } from './suite.js';

/** Bytes of a cookie. */
export const COOKIE_BYTES = 16;

// Both MACs end a handshake message: mac1 covers all before it, mac2 all before itself, mac1 included.
const MACS_BYTES = 2 * MAC_BYTES;

const text = new TextEncoder();
const LABEL_MAC1 = text.encode('mac1----');
const LABEL_COOKIE = text.encode('cookie--');

const expected = secretBytes(MAC_BYTES);
const portBytes = new Uint8Array(2);

/** The key of every mac1 sent to the owner of `publicKey`: 32 bytes, worth keeping. */
export function mac1Key(suite: Suite, publicKey: Uint8Array): Uint8Array {
  return labelled(suite, LABEL_MAC1, publicKey);
}

/** The key of every cookie reply sent by the owner of `publicKey`: 32 bytes, worth keeping. */
export function cookieKey(suite: Suite, publicKey: Uint8Array): Uint8Array {
  return labelled(suite, LABEL_COOKIE, publicKey);
}

function labelled(suite: Suite, label: Uint8Array, publicKey: Uint8Array): Uint8Array {
  const key = new Uint8Array(HASH_BYTES);
  suite.hash(key, label, publicKey);
  return key;
}

/** Fills in the mac1 of a handshake message. `key` is the receiver's {@link mac1Key}. */
export function writeMac1(suite: Suite, key: Uint8Array, message: Uint8Array): void {
  writeMac(suite, key, message, MACS_BYTES);
}

/** Whether the mac1 of a handshake message was made for us. `key` is our own {@link mac1Key}. */
export function isMac1Valid(suite: Suite, key: Uint8Array, message: Uint8Array): boolean {
  return isMacValid(suite, key, message, MACS_BYTES);
}

/** Fills in the mac2 of a handshake message, after its mac1. `cookie` is the one last received (16 bytes). */
export function writeMac2(suite: Suite, cookie: Uint8Array, message: Uint8Array): void {
  writeMac(suite, cookie, message, MAC_BYTES);
}

/** Whether the mac2 of a handshake message was made with this cookie, the {@link cookieValue} of its sender. */
export function isMac2Valid(suite: Suite, cookie: Uint8Array, message: Uint8Array): boolean {
  return isMacValid(suite, cookie, message, MAC_BYTES);
}

function writeMac(suite: Suite, key: Uint8Array, message: Uint8Array, fromEnd: number): void {
  if (message.length < MACS_BYTES) {
    throw new ProtocolError('ERR_LENGTH', `a message of ${message.length} bytes has no room for its MACs`);
  }
  const at = message.length - fromEnd;
  suite.mac(message.subarray(at, at + MAC_BYTES), key, message.subarray(0, at));
}

function isMacValid(suite: Suite, key: Uint8Array, message: Uint8Array, fromEnd: number): boolean {
  if (message.length < MACS_BYTES) return false;
  const at = message.length - fromEnd;
  suite.mac(expected, key, message.subarray(0, at));
  const valid = equalBytes(expected, message.subarray(at, at + MAC_BYTES));
  // What was expected is what a forger of this very message would like to know.
  wipe(expected);
  return valid;
}

/**
 * The cookie of a sender: a MAC under our changing secret (32 bytes) of its address (4 or 16 bytes) and its port, as
 * they stand in a UDP datagram. 16 bytes in `out`, the caller's to erase.
 */
export function cookieValue(
  suite: Suite,
  secret: Uint8Array,
  ip: Uint8Array,
  port: number,
  out: Uint8Array = secretBytes(COOKIE_BYTES),
): Uint8Array {
  portBytes[0] = port >>> 8;
  portBytes[1] = port;
  suite.mac(out, secret, ip, portBytes);
  return out;
}

/** What a cookie reply is made of. */
export interface CookieReplyInput {
  /** The sender index of the message that is answered. */
  readonly receiverIndex: number;
  /** Our own, by the function of that name. */
  readonly cookieKey: Uint8Array;
  /** The {@link cookieValue} of the one who is answered, 16 bytes. */
  readonly cookie: Uint8Array;
  /** 24 random bytes, never used before. */
  readonly nonce: Uint8Array;
  /** The mac1 of the message that is answered, 16 bytes: it ties the reply to it. */
  readonly mac1: Uint8Array;
}

/** A cookie reply, in `message` (64 bytes). */
export function createCookieReply(
  suite: Suite,
  input: CookieReplyInput,
  message: Uint8Array = new Uint8Array(COOKIE_REPLY_BYTES),
): Uint8Array {
  writeU32(message, 0, COOKIE_REPLY);
  writeU32(message, COOKIE.receiver, input.receiverIndex);
  message.set(input.nonce, COOKIE.nonce);
  message.set(suite.sealX(input.cookieKey, input.nonce, input.cookie, input.mac1), COOKIE.cookie);
  return message;
}

/**
 * The cookie (16 bytes, the caller's to erase) in a reply to the message whose mac1 was `lastMac1`; `undefined` when
 * it is no cookie reply or not authentic. `cookieKey` is the replier's, by the function of
 * that name.
 */
export function openCookieReply(
  suite: Suite,
  cookieKey: Uint8Array,
  message: Uint8Array,
  lastMac1: Uint8Array,
): Uint8Array | undefined {
  if (messageType(message) !== COOKIE_REPLY) return undefined;
  const nonce = message.subarray(COOKIE.nonce, COOKIE.cookie);
  return suite.openX(cookieKey, nonce, message.subarray(COOKIE.cookie), lastMac1);
}
