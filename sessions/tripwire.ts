// Proof, from what a peer sends, that the peer was cloned; it works against any WireGuard, forks known to it or not.
// Promises: no honest peer sets it off, whatever the network does to its datagrams; the peer's sessions end at once.
// Read on: docs/architecture.md "The tripwire"; protocol/transport.ts finishOpening().

/*
 * A sender spends a counter once and seals one message under it, and a message has one tag. So a datagram that is
 * authentic under a key and counter for which another tag was accepted was sealed by a second machine: the peer was
 * cloned, or set back to a snapshot. Loss, repetition, delay and reordering change no byte; a changed byte fails the
 * cipher; a forger without the key never comes so far. (Equal packets of two clones, such as their keepalives, have
 * equal tags: ordinary replays, which give nothing away.)
 *
 * It misses a pair whose first 32 bits of the tag are equal, one in 2^32, and can say nothing of counters that the
 * replay window has left behind. It is the receiver who notices: of two clones that talk to different machines
 * neither is found out.
 */

import { REKEY_TIMEOUT_MS } from '../protocol/constants.js';
import { TRANSPORT, readU32 } from '../protocol/messages.js';
import type { Context } from './context.js';
import type { Drop } from './drops.js';
import type { PeerCloned } from './events.js';
import { endHandshakes } from './in-flight.js';
import { Timer } from './peer-times.js';
import type { Peer } from './peer.js';
import type { Endpoint } from './ports.js';

/** Ends every session and handshake of a peer that sent `datagram`, authentic, under a counter it had used before. */
export function peerCloned(
  context: Context,
  peer: Peer,
  datagram: Uint8Array,
  from: Endpoint,
  now: number,
): Drop {
  const wipedKeypairs = peer.keypairs.size;
  endHandshakes(context, peer);
  peer.keypairs.clear();
  peer.stopSessionTimers();
  // Neither copy knows what happened. As ever: not before REKEY_TIMEOUT, and not at all if the peer calls first.
  peer.setTimer(Timer.newHandshake, Math.max(now, peer.lastSentHandshake + REKEY_TIMEOUT_MS));
  context.deadlines.schedule(peer, peer.timer(Timer.newHandshake));
  const counter =
    (BigInt(readU32(datagram, TRANSPORT.counter + 4)) << 32n) | BigInt(readU32(datagram, TRANSPORT.counter));
  const { publicKey, endpoint: knownEndpoint } = peer;
  const drop = context.drops.drop('reusedCounter');
  context.emit({ type: 'peerCloned', peer: publicKey, counter, from, knownEndpoint, wipedKeypairs });
  return drop;
}

/** What is told of a cloned peer, its endpoints as they are or as text. */
type ToldOfClone = Pick<PeerCloned, 'counter' | 'wipedKeypairs'> & {
  readonly from: Endpoint | string;
  readonly knownEndpoint: Endpoint | string | undefined;
};

/** For a log: what has happened to the peer, called `name`, and what to do about it. */
export function describePeerCloned(name: string, event: ToldOfClone): string {
  const { counter, wipedKeypairs } = event;
  const from = String(event.from);
  const known = String(event.knownEndpoint ?? event.from);
  const where = known === from ? `from ${from}` : `from ${from} and from ${known}`;
  return (
    `${name} was cloned, or set back to a snapshot: counter ${counter} of one session came twice, with different ` +
    `packets, ${where}. Its ${wipedKeypairs} keypairs are wiped. What it sent under them since it was copied must be ` +
    `taken as readable and forgeable by whoever recorded it. Stop all copies but one, or give each a private key of its ` +
    `own; and run a WireGuard there that knows of VM forks.`
  );
}
