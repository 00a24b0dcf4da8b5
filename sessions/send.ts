// The sending path, from a plaintext packet to the release gate.
// Promises: a packet is sealed at most once, under a keypair of the epoch just read; it leaves only through the gate.
// Read on: WireGuard paper 6.1 - 6.3; Linux drivers/net/wireguard/send.c.

import { Room } from '../native/room.js';
import {
  PADDING_BYTES,
  REJECT_AFTER_TIME_MS,
  REKEY_AFTER_TIME_MS,
  TRANSPORT_OVERHEAD_BYTES,
} from '../protocol/constants.js';
import type { Keypair } from '../protocol/keypair.js';
import { COUNTER_EXHAUSTED, messageLength, paddedLength, sealPacket } from '../protocol/transport.js';
import { NO_EPOCH } from '../vmgenid/generation.js';
import type { Context } from './context.js';
import type { Drop } from './drops.js';
import { enter } from './fork-response.js';
import type { Peer } from './peer.js';
import type { Endpoint } from './ports.js';
import { waitForFreshness } from './waiting.js';
import { Wish } from './wishes.js';

/**
 * `sent`: sealed and released, or gathered while corked or held back. `staged`: waits for a handshake.
 * `waitingForFreshness`: waits for a handshake that waits for randomness of this clone's own.
 */
export type SendResult = 'sent' | 'staged' | 'waitingForFreshness' | Drop;

/** The largest IP packet whose message still fits a UDP datagram over IPv4 (65,507 bytes), padded or not. */
const MAX_PACKET_BYTES = 65_507 - TRANSPORT_OVERHEAD_BYTES - PADDING_BYTES;

/** Sends an IP packet to the peer that its destination address belongs to. */
export function sendPacket(context: Context, packet: Uint8Array): SendResult {
  if (packet.length > MAX_PACKET_BYTES) return context.drops.drop('malformed');
  const peer = context.allowedIps.lookupDestination(packet, 0);
  if (!peer) return context.drops.drop('noRoute');
  if (context.held) return context.drops.drop('held');
  if (!context.local) return context.drops.drop('noPrivateKey');
  if (!peer.endpoint) return context.drops.drop('noEndpoint');

  const epoch = enter(context);
  // The entrance may have found a fork.
  if (context.held) return context.drops.drop('held');
  const keypair = sendingKeypair(context, peer, epoch);
  if (!keypair) return stage(context, peer, packet, Wish.flush);
  // What was staged goes first.
  if (peer.staged.length > 0) sealStaged(context, peer, keypair, epoch);
  if (!seal(context, peer, keypair, packet, epoch)) return stage(context, peer, packet, Wish.handshake);
  keepKeyFresh(context, peer, keypair);
  return 'sent';
}

/** Seals all staged packets of a peer, or wishes for the handshake that they wait for. */
export function flushStaged(context: Context, peer: Peer): void {
  if (peer.staged.length === 0 || !peer.endpoint) return;
  const epoch = enter(context);
  // Nothing is wrong with the session: it waits for somebody to vouch for the generation.
  if (epoch === NO_EPOCH) return waitForFreshness(context, peer);
  const keypair = sendingKeypair(context, peer, epoch);
  if (!keypair) return context.wishes.add(peer, Wish.handshake);
  sealStaged(context, peer, keypair, epoch);
  keepKeyFresh(context, peer, keypair);
}

function sealStaged(context: Context, peer: Peer, keypair: Keypair, epoch: number): void {
  peer.staged.drain(packet => {
    if (!seal(context, peer, keypair, packet, epoch)) stage(context, peer, packet, Wish.handshake);
  });
}

/** The keypair that may seal now: current, of this epoch, young enough. */
function sendingKeypair({ turn }: Context, peer: Peer, epoch: number): Keypair | undefined {
  const keypair = peer.keypairs.current;
  if (!keypair || epoch === NO_EPOCH || keypair.sendEpoch !== epoch) return undefined;
  return turn.now - keypair.createdAt < REJECT_AFTER_TIME_MS ? keypair : undefined;
}

/** Seals one packet and hands it to the gate. False when the keypair has no counter left. */
function seal(context: Context, peer: Peer, keypair: Keypair, packet: Uint8Array, epoch: number): boolean {
  const padded = paddedLength(packet.length, context.mtu);
  const { gate } = context;
  const to = peer.endpoint as Endpoint;
  const output = gate.output(messageLength(padded), to);
  let length = COUNTER_EXHAUSTED;
  try {
    length = sealPacket(
      context.sealer,
      keypair,
      packet,
      padded,
      output.slot instanceof Room ? output.slot : output.bytes,
    );
  } finally {
    if (length === COUNTER_EXHAUSTED) gate.abandon(output);
  }
  if (length === COUNTER_EXHAUSTED) return false;
  gate.push(output, packet.length === 0 ? 'keepalive' : 'data', to, peer, epoch, context.turn.now);
  return true;
}

function stage(context: Context, peer: Peer, packet: Uint8Array, wish: number): 'staged' {
  if (peer.staged.stage(packet)) context.drops.drop('stagedOverflow');
  context.wishes.add(peer, wish);
  return 'staged';
}

// Linux send.c keep_key_fresh(): the initiator alone asks for new keys by age, both ask by count.
function keepKeyFresh({ turn, wishes }: Context, peer: Peer, keypair: Keypair): void {
  const old = keypair.isInitiator && turn.now - keypair.createdAt >= REKEY_AFTER_TIME_MS;
  if (old || keypair.counter.isPastRekeyLimit()) wishes.add(peer, Wish.handshake);
}
