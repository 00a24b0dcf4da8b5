// What a fork costs in processor time, from the changed generation to data under new keys, beside an ordinary handshake.
// Promises: both machines in one thread, so that nothing is waited for and no round trip counts.
// Read on: first-fork.ts, since all of this has run before; sessions/fork-response.ts, sessions/recovery.ts.

import type { Suite } from '../../protocol/suite.js';
import { ForkedPair } from '../forked-pair.js';
import { type Candidate, type Effort, measure } from '../measure.js';
import { type Row, ratioRow } from '../row.js';

export async function recoverySection(suite: Suite, effort: Effort): Promise<Row[]> {
  const pair = new ForkedPair(suite);
  pair.send();
  const again = (work: () => void): Candidate => ({
    run(times) {
      for (let i = 0; i < times; i++) {
        pair.step();
        work();
      }
    },
  });
  const samples = measure(
    [
      again(() => pair.fork()),
      again(() => {
        pair.handshake();
        pair.send();
      }),
    ],
    effort,
  );
  await pair.close();
  const name = 'a fork, to a packet delivered under new keys, both sides';
  const peer = { name: 'an ordinary handshake and a packet', samples: samples[1] };
  return [ratioRow({ section: 'recovery', name, suite: suite.name }, samples[0], peer)];
}
