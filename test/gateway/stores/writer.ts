// A process that writes into a store and says what was promised to it: `node writer.mjs PATH JOB`. It is bundled, and killed.
// Read on: processes.test.ts.

import { writeSync } from 'node:fs';
import { FilePeerStore } from '../../../gateway/stores/file.js';
import { addressOf, keyOf, peer, put } from './stores.js';

const STDOUT = 1;
/** Of each round of `forever`. */
const PEERS = 40;

const jobs: Readonly<Record<string, (store: FilePeerStore, from: number) => Promise<void>>> = {
  /** Round after round, until it is killed: each peer has the number of the round, which is said when it is kept. */
  forever: async (store, from) => {
    for (let round = from; ; round++) {
      const say = (n: number) => writeSync(STDOUT, `${n} ${round}\n`);
      await Promise.all(
        Array.from({ length: PEERS }, (_, n) =>
          put(store, peer(n, { lastSeenAt: round })).then(() => say(n)),
        ),
      );
      // One that comes and goes, and an address that goes from hand to hand.
      await store.update(keyOf(1_000), known => (known ? undefined : peer(1_000)));
      await store.update(keyOf(2_000 + (round % 2)), () => peer(2_000 + (round % 2), { allowedIps: [] }));
      await put(store, peer(2_001 - (round % 2), { allowedIps: [addressOf(2_000)] }));
    }
  },
  /** One transaction that memory does not hold, in whose midst it dies. */
  die: async (store, from) => {
    const last = from + 60_000;
    writeSync(STDOUT, 'begins\n');
    await Promise.all(
      Array.from({ length: last - from }, (_, i) =>
        store.update(keyOf(from + i), () => {
          if (from + i === last - 1) process.kill(process.pid, 'SIGKILL');
          return peer(from + i);
        }),
      ),
    );
  },
  /** Says what it was not promised yet, and dies. */
  early: async (store, from) => {
    const kept = put(store, peer(from));
    writeSync(STDOUT, `${from} 0\n`);
    process.kill(process.pid, 'SIGKILL');
    await kept;
  },
  /** A hundred, one after the other. */
  hundred: async (store, from) => {
    for (let n = from; n < from + 100; n++) {
      await put(store, peer(n));
      writeSync(STDOUT, `${n} 0\n`);
    }
    await store.close();
  },
};

const [path, job, from] = process.argv.slice(2);
await jobs[job](await FilePeerStore.open(path), Number(from));
