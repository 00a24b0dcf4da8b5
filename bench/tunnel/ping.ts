// A flood of pings through the tunnel, each sent when the one before was answered.
// Promises: the time of every answer, not only the mean; an answer that does not come is counted as lost.
// Read on: man 8 ping (-A: adaptive, so that one packet is under way; -f would not tell the single times).

import { INNER } from './pair.js';
import { runUnread } from './programs.js';
import type { Topology } from './topology.js';

const PATIENCE_MS = 60_000;
const STEADY_SECONDS = '0.01';

export interface PingResult {
  /** Round trips in milliseconds, in the order of arrival. */
  readonly timesMs: readonly number[];
  readonly sent: number;
}

export function pingFlood(topology: Topology, count: number): Promise<PingResult> {
  return ping(topology, count, '-A');
}

/** Pings at a steady pace, whatever becomes of them. */
export function pingSteadily(topology: Topology, count: number): Promise<PingResult> {
  return ping(topology, count, '-i', STEADY_SECONDS);
}

async function ping(topology: Topology, count: number, ...pace: string[]): Promise<PingResult> {
  const options = [...pace, '-n', '-W1', '-c', String(count)];
  const [command, args] = topology.inside('left', 'ping', [...options, INNER.right]);
  return parsePing(await runUnread(command, args, { timeoutMs: PATIENCE_MS }));
}

/** Reads what iputils' ping prints. Throws when no answer came. */
export function parsePing(text: string): PingResult {
  const timesMs = Array.from(text.matchAll(/ time=([\d.]+) ms/g), ([, time]) => Number(time));
  const sent = /(\d+) packets transmitted/.exec(text)?.[1];
  if (timesMs.length === 0 || sent === undefined) throw new Error('ping: no answer came');
  return { timesMs, sent: Number(sent) };
}
