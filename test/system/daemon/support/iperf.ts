// iperf3 from A to B: a load, and what came through.

import { INNER, type Pair } from './machine.js';

export interface IperfResult {
  /** That arrived. */
  readonly bytes: number;
  readonly bitsPerSecond: number;
}

interface Sum {
  readonly bytes: number;
  readonly bits_per_second: number;
}

interface Report {
  readonly error?: string;
  readonly end: { readonly sum_received?: Sum; readonly sum?: Sum };
}

/** Runs it to the end. `args`: as `iperf3 -c` has them. Throws what it complains of. */
export async function iperf(
  { a, b }: Pair,
  args: readonly string[],
  timeoutMs?: number,
): Promise<IperfResult> {
  const server = b.execFor(timeoutMs, 'iperf3', '-s', '-1', '-B', INNER.b4);
  // Its end is awaited below; it may come before.
  server.catch(() => undefined);
  await b.exec('sh', '-c', 'until ss -Hltn sport = :5201 | grep -q 5201; do sleep 0.05; done');
  const output = await a.execFor(timeoutMs, 'iperf3', '-c', INNER.b4, '-J', ...args);
  await server;
  const { error, end } = JSON.parse(output) as Report;
  if (error !== undefined) throw new Error(`iperf3: ${error}`);
  const sum = end.sum_received ?? end.sum;
  return {
    bytes: sum?.bytes ?? 0,
    bitsPerSecond: sum?.bits_per_second ?? 0,
  };
}
