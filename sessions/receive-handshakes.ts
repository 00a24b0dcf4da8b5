// Handshake messages, from the datagram to what they change: queued where they arrive, consumed within a budget.
// Promises: the generation is read before a message is consumed; one that came in another epoch is not consumed, since a
// sibling may have it too; however many come, a turn has a bounded part of them.
// Read on: WireGuard paper 5.3; handshake-queue.ts; Linux drivers/net/wireguard/receive.c wg_receive_handshake_packet().

import { COOKIE_REPLY, HANDSHAKE_INITIATION, HANDSHAKE_RESPONSE } from '../protocol/constants.js';
import { COOKIE, type MessageType, RESPONSE, readU32 } from '../protocol/messages.js';
import { NO_EPOCH } from '../vmgenid/generation.js';
import type { Context } from './context.js';
import { consumeCookieReply, isAdmitted, isFromPeer, refuseAtDoor } from './cookies.js';
import type { Drop } from './drops.js';
import { enter } from './fork-response.js';
import { consumeInitiation, consumeResponse } from './handshakes.js';
import type { Endpoint } from './ports.js';

export type HandshakeType = Exclude<MessageType, 4>;

/**
 * What one turn spends on handshake messages, where a message that is thrown away costs 1: about a microsecond with the
 * fastest suite. The last of a turn may cost more than is left.
 */
export const HANDSHAKE_BUDGET = 256;
/** A cookie reply made or opened: three hashes and a cipher, and a datagram. */
const COOKIE_COST = 16;
/** A message that was opened, whatever it was: X25519 once. */
const OPENED_COST = 64;
/** A handshake that went on: X25519 three or four times. */
const HANDSHAKE_COST = 192;

/** Queues a copy of a handshake message for `consumeQueued`, unless it is thrown away here. */
export function queueHandshake(
  context: Context,
  type: HandshakeType,
  message: Uint8Array,
  from: Endpoint,
): void {
  const { handshakeQueue, drops } = context;
  // What came after a fork is not to pass for what came before it.
  const epoch = enter(context);
  let isQueued: boolean;
  if (type === HANDSHAKE_INITIATION) {
    const admitted = isAdmitted(context, message, from);
    const isExpected = admitted || isFromPeer(context, from);
    isQueued =
      (isExpected && handshakeQueue.putExpected(message, from, epoch, admitted)) ||
      handshakeQueue.putStranger(message, from, epoch, admitted);
  } else {
    // What nobody waits for costs a look, and takes no room.
    if (!isAwaited(context, type, message)) return void drops.drop('unknownIndex');
    isQueued = handshakeQueue.putExpected(message, from, epoch, false);
  }
  if (!isQueued) drops.drop('queueFull');
}

/** Consumes what is queued, as far as the budget of one turn goes. */
export function consumeQueued(context: Context): void {
  const { handshakeQueue, drops } = context;
  for (let left = HANDSHAKE_BUDGET; left > 0 && handshakeQueue.length > 0; ) {
    // Read before anything is consumed: a clone must not go on with what its sibling holds too.
    const epoch = enter(context);
    const queued = handshakeQueue.take();
    if (!queued) return;
    try {
      const { message, from } = queued;
      const type = message[0] as HandshakeType;
      const isStale = queued.epoch !== epoch;
      left -= costOf(
        isStale
          ? drops.drop('staleEpoch')
          : consumeHandshake(context, type, message, from as Endpoint, epoch, queued.isAdmitted),
      );
    } finally {
      handshakeQueue.recycle(queued);
    }
  }
}

/** Consumes a handshake message. `epoch` was read before. */
export function consumeHandshake(
  context: Context,
  type: HandshakeType,
  message: Uint8Array,
  from: Endpoint,
  epoch: number,
  admitted = false,
): 'handshake' | 'cookie' | Drop {
  const { drops, local } = context;
  if (epoch === NO_EPOCH) return drops.drop('staleEpoch');
  if (context.held) return drops.drop('held');
  const { now } = context.turn;
  if (type === COOKIE_REPLY) return consumeCookieReply(context, message, epoch, now);
  if (!local) return drops.drop('noPrivateKey');
  const refused = refuseAtDoor(context, local, message, from, epoch, now, admitted);
  if (refused) return refused;
  return type === HANDSHAKE_RESPONSE
    ? consumeResponse(context, local, message, from, epoch, now)
    : consumeInitiation(context, local, message, from, epoch);
}

/** Whether the index in a response is of an initiation of ours, or that in a cookie reply of any message of ours. */
function isAwaited({ indices }: Context, type: HandshakeType, message: Uint8Array): boolean {
  if (type === COOKIE_REPLY) return indices.lookup(readU32(message, COOKIE.receiver)) !== undefined;
  const entry = indices.lookup(readU32(message, RESPONSE.receiver));
  return entry !== undefined && entry.keypair === undefined;
}

function costOf(result: 'handshake' | 'cookie' | Drop): number {
  if (result === 'handshake') return HANDSHAKE_COST;
  if (result === 'cookie') return COOKIE_COST;
  switch (result.drop) {
    case 'underLoad':
      return COOKIE_COST;
    case 'badTag':
    case 'unknownPeer':
    case 'replayedInitiation':
    case 'flooded':
    case 'notAdmitted':
    // That of questions about strangers: what the queue of messages had no room for does not come here.
    case 'queueFull':
      return OPENED_COST;
    default:
      return 1;
  }
}
