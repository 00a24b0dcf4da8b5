// What a fork costs in processor time, from the changed generation to data under new keys, beside an ordinary handshake.
// Promises: both machines in one thread, so that nothing is waited for and no round trip counts. The first fork of a process
// is a row of its own: nothing is compiled for it, and a machine is forked once, as a rule.
// Read on: sessions/fork-response.ts, sessions/recovery.ts.

import type { Suite } from '../../protocol/suite.js';
import { MemorySource } from '../../vmgenid/sources/memory.js';
import { Pair, innerPacket } from '../machine.js';
import { type Candidate, type Effort, measure } from '../measure.js';
import { type Row, ratioRow, spread } from '../row.js';

/** Above REKEY_TIMEOUT. Milliseconds. */
const STEP_MS = 6_000;
const PACKET_BYTES = 1_420;
/** Of a fork, beside a round trip. */
const GOAL_MS = 5;

export async function recoverySection(suite: Suite, effort: Effort): Promise<Row[]> {
  let now = 0;
  const clock = { now: () => now, wallClock: () => 1_700_000_000_000 + now };
  const source = new MemorySource();
  const pair = new Pair(suite, { clock }, { source });
  const packet = innerPacket(PACKET_BYTES);
  const { device } = pair.left;
  const send = () => {
    const delivered = pair.delivered;
    device.sendPacket(packet);
    pair.pump();
    if (pair.delivered === delivered) throw new Error('the packet did not arrive');
  };
  let forks = 0;
  const fork = () => {
    source.fork(new Uint8Array(16).fill(++forks & 0xff, 0, 1).fill(forks >> 8, 1, 2));
    // The next look finds it, which is a daemon's before its next packet.
    send();
  };
  const step = () => {
    now += STEP_MS;
  };
  // Traffic as it was before the fork.
  for (let i = 0; i < 1_000; i++) send();
  step();
  const before = process.cpuUsage();
  fork();
  const { user, system } = process.cpuUsage(before);
  const firstMs = (user + system) / 1_000;
  const again = (work: () => void): Candidate => ({
    run(times) {
      for (let i = 0; i < times; i++) {
        step();
        work();
      }
    },
  });
  const samples = measure(
    [
      again(fork),
      again(() => {
        pair.handshake();
        send();
      }),
    ],
    effort,
  );
  await pair.close();
  const subject = (name: string) => ({ section: 'recovery', name, suite: suite.name });
  return [
    ratioRow(subject('a fork, to a packet delivered under new keys, both sides'), samples[0], {
      name: 'an ordinary handshake and a packet',
      samples: samples[1],
    }),
    {
      ...subject('the first fork of a process, the same way'),
      unit: 'ms',
      value: spread([firstMs]),
      samples: 1,
      goal: { text: `under ${GOAL_MS} ms`, met: firstMs < GOAL_MS },
    },
  ];
}
