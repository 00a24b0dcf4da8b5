// What a process holds, watched over time: does it stay level?
// Promises: medians of thirds, so that no single moment decides. The first third is left out: what is made once is made there.

import { readFileSync, readdirSync } from 'node:fs';

export const MIB = 1024 * 1024;
/**
 * What the engine's heap may differ by between two moments under load. A leak of 100 bytes for each packet, at 5,000
 * packets a second, would be 285 MiB in ten minutes.
 */
export const SLACK_BYTES = 48 * MIB;
const SAMPLE_MS = 500;

/** Anonymous memory of a process: what it has allocated, without the files that it has mapped. */
export function memoryOf(pid: number): number {
  const kib = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib) * 1_024;
}

export const descriptorsOf = (pid: number) => readdirSync(`/proc/${pid}/fd`).length;

/** Samples a number while `during` runs. */
export async function sample(read: () => number, during: Promise<unknown>): Promise<number[]> {
  const samples: number[] = [];
  const timer = setInterval(() => samples.push(read()), SAMPLE_MS);
  try {
    await during;
    return samples;
  } finally {
    clearInterval(timer);
  }
}

/** The medians of so many equal parts, in order; NaN where there are fewer samples. */
export function medians(samples: readonly number[], parts: number): number[] {
  const length = Math.floor(samples.length / parts);
  return Array.from({ length: parts }, (_, part) => {
    const sorted = samples.slice(part * length, (part + 1) * length).toSorted((x, y) => x - y);
    return sorted[Math.floor(length / 2)] ?? Number.NaN;
  });
}

/** The medians of the second and of the last third. */
export function thirds(samples: readonly number[]): { second: number; last: number } {
  const [, second, last] = medians(samples, 3);
  return { second, last };
}

/** From the second third, when all that is made once has been made, to the last: by their medians. */
export function growth(samples: readonly number[]): number {
  const { second, last } = thirds(samples);
  return last - second;
}
