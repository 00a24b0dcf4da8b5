// Both ends of the cookie protocol: proving our address to a busy peer, and asking the same of others.
// Promises: a cookie is used only in the epoch it came in.
// Read on: WireGuard paper 5.4.7; Linux drivers/net/wireguard/cookie.c.

import { secretBytes } from '../native/secret-bytes.js';
import {
  COOKIE_LATENCY_MS,
  COOKIE_REPLY_BYTES,
  COOKIE_SECRET_MAX_AGE_MS,
  HANDSHAKE_INITIATION,
} from '../protocol/constants.js';
import {
  COOKIE_BYTES,
  cookieValue,
  createCookieReply,
  isMac1Valid,
  isMac2Valid,
  openCookieReply,
  writeMac1,
  writeMac2,
} from '../protocol/cookie.js';
import { COOKIE, INITIATION, RESPONSE, readU32 } from '../protocol/messages.js';
import { MAC_BYTES, XNONCE_BYTES } from '../protocol/suite.js';
import { NO_EPOCH } from '../vmgenid/generation.js';
import type { Context } from './context.js';
import type { MacKeys } from './cookie-jar.js';
import { draw } from './draw.js';
import type { Drop } from './drops.js';
import type { Peer } from './peer.js';
import type { Endpoint } from './ports.js';

// In hand while a message is looked at: in a flood there are very many.
const cookie = secretBytes(COOKIE_BYTES);
const nonce = new Uint8Array(XNONCE_BYTES);

/** Writes both macs of a handshake message, and remembers mac1: a cookie reply is bound to it. */
export function writeMacs(
  context: Context,
  peer: Peer,
  message: Uint8Array,
  epoch: number,
  now: number,
): void {
  const { suite } = context;
  writeMac1(suite, peer.mac1Key, message);
  peer.lastMac1.set(message.subarray(message.length - 2 * MAC_BYTES, message.length - MAC_BYTES));
  peer.lastMac1Epoch = epoch;
  const usable = now - peer.cookieReceivedAt < COOKIE_SECRET_MAX_AGE_MS - COOKIE_LATENCY_MS;
  if (usable && peer.cookieEpoch === epoch) writeMac2(suite, peer.cookie, message);
}

/**
 * Whether an initiation proves its address by our cookie, within its rate, while so many wait that this counts. Call once
 * for a message: it is counted. No cookie is given to whoever has none.
 */
export function isAdmitted(context: Context, message: Uint8Array, from: Endpoint): boolean {
  const { suite, cookies, handshakeQueue, load } = context;
  if (!load.isLoad(handshakeQueue.length) || !hasMac2(message)) return false;
  const { now } = context.turn;
  const secret = cookies.currentSecret(context.epoch, now);
  if (!secret) return false;
  try {
    cookieValue(suite, secret, from.ip, from.port, cookie);
    return isMac2Valid(suite, cookie, message) && cookies.rateLimiter.allow(from.ip, now);
  } finally {
    cookie.fill(0);
  }
}

/**
 * Whether an initiation comes from where a peer is or was, while so many wait that this counts. It proves nothing,
 * so that it is only a place in the queue, and at a rate of its own: whoever forges such an address takes none of those
 * that a cookie gets.
 */
export function isFromPeer({ cookies, handshakeQueue, load, turn }: Context, from: Endpoint): boolean {
  if (!from.isPeers || !load.isLoad(handshakeQueue.length)) return false;
  return cookies.peersRateLimiter.allow(from.ip, turn.now);
}

/** A message that was made without a cookie has zeros there. */
function hasMac2(message: Uint8Array): boolean {
  for (let at = message.length - MAC_BYTES; at < message.length; at++) if (message[at] !== 0) return true;
  return false;
}

/**
 * The doorman of handshake messages: mac1 always; under load also a cookie and the rate limit, unless these were found
 * right (`admitted`) when it came. Answers with a cookie reply where one is missing. `undefined`: let it in.
 */
export function refuseAtDoor(
  context: Context,
  own: MacKeys,
  message: Uint8Array,
  from: Endpoint,
  epoch: number,
  now: number,
  admitted: boolean,
): Drop | undefined {
  const { suite, cookies, drops, handshakeQueue } = context;
  if (!isMac1Valid(suite, own.mac1Key, message)) return drops.drop('badMac1');
  if (!context.load.isUnderLoad(handshakeQueue.length, now) || admitted) return undefined;
  const secret = cookies.secret(context.crng, epoch, now);
  if (!secret) return drops.drop('underLoad');
  try {
    cookieValue(suite, secret, from.ip, from.port, cookie);
    if (isMac2Valid(suite, cookie, message)) {
      return cookies.rateLimiter.allow(from.ip, now) ? undefined : drops.drop('underLoad');
    }
    sendCookieReply(context, message, from, own.cookieKey, epoch);
  } finally {
    cookie.fill(0);
  }
  return drops.drop('underLoad');
}

function sendCookieReply(
  context: Context,
  message: Uint8Array,
  to: Endpoint,
  key: Uint8Array,
  epoch: number,
): void {
  // Whoever heard of a fork while it was drawn may have come by here himself, with another cookie in hand.
  if (!draw(context.crng, nonce) || context.epoch !== epoch) return;
  const fields = message[0] === HANDSHAKE_INITIATION ? INITIATION : RESPONSE;
  const output = context.gate.output(COOKIE_REPLY_BYTES);
  const input = {
    receiverIndex: readU32(message, fields.sender),
    cookieKey: key,
    cookie,
    nonce,
    mac1: message.subarray(fields.mac1, fields.mac1 + MAC_BYTES),
  };
  createCookieReply(context.suite, input, output.bytes);
  context.gate.push(output, 'cookie', to, undefined, epoch);
}

/** Takes a cookie that a busy peer sent: the next handshake message carries its mac2. Never moves an endpoint. */
export function consumeCookieReply(
  context: Context,
  message: Uint8Array,
  epoch: number,
  now: number,
): 'cookie' | Drop {
  const { drops } = context;
  const peer = context.indices.lookup(readU32(message, COOKIE.receiver))?.peer;
  if (!peer) return drops.drop('unknownIndex');
  // Nothing of ours waits for a cookie: none was sent, or it had its cookie, and this is a replay.
  if (peer.lastMac1Epoch === NO_EPOCH) return drops.drop('unknownIndex');
  if (peer.lastMac1Epoch !== epoch) return drops.drop('staleEpoch');
  const cookie = openCookieReply(context.suite, peer.cookieKey, message, peer.lastMac1);
  if (!cookie) return drops.drop('badTag');
  peer.cookie.set(cookie);
  cookie.fill(0);
  peer.cookieReceivedAt = now;
  peer.cookieEpoch = epoch;
  peer.lastMac1Epoch = NO_EPOCH;
  context.emit({ type: 'cookieReceived', peer: peer.publicKey });
  return 'cookie';
}
