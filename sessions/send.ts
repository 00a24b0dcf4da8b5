// The sending path, from a plaintext packet to the release gate.
// Promises: a packet is sealed at most once, under a keypair of the epoch just read; it leaves only through the gate.
// Read on: WireGuard paper 6.1 - 6.3; Linux drivers/net/wireguard/send.c.

import {
  PADDING_BYTES,
  REJECT_AFTER_TIME_MS,
  REKEY_AFTER_TIME_MS,
  TRANSPORT_OVERHEAD_BYTES,
} from '../protocol/constants.js';
import type { Keypair } from '../protocol/keypair.js';
import { COUNTER_EXHAUSTED, messageLength, paddedLength, sealPacket } from '../protocol/transport.js';
import { NO_EPOCH } from '../vmgenid/generation.js';
import { enterForData } from './batch.js';
import type { Context } from './context.js';
import type { Drop } from './drops.js';
import { enter } from './fork-response.js';
import { initiateHandshake, waitForFreshness } from './handshakes.js';
import type { Peer } from './peer.js';

/**
 * `sent`: sealed and released, or gathered while corked or held back. `staged`: waits for a handshake.
 * `waitingForFreshness`: waits for a handshake that waits for randomness of this clone's own.
 */
export type SendResult = 'sent' | 'staged' | 'waitingForFreshness' | Drop;

const KEEPALIVE = new Uint8Array(0);

/** The largest IP packet whose message still fits a UDP datagram over IPv4 (65,507 bytes), padded or not. */
const MAX_PACKET_BYTES = 65_507 - TRANSPORT_OVERHEAD_BYTES - PADDING_BYTES;

/** Sends an IP packet to the peer that its destination address belongs to. */
export function sendPacket(context: Context, packet: Uint8Array): SendResult {
  if (packet.length > MAX_PACKET_BYTES) return context.drops.drop('malformed');
  const peer = context.allowedIps.lookupDestination(packet, 0);
  if (!peer) return context.drops.drop('unknownPeer');
  if (context.held) return context.drops.drop('held');
  if (!context.local) return context.drops.drop('noPrivateKey');
  if (!peer.endpoint) return context.drops.drop('noEndpoint');

  const epoch = enterForData(context);
  if (context.held) return context.drops.drop('held');
  const { now } = context.batch;
  const keypair = sendingKeypair(peer, epoch, now);
  if (!keypair || peer.staged.length > 0) {
    stage(context, peer, packet);
    flushStaged(context, peer);
    if (context.waiting.get(peer)) return 'waitingForFreshness';
    return peer.staged.length > 0 ? 'staged' : 'sent';
  }
  if (!seal(context, peer, keypair, packet, epoch, now)) return stageAndCall(context, peer, packet);
  const released = context.gate.flush();
  keepKeyFresh(context, peer, keypair, now);
  // The gate has counted the drop; the caller learns of it too.
  return released ? 'sent' : STALE;
}

const STALE: Drop = Object.freeze({ drop: 'staleEpoch' });

/** Sends what is staged; if nothing is, a keepalive. Without a usable keypair: starts a handshake. */
export function sendKeepalive(context: Context, peer: Peer): void {
  if (peer.staged.length === 0) peer.staged.stage(KEEPALIVE);
  flushStaged(context, peer);
}

/** Sends all staged packets of a peer, or starts the handshake that they wait for. */
export function flushStaged(context: Context, peer: Peer): void {
  if (peer.staged.length === 0 || !peer.endpoint) return;
  const epoch = enter(context);
  // Nothing is wrong with the session: it waits for somebody to vouch for the generation.
  if (epoch === NO_EPOCH) return waitForFreshness(context, peer);
  const now = context.clock.now();
  const keypair = sendingKeypair(peer, epoch, now);
  if (!keypair) {
    initiateHandshake(context, peer);
    return;
  }
  context.gate.cork();
  try {
    peer.staged.drain(packet => {
      // Whoever hears of the handshake that a spent counter brings about may have wiped the session.
      const usable = keypair === peer.keypairs.current;
      if (!usable || !seal(context, peer, keypair, packet, epoch, now)) stageAndCall(context, peer, packet);
    });
  } finally {
    context.gate.uncork();
  }
  keepKeyFresh(context, peer, keypair, now);
}

/** The keypair that may seal now: current, of this epoch, young enough. */
function sendingKeypair(peer: Peer, epoch: number, now: number): Keypair | undefined {
  const keypair = peer.keypairs.current;
  if (!keypair || epoch === NO_EPOCH || keypair.sendEpoch !== epoch) return undefined;
  return now - keypair.createdAt < REJECT_AFTER_TIME_MS ? keypair : undefined;
}

/** Seals one packet and hands it to the gate. False when the keypair has no counter left. */
function seal(
  context: Context,
  peer: Peer,
  keypair: Keypair,
  packet: Uint8Array,
  epoch: number,
  now: number,
): boolean {
  const padded = paddedLength(packet.length, context.mtu);
  const { gate } = context;
  const to = peer.endpoint;
  // Lost on the way here, as when the peer was removed by whoever heard of a handshake.
  if (!to) return true;
  const output = gate.output(messageLength(padded), to);
  let length = COUNTER_EXHAUSTED;
  try {
    length = sealPacket(context.sealer, keypair, packet, padded, output.bytes, output.slot?.address ?? 0);
  } finally {
    if (length === COUNTER_EXHAUSTED) gate.abandon(output);
  }
  if (length === COUNTER_EXHAUSTED) return false;
  gate.push(output, packet.length === 0 ? 'keepalive' : 'data', to, peer, epoch, now);
  return true;
}

function stage(context: Context, peer: Peer, packet: Uint8Array): void {
  if (peer.staged.stage(packet)) context.drops.drop('stagedOverflow');
}

function stageAndCall(context: Context, peer: Peer, packet: Uint8Array): SendResult {
  stage(context, peer, packet);
  initiateHandshake(context, peer);
  return 'staged';
}

// Linux send.c keep_key_fresh(): the initiator alone asks for new keys by age, both ask by count.
function keepKeyFresh(context: Context, peer: Peer, keypair: Keypair, now: number): void {
  const old = keypair.isInitiator && now - keypair.createdAt >= REKEY_AFTER_TIME_MS;
  if (old || keypair.counter.isPastRekeyLimit()) initiateHandshake(context, peer);
}
