// A flood of handshakes against the daemon on the right, from the namespace on the left, while something is measured.
// Promises: what is measured runs while the flood does; a machine that cannot send half of it is an error, not a figure.
// Read on: sender.ts (the program); steps.ts.

import { fileURLToPath } from 'node:url';
import { OUTER_NETWORK } from '../../peers/addresses.js';
import { LISTEN_PORT, type Pair } from '../pair.js';
import { Program, until } from '../programs.js';
import { CABLE, OUTER } from '../topology.js';
import type { Undo } from '../undo.js';

/** Initiations per second. */
const RATE = 70_000;
/** What must leave of it at least. */
const LEAST_SHARE = 0.5;
const SENDER = fileURLToPath(new URL('sender.js', import.meta.url));

/** `sources`: addresses that it comes from. */
export async function underFlood<T>(
  pair: Pair,
  sources: number,
  undo: Undo,
  measure: () => Promise<T>,
): Promise<T> {
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
    rate: RATE,
  };
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  const sender = new Program(...topology.inside('left', process.execPath, [SENDER, ...args]), undo);
  try {
    await until('the flood to begin', () => {
      if (!sender.running) throw new Error(`the flood ended: ${sender.log}`);
      return sender.log.includes('flooding');
    });
    return await measure();
  } finally {
    await sender.close();
    assertFlooded(sender.log);
  }
}

function assertFlooded(log: string): void {
  const [, sent, seconds] = /sent (\d+) in ([\d.]+)/.exec(log) ?? [];
  const rate = Number(sent) / Number(seconds);
  if (!(rate >= LEAST_SHARE * RATE)) throw new Error(`the flood had no ${RATE} a second: ${log}`);
}
