// The steps of a round: each measures one pair of daemons and gives one or more figures.
// Promises: figures of processor time and memory are of both daemons together, without iperf3 and ping.
// Read on: metrics.ts (what the figures mean), benchmark.ts (the order of things).

import { quantile } from '../row.js';
import { fineCpuSecondsOf, memoryOf, usageOf } from './accounting.js';
import { type IperfOptions, iperf } from './iperf.js';
import { FLOOD_SOURCES } from './metrics.js';
import type { Pair } from './pair.js';
import { underFlood } from './flood/flood.js';
import { pingFlood, pingSteadily } from './ping.js';
import { sleep } from './programs.js';
import type { Undo } from './undo.js';

export interface Effort {
  readonly rounds: number;
  /** Of one run of iperf3. */
  readonly seconds: number;
  readonly pings: number;
  readonly idleSeconds: number;
}

export const FULL: Effort = { rounds: 5, seconds: 4, pings: 5_000, idleSeconds: 10 };
export const QUICK: Effort = { rounds: 2, seconds: 2, pings: 1_000, idleSeconds: 4 };

/** By the ids of metrics. */
export type Figures = Readonly<Record<string, number>>;

export interface Step {
  readonly id: string;
  /** Of all pairs at the same time, since it disturbs nobody. */
  readonly together?: boolean;
  run(pair: Pair, effort: Effort, undo: Undo): Promise<Figures>;
}

const MIB = 2 ** 20;
const GB = 1e9;

function tcp(id: string, options: Partial<IperfOptions>): Step {
  return {
    id,
    async run(pair, { seconds }, undo) {
      const before = usageOf(pair.pids);
      const { bitsPerSecond, bytes } = await iperf(pair.topology, undo, { seconds, ...options });
      const { cpuSeconds } = usageOf(pair.pids);
      return {
        [id]: bitsPerSecond / 1e6,
        [`${id}-cpu`]: (cpuSeconds - before.cpuSeconds) / (bytes / GB),
      };
    },
  };
}

function udp(packetBytes: number): Step {
  const id = `udp-${packetBytes}`;
  return {
    id,
    async run(pair, { seconds }, undo) {
      const before = [usageOf(pair.pids).cpuSeconds, await pair.packetsTaken()];
      const { packetsPerSecond = 0 } = await iperf(pair.topology, undo, { seconds, packetBytes });
      const after = [usageOf(pair.pids).cpuSeconds, await pair.packetsTaken()];
      const [cpuSeconds, packets] = after.map((figure, i) => figure - before[i]);
      return { [id]: packetsPerSecond, [`${id}-cpu`]: (cpuSeconds / packets) * 1e6 };
    },
  };
}

const ping: Step = {
  id: 'ping',
  async run(pair, { pings }) {
    const before = fineCpuSecondsOf(pair.pids);
    const { timesMs } = await pingFlood(pair.topology, pings);
    const cpuSeconds = fineCpuSecondsOf(pair.pids) - before;
    const sorted = timesMs.toSorted((a, b) => a - b);
    return {
      'ping-median': quantile(sorted, 0.5) * 1e3,
      'ping-p99': quantile(sorted, 0.99) * 1e3,
      'ping-cpu': (cpuSeconds / timesMs.length) * 1e6,
    };
  },
};

/** An established peer, while strangers flood the daemon on the right. `sources`: addresses that they have. */
function flood(sources: number): Step {
  const id = `flood-${sources}`;
  return {
    id,
    run: (pair, { pings, seconds }, undo) =>
      underFlood(pair, { sources }, undo, async () => {
        const { timesMs, sent } = await pingSteadily(pair.topology, Math.ceil(pings / 10));
        const { bitsPerSecond } = await iperf(pair.topology, undo, { seconds });
        const sorted = timesMs.toSorted((a, b) => a - b);
        return {
          [`${id}-answered`]: (100 * timesMs.length) / sent,
          [`${id}-ping-median`]: quantile(sorted, 0.5) * 1e3,
          [`${id}-ping-p99`]: quantile(sorted, 0.99) * 1e3,
          [`${id}-tcp`]: bitsPerSecond / 1e6,
        };
      }),
  };
}

const idle: Step = {
  id: 'idle',
  together: true,
  async run(pair, { idleSeconds }) {
    const [wakeUps, cpuSeconds, start] = [
      usageOf(pair.pids).wakeUps,
      fineCpuSecondsOf(pair.pids),
      performance.now(),
    ];
    await sleep(idleSeconds * 1e3);
    const seconds = (performance.now() - start) / 1e3;
    return {
      'idle-wake-ups': (usageOf(pair.pids).wakeUps - wakeUps) / seconds,
      'idle-cpu': ((fineCpuSecondsOf(pair.pids) - cpuSeconds) / seconds) * 1e3,
    };
  },
};

const memory: Step = {
  id: 'memory',
  together: true,
  async run(pair) {
    const { rssBytes, pssBytes } = memoryOf(pair.pids);
    return { rss: rssBytes / MIB, pss: pssBytes / MIB };
  },
};

export const STEPS: readonly Step[] = [
  tcp('tcp-1', {}),
  tcp('tcp-1-back', { reverse: true }),
  tcp('tcp-4', { streams: 4 }),
  tcp('tcp-4-back', { streams: 4, reverse: true }),
  ...[64, 512, 1_420].map(udp),
  ping,
  ...FLOOD_SOURCES.map(flood),
  // After the load: memory that it took, timers that it left.
  memory,
  idle,
];
