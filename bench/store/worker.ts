// One process with one store: what it costs to open it, to ask it, to write to it, and how much memory it takes.
// `node --expose-gc worker.js PATH PEERS`; without a path, the same process with none. Prints JSON.

import { collectGarbage, memory } from '../memory.js';
import { FilePeerStore } from '../../gateway/stores/file.js';
import { keyOfPeer, peerOf } from './fill.js';

export interface StoreCosts {
  readonly openMs: number;
  /** The first question of the process, and one of those after. */
  readonly firstGetMs: number;
  readonly getUs: number;
  /** For a key that is not there. */
  readonly absentUs: number;
  /** One alone, to the disk. */
  readonly putMs: { readonly p50: number; readonly p99: number };
  /** A thousand at once. */
  readonly thousandPutsMs: number;
  readonly residentMiB: number;
}

const GETS = 20_000;
const PUTS = 200;
/** A prime: in an order that no cache foresees. */
const STRIDE = 7_919;
const MIB = 2 ** 20;

async function costsOf(path: string, peers: number): Promise<StoreCosts> {
  const known = Array.from({ length: GETS }, (_, n) => keyOfPeer((n * STRIDE) % peers));
  const unknown = Array.from({ length: GETS }, (_, n) => keyOfPeer(peers + n));
  const start = performance.now();
  const store = await FilePeerStore.open(path);
  const opened = performance.now();
  if (!store.get(known[1])) throw new Error('a peer is missing');
  const first = performance.now();
  const gets = timed(known, store);
  const absent = timed(unknown, store);
  const puts: number[] = [];
  for (let n = 0; n < PUTS; n++) {
    const key = keyOfPeer(n % peers);
    const before = performance.now();
    await store.update(key, known => known && { ...known, lastSeenAt: known.lastSeenAt + 1 });
    puts.push(performance.now() - before);
  }
  puts.sort((a, b) => a - b);
  const before = performance.now();
  await Promise.all(
    Array.from({ length: 1_000 }, (_, n) => store.update(keyOfPeer(peers + n), () => peerOf(peers + n))),
  );
  const thousandPutsMs = performance.now() - before;
  await Promise.all(
    Array.from({ length: 1_000 }, (_, n) => store.update(keyOfPeer(peers + n), () => undefined)),
  );
  await collectGarbage();
  const residentMiB = memory().resident / MIB;
  await store.close();
  return {
    openMs: opened - start,
    firstGetMs: first - opened,
    getUs: (1_000 * gets) / GETS,
    absentUs: (1_000 * absent) / GETS,
    putMs: { p50: puts[PUTS / 2], p99: puts[Math.floor(PUTS * 0.99)] },
    thousandPutsMs,
    residentMiB,
  };
}

/** Milliseconds that all of them take. */
function timed(keys: readonly Uint8Array[], store: FilePeerStore): number {
  const start = performance.now();
  for (const key of keys) store.get(key);
  return performance.now() - start;
}

const [path, peers] = process.argv.slice(2);
if (path === undefined) {
  await collectGarbage();
  process.stdout.write(JSON.stringify({ residentMiB: memory().resident / MIB }));
} else {
  process.stdout.write(JSON.stringify(await costsOf(path, Number(peers))));
}
