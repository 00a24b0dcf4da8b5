// What a crowded gateway is measured by. Counts of peers are part of a metric's name: `receive-1`, `receive-10000`.
// Read on: round.ts (how each comes about).

import type { Metric } from '../tunnel/metrics.js';

export function metricsFor(peers: number): Metric[] {
  const many = peers.toLocaleString('en');
  const both = (way: 'receive' | 'send', title: string): Metric[] => [
    less(`${way}-1`, `${title}, 1 peer: CPU time per packet`, 'µs'),
    less(`${way}-${peers}`, `${title}, ${many} peers: CPU time per packet`, 'µs'),
    more(`${way}-rate-1`, `${title}, 1 peer`, 'packets/s'),
    more(`${way}-rate-${peers}`, `${title}, ${many} peers`, 'packets/s'),
  ];
  return [
    ...both('receive', 'receiving'),
    ...both('send', 'sending'),
    less(`idle-${peers}`, `${many} peers with sessions, all silent: CPU time`, 'ms/s'),
    less(`rss-${peers}`, `${many} peers with sessions: memory, resident`, 'MiB'),
  ];
}

function less(id: string, title: string, unit: Metric['unit']): Metric {
  return { id, title, unit, better: 'less', goal: 1 };
}

function more(id: string, title: string, unit: Metric['unit']): Metric {
  return { id, title, unit, better: 'more', goal: 1 };
}
