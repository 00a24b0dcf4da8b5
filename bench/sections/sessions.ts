// Many live sessions on one device: what each takes in memory, and how long after a fork all are dead and erased.
// Promises: the device does all that it does in life, but for X25519 and BLAKE2s during set-up, which are stubbed: 100,000
// true handshakes take minutes. The rows say so.
// Read on: sessions/fork-response.ts, sessions/key-slab.ts.

import type { Suite } from '../../protocol/suite.js';
import { MemorySource } from '../../vmgenid/sources/memory.js';
import { type ForkTimes, Gateway } from '../gateway.js';
import { collectGarbage, memory } from '../memory.js';
import { type Row, spread } from '../row.js';

const STUBBED =
  'sessions idle for a minute; key agreement and hashes stubbed for set-up; keypairs, slab, index table and ' +
  'timers are real';
/** Wished for with 100,000 sessions, and so with fewer. */
const UNUSABLE_GOAL_MS = 1;
const ERASED_GOAL_MS = 20;

/** `forks`: how often the machine is forked; each time all sessions are built anew. */
export async function sessionsSection(suite: Suite, sessions: number, forks: number): Promise<Row[]> {
  const source = new MemorySource();
  const gateway = new Gateway(suite, source);
  await collectGarbage();
  const before = memory();
  gateway.addPeers(sessions);
  gateway.connectAll();
  await collectGarbage();
  const after = memory();
  const { slabBytes } = gateway;

  const times: ForkTimes[] = [];
  for (let fork = 1; fork <= forks; fork++) {
    if (fork > 1) gateway.connectAll();
    await collectGarbage();
    times.push(gateway.fork(source, fork));
  }
  await gateway.close();

  const subject = (name: string) => ({
    section: 'sessions',
    name: `${sessions.toLocaleString('en')} sessions${name}`,
    suite: suite.name,
    note: STUBBED,
  });
  const bytes = (name: string, total: number): Row => ({
    ...subject(`: ${name}`),
    unit: 'bytes',
    value: spread([total / sessions]),
    samples: 1,
  });
  const milliseconds = (name: string, samples: readonly number[], goalMs?: number): Row => {
    const value = spread(samples);
    return {
      ...subject(name),
      unit: 'ms',
      value,
      samples: samples.length,
      ...(goalMs !== undefined && { goal: { text: `under ${goalMs} ms`, met: value.median < goalMs } }),
    };
  };
  const fork = (which: string, some: readonly ForkTimes[]): Row[] => {
    if (some.length === 0) return [];
    const samples = (key: keyof ForkTimes) => some.map(each => each[key]);
    return [
      milliseconds(`, ${which}: all unusable`, samples('unusableMs'), UNUSABLE_GOAL_MS),
      milliseconds(`, ${which}: all keys zeroed`, samples('zeroedMs')),
      milliseconds(`, ${which}: all tidied up`, samples('tidiedMs'), ERASED_GOAL_MS),
    ];
  };
  return [
    bytes('resident memory, each', after.resident - before.resident),
    bytes('heap and buffers, each', after.heapAndBuffers - before.heapAndBuffers),
    bytes('shared memory of keys, each', slabBytes),
    // The first runs code that the engine has not compiled yet, and is the one that most programs ever meet.
    ...fork('first fork', times.slice(0, 1)),
    ...fork('later fork', times.slice(1)),
  ];
}
