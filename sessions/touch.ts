// Fetches what a batch of messages needs into the processor's caches, for all of them at once.
// Promises: changes nothing, and decides nothing.
// Read on: docs/performance.md "The device around the cipher".

import { TRANSPORT, readU32 } from '../protocol/messages.js';
import type { GatheredMessage } from './gathered.js';

/**
 * Reads a word of whatever opening this message, whose `entry` is known, will read of its keypair and peer. The processor
 * fetches from many places at a time, as long as none is needed to find the next: so one call after the other waits for
 * memory once, where one message opened after the other waits for each. Whoever calls must use the result, or the engine
 * saves itself the reading.
 */
export function touch({ datagram, from, entry }: GatheredMessage): number {
  const keypair = entry?.keypair;
  if (!keypair) return 0;
  const { peer } = entry;
  const { replay, receivedTags, receiveKey } = keypair;
  const low = readU32(datagram, TRANSPORT.counter);
  return (
    receiveKey[0] +
    Number(replay.check(readU32(datagram, TRANSPORT.counter + 4), low)) +
    (receivedTags?.of(low) ?? 0) +
    peer.rxBytes +
    peer.newHandshakeAt +
    Number(peer.needsAnotherKeepalive) +
    Number(peer.keypairs.has(keypair)) +
    Number(peer.endpoint === from)
  );
}
