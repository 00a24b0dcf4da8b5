// One daemon, fresh, with so many peers: what a packet costs it each way, and what silence does.
// Promises: processor time is the daemon's alone, and divided by the packets that it did carry, not by those offered.
// Read on: gateway.ts.

import type { Suite } from '../../protocol/suite.js';
import type { Found } from '../tunnel/implementations/implementation.js';
import type { Undo } from '../tunnel/undo.js';
import { CrowdedGateway, type Load } from './gateway.js';

/** Fits into the tunnel, and is a multiple of 16. */
const PACKET_BYTES = 1_408;
/** Before anything counts: code is compiled, buffers are grown, and every peer has been heard. */
const WARM_UP_SECONDS = 1.5;
const MIB = 2 ** 20;
/** Fewer packets than this, and the figures would mean nothing. */
const MIN_PACKETS = 1_000;

export interface RoundOptions {
  readonly peers: number;
  readonly seconds: number;
  readonly idleSeconds: number;
}

export type Figures = Record<string, number>;

export async function playRound(
  found: Found,
  suite: Suite,
  label: string,
  { peers, seconds, idleSeconds }: RoundOptions,
  undo: Undo,
): Promise<Figures> {
  const gateway = await CrowdedGateway.start(found, suite, peers, label, undo);
  await gateway.receive(WARM_UP_SECONDS, PACKET_BYTES);
  await gateway.send(WARM_UP_SECONDS, PACKET_BYTES);
  const received = await gateway.receive(seconds, PACKET_BYTES);
  const sent = await gateway.send(seconds, PACKET_BYTES);
  // Every peer is answered, so that no timer of a conversation runs.
  await gateway.receive(WARM_UP_SECONDS, PACKET_BYTES);
  const idle = await gateway.idle(idleSeconds);
  const { rssBytes } = gateway;
  await gateway.close();
  return {
    ...perPacket('receive', peers, received),
    ...perPacket('send', peers, sent),
    [`idle-${peers}`]: idle * 1e3,
    [`rss-${peers}`]: rssBytes / MIB,
  };
}

export function perPacket(way: string, peers: number, { packets, cpuSeconds, perSecond }: Load): Figures {
  if (packets < MIN_PACKETS) throw new Error(`${way}: only ${packets} packets were carried`);
  return {
    [`${way}-${peers}`]: (cpuSeconds / packets) * 1e6,
    [`${way}-rate-${peers}`]: perSecond,
  };
}
