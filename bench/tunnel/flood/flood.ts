// A flood of handshakes against the daemon on the right, from the namespace on the left, while something is measured.
// Promises: what is measured runs while the flood does; a machine that cannot send half of it is an error, not a figure.
// Read on: sender.ts (the program); steps.ts.

import { fileURLToPath } from 'node:url';
import { OUTER_NETWORK } from '../../peers/addresses.js';
import { LISTEN_PORT, type Pair } from '../pair.js';
import { Program, until } from '../programs.js';
import { CABLE, OUTER } from '../topology.js';
import type { Flood } from './initiations.js';
import type { Undo } from '../undo.js';

/** What must leave of it at least. */
const LEAST_SHARE = 0.5;
/** To make so many messages takes a while on a busy machine. */
const PREPARATION_MS = 120_000;
const SENDER = fileURLToPath(new URL('sender.js', import.meta.url));

export interface FloodOptions {
  /** Addresses that it comes from. */
  readonly sources: number;
  /** Default: 70,000 a second, made up. */
  readonly kind?: Flood;
  readonly rate?: number;
  /** Different ones; after these they come again. */
  readonly messages?: number;
}

export async function underFlood<T>(
  pair: Pair,
  flood: FloodOptions,
  undo: Undo,
  measure: () => Promise<T>,
): Promise<T> {
  const { sources, kind = 'made-up', rate = 70_000, messages = 4_096 } = flood;
  const { topology } = pair;
  // Every address of the network is the left one's own, and found there by the right one.
  await topology.ip('left', 'route', 'replace', 'local', OUTER_NETWORK, 'dev', 'lo');
  await topology.ip('right', 'route', 'replace', OUTER_NETWORK, 'via', OUTER.left);
  const link = JSON.parse(await topology.ip('left', '-j', 'link', 'show', CABLE)) as { ifindex: number }[];
  const options = {
    to: OUTER.right,
    port: LISTEN_PORT,
    key: pair.publicKeys.right,
    interface: link[0].ifindex,
    sources,
    rate,
    kind,
    messages,
  };
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  const sender = new Program(...topology.inside('left', process.execPath, [SENDER, ...args]), undo);
  let measured: T;
  try {
    await until(
      'the flood to begin',
      () => {
        if (!sender.running) throw new Error(`the flood ended: ${sender.log}`);
        return sender.log.includes('flooding');
      },
      PREPARATION_MS,
    );
    measured = await measure();
  } finally {
    await sender.close();
  }
  assertFlooded(sender.log, rate);
  return measured;
}

function assertFlooded(log: string, wanted: number): void {
  const [, sent, seconds] = /sent (\d+) in ([\d.]+)/.exec(log) ?? [];
  const rate = Number(sent) / Number(seconds);
  if (!(rate >= LEAST_SHARE * wanted)) throw new Error(`the flood had no ${wanted} a second: ${log}`);
}
