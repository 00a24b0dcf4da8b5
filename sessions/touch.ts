// Fetches what a batch of messages needs into the processor's caches, for all of them at once.
// Promises: changes nothing, and decides nothing.
// Read on: docs/performance.md "Very many peers".

/*
 * With very many peers hardly anything is in a cache, and each packet meets some twenty places in memory. The processor
 * fetches from many places at a time, as long as none is needed to find the next: so one message touched after the other
 * waits for memory once, where one message sealed or opened after the other waits for each.
 */

import { TRANSPORT, readU32 } from '../protocol/messages.js';
import type { Context } from './context.js';
import type { GatheredMessage } from './gathered.js';
import { Timer } from './peer-times.js';
import type { Peer } from './peer.js';

/** Messages that are gathered, each with its entry known, and about to be opened. */
export function touchGathered({ gathered }: Context): void {
  let sum = 0;
  for (let i = 0; i < gathered.size; i++) sum += touchOpening(gathered.at(i));
  keep(sum);
}

/** The peers that `packets[0, count)` are about to be sent to. */
export function touchDestinations(
  { allowedIps }: Context,
  packets: readonly Uint8Array[],
  count: number,
): void {
  for (let i = 0; i < count; i++) destinations[i] = allowedIps.lookupDestination(packets[i], 0);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const peer = destinations[i];
    if (peer) sum += touchSealing(peer);
    destinations[i] = undefined;
  }
  keep(sum);
}

const destinations: (Peer | undefined)[] = [];

/** Reads a word of whatever opening this message will read of its keypair and peer. */
function touchOpening({ datagram, from, entry }: GatheredMessage): number {
  const keypair = entry?.keypair;
  if (!keypair) return 0;
  const { peer } = entry;
  const { replay, receivedTags, receiveKey } = keypair;
  const low = readU32(datagram, TRANSPORT.counter);
  return (
    Number(receiveKey[0] === 0) +
    Number(replay.check(readU32(datagram, TRANSPORT.counter + 4), low)) +
    (receivedTags?.of(low) ?? 0) +
    peer.rxBytes +
    peer.timer(Timer.newHandshake) +
    Number(peer.needsAnotherKeepalive) +
    Number(peer.keypairs.has(keypair)) +
    Number(peer.endpoint === from)
  );
}

/** Reads a word of whatever sealing for this peer will read of it and its keypair. */
function touchSealing(peer: Peer): number {
  const { endpoint, staged, txBytes } = peer;
  const keypair = peer.keypairs.current;
  if (!keypair) return 0;
  return (
    Number(keypair.sendKey[0] === 0) +
    Number(keypair.counter.isPastRekeyLimit()) +
    Number(!endpoint) +
    staged.length +
    txBytes +
    peer.timer(Timer.newHandshake)
  );
}

/**
 * An engine that found a result unused would save itself the reading. Of keys no more than a comparison goes into the sum,
 * and of the sum none is kept.
 */
function keep(sum: number): void {
  kept[0] = Number(sum === -1);
}

const kept = new Uint8Array(1);
