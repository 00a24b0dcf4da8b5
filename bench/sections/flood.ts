// What an attacker's datagram costs us: thrown away by its index, by its mac1, by a cookie that it lacks, or only by
// the handshake itself.
// Promises: every candidate is the whole of receiveDatagram, or of gatherDatagram where the queue is full, and what becomes of
// its datagram is looked at.
// Read on: WireGuard paper 5.3; sessions/cookies.ts.

import type { Suite } from '../../protocol/suite.js';
import { MAX_QUEUED_STRANGERS } from '../../sessions/handshake-queue.js';
import { UdpEndpoint } from '../../tunnel/endpoint.js';
import { Pair } from '../machine.js';
import { type Candidate, type Effort, measure } from '../measure.js';
import { type Row, plainRow } from '../row.js';

export async function floodSection(suite: Suite, effort: Effort): Promise<Row[]> {
  const calm = new Pair(suite, { underLoadThreshold: Number.MAX_SAFE_INTEGER });
  const loaded = new Pair(suite, { underLoadThreshold: 0 });
  const full = new Pair(suite);
  const data = new Uint8Array(1_452);
  data[0] = 4;
  const known = initiationOf(calm);
  const badMac1 = known.slice();
  badMac1[badMac1.length - 20] ^= 1;
  // The first time it is what it says; from the second on it is a replay.
  calm.right.device.receiveDatagram(known.slice(), calm.leftAt);

  const candidates: [string, Candidate][] = [
    ['data under an unknown index', flooding(calm, data, 'unknownIndex')],
    ['an initiation with a wrong mac1', flooding(calm, badMac1, 'badMac1')],
    ['an initiation under load, answered by a cookie', flooding(loaded, initiationOf(loaded), 'underLoad')],
    ['an initiation in a flood, for which the queue has no room', crowded(full, known)],
    ['an initiation replayed: refused by its timestamp', flooding(calm, known, 'replayedInitiation')],
  ];
  const samples = measure(
    candidates.map(([, candidate]) => candidate),
    effort,
  );
  await calm.close();
  await loaded.close();
  await full.close();
  return candidates.map(([name], i) => {
    const median = samples[i].toSorted((a, b) => a - b)[samples[i].length >> 1];
    const note = `${Math.round(1e9 / median)} per second`;
    return plainRow({ section: 'flood', name, suite: suite.name, note }, samples[i]);
  });
}

function initiationOf(pair: Pair): Uint8Array {
  let datagram: Uint8Array | undefined;
  pair.divert = bytes => {
    datagram = bytes.slice();
  };
  pair.left.device.initiateHandshake(pair.right.publicKey);
  pair.divert = undefined;
  if (!datagram) throw new Error('no initiation was made');
  return datagram;
}

function flooding(pair: Pair, bytes: Uint8Array, drop: string): Candidate {
  const { device } = pair.right;
  return {
    run(times) {
      for (let i = 0; i < times; i++) {
        const result = device.receiveDatagram(bytes, pair.leftAt);
        if (typeof result === 'string' || result.drop !== drop) {
          throw new Error(`expected ${drop}, not ${JSON.stringify(result)}`);
        }
      }
    },
  };
}

/** From many addresses, until there is no room; and then more of the same. */
function crowded({ right: { device } }: Pair, bytes: Uint8Array): Candidate {
  const dropped = () => device.stats().drops.queueFull;
  const crowd = Array.from(
    { length: 2 * MAX_QUEUED_STRANGERS },
    (_, i) => new UdpEndpoint(Uint8Array.of(198, 18, i >> 8, i), 1),
  );
  for (const from of crowd) device.gatherDatagram(bytes, from);
  return {
    run(times) {
      const before = dropped();
      for (let i = 0; i < times; i++) device.gatherDatagram(bytes, crowd[i % crowd.length]);
      if (dropped() - before !== times) throw new Error('expected queueFull');
    },
  };
}
