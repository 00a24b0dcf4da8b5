// What `ping` prints, in the words and with the digits of ping(8), so that eyes and scripts find their way.
// Read on: iputils ping_common.c, gather_statistics() and finish().

import { formatIp } from '../tunnel/ip.js';
import type { EchoEvent, EchoSeries } from './echo-series.js';

/** One line for one thing that came back. */
export function eventLine(event: EchoEvent): string {
  const from = formatIp(event.from);
  switch (event.type) {
    case 'reply': {
      const { bytes, sequence, ttl, timeMs, duplicate, differentAddress } = event;
      const marks = `${duplicate ? ' (DUP!)' : ''}${differentAddress ? ' (DIFFERENT ADDRESS!)' : ''}`;
      return `${bytes} bytes from ${from}: icmp_seq=${sequence} ttl=${ttl} time=${milliseconds(timeMs)} ms${marks}`;
    }
    case 'error':
    case 'mismatch':
      return `From ${from} icmp_seq=${event.sequence} ${event.text}`;
  }
}

/** Three digits that count, as ping writes a time: `0.123`, `1.23`, `12.3`, `123`. */
export function milliseconds(ms: number): string {
  if (ms >= 100) return ms.toFixed(0);
  if (ms >= 10) return ms.toFixed(1);
  return ms.toFixed(ms >= 1 ? 2 : 3);
}

/** The block at the end. `elapsedMs` counts from the first request. */
export function statisticsLines(target: string, series: EchoSeries, elapsedMs: number): string[] {
  const { transmitted, received, duplicates, errors, lossPercent, roundTrips } = series;
  const counts = [`${transmitted} packets transmitted`, `${received} received`];
  if (duplicates > 0) counts.push(`+${duplicates} duplicates`);
  if (errors > 0) counts.push(`+${errors} errors`);
  counts.push(`${Number(lossPercent.toPrecision(6))}% packet loss`, `time ${Math.round(elapsedMs)}ms`);
  const lines = ['', `--- ${target} ping statistics ---`, counts.join(', ')];
  if (roundTrips) {
    const { min, avg, max, mdev } = roundTrips;
    const numbers = [min, avg, max, mdev].map(ms => ms.toFixed(3)).join('/');
    lines.push(`rtt min/avg/max/mdev = ${numbers} ms`);
  }
  return lines;
}

/** `drops: badTag 2, unknownIndex 1`, without those that did not occur; nothing when none did. */
export function dropsLine(drops: Readonly<Record<string, number>>): string | undefined {
  const seen = Object.entries(drops).filter(([, count]) => count > 0);
  return seen.length === 0 ? undefined : `drops: ${seen.map(entry => entry.join(' ')).join(', ')}`;
}
