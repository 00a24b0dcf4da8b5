// One daemon, fresh, with so many peers: what a packet costs it each way, and what silence does.
// Promises: processor time is the daemon's alone, and divided by the packets that it did carry, not by those offered.
// Read on: gateway.ts.

import type { Suite } from '../../protocol/suite.js';
import type { Found } from '../tunnel/implementations/implementation.js';
import { sleep } from '../tunnel/programs.js';
import type { Undo } from '../tunnel/undo.js';
import { type Books, CrowdedGateway } from './gateway.js';

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
  const received = await during(gateway, () => gateway.receive(seconds, PACKET_BYTES));
  const sent = await during(gateway, () => gateway.send(seconds, PACKET_BYTES));
  // Every peer is answered, so that no timer of a conversation runs.
  await gateway.receive(WARM_UP_SECONDS, PACKET_BYTES);
  const silent = await during(gateway, () => sleep(idleSeconds * 1e3));
  const { rssBytes } = gateway;
  await gateway.close();
  return {
    ...perPacket(`receive`, peers, received, received.delivered),
    ...perPacket(`send`, peers, sent, sent.taken),
    [`idle-${peers}`]: (silent.cpuSeconds / silent.seconds) * 1e3,
    [`rss-${peers}`]: rssBytes / MIB,
  };
}

export function perPacket(way: string, peers: number, spent: Spent, packets: number): Figures {
  if (packets < MIN_PACKETS) throw new Error(`${way}: only ${packets} packets were carried`);
  return {
    [`${way}-${peers}`]: (spent.cpuSeconds / packets) * 1e6,
    [`${way}-rate-${peers}`]: packets / spent.seconds,
  };
}

interface Spent extends Books {
  readonly seconds: number;
}

async function during(gateway: CrowdedGateway, work: () => Promise<void>): Promise<Spent> {
  const before = await gateway.books();
  const start = performance.now();
  await work();
  const seconds = (performance.now() - start) / 1e3;
  const after = await gateway.books();
  return {
    seconds,
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    taken: after.taken - before.taken,
    delivered: after.delivered - before.delivered,
  };
}
