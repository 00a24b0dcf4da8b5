// What is measured: names, units, which way is better, and what was wished for.
// Read on: steps.ts (how each comes about).

export interface Metric {
  readonly id: string;
  readonly title: string;
  readonly unit: 'Mbit/s' | 'packets/s' | 'µs' | 's/GB' | '%' | '1/s' | 'ms/s' | 'MiB';
  readonly better: 'more' | 'less';
  /** Ours by the best of the newest others must be at least this where more is better, at most where less is. */
  readonly goal: number;
}

const TCP_GOAL = 1.5;
const NEVER_BEHIND = 1;

function tcp(id: string, title: string): Metric[] {
  return [
    { id, title: `TCP, ${title}`, unit: 'Mbit/s', better: 'more', goal: TCP_GOAL },
    { id: `${id}-cpu`, title: `CPU time, TCP, ${title}`, unit: 's/GB', better: 'less', goal: NEVER_BEHIND },
  ];
}

function udp(bytes: number): Metric[] {
  const title = `UDP, packets of ${bytes} bytes`;
  return [
    { id: `udp-${bytes}`, title, unit: 'packets/s', better: 'more', goal: NEVER_BEHIND },
    // Of those that the tunnel carried, whether or not the program at the end had the time to take them.
    less(`udp-${bytes}-cpu`, `CPU time per packet, ${title}`, 'µs'),
  ];
}

function less(id: string, title: string, unit: Metric['unit']): Metric {
  return { id, title, unit, better: 'less', goal: NEVER_BEHIND };
}

/** Addresses that a flood of handshakes comes from. */
export const FLOOD_SOURCES = [1, 1_024];

function flood(sources: number): Metric[] {
  const id = `flood-${sources}`;
  const title = `under 70,000 handshakes/s from ${sources === 1 ? 'one address' : `${sources} addresses`}`;
  return [
    {
      id: `${id}-answered`,
      title: `pings answered, ${title}`,
      unit: '%',
      better: 'more',
      goal: NEVER_BEHIND,
    },
    less(`${id}-ping-median`, `ping, median, ${title}`, 'µs'),
    less(`${id}-ping-p99`, `ping, 99th percentile, ${title}`, 'µs'),
    { id: `${id}-tcp`, title: `TCP, 1 stream, ${title}`, unit: 'Mbit/s', better: 'more', goal: NEVER_BEHIND },
  ];
}

export const METRICS: readonly Metric[] = [
  ...tcp('tcp-1', '1 stream'),
  ...tcp('tcp-1-back', '1 stream back'),
  ...tcp('tcp-4', '4 streams'),
  ...tcp('tcp-4-back', '4 streams back'),
  ...[64, 512, 1_420].flatMap(udp),
  less('ping-median', 'ping flood, median', 'µs'),
  less('ping-p99', 'ping flood, 99th percentile', 'µs'),
  less('ping-cpu', 'CPU time per ping of it', 'µs'),
  ...FLOOD_SOURCES.flatMap(flood),
  less('idle-wake-ups', 'idle, wake-ups', '1/s'),
  less('idle-cpu', 'idle, CPU time', 'ms/s'),
  less('rss', 'memory, resident', 'MiB'),
  less('pss', 'memory, shared pages by share', 'MiB'),
];
