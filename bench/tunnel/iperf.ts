// One run of iperf3 from the left to the right, or back, and what its report says.
// Promises: rates are of what arrived, as the receiving end counted it.
// Read on: software.es.net/iperf; iperf3's JSON is documented by its sources alone (iperf_api.c).

import { INNER } from './pair.js';
import { Program, run, until } from './programs.js';
import type { Topology } from './topology.js';
import type { Undo } from './undo.js';

/** Headers of IPv4 and UDP. */
const UDP_OVERHEAD_BYTES = 28;
const CONNECT_TIMEOUT_MS = 3_000;
const PATIENCE_MS = 15_000;

export interface IperfOptions {
  readonly seconds: number;
  readonly streams?: number;
  /** From the right to the left. */
  readonly reverse?: boolean;
  /** UDP as fast as iperf3 can, in packets of this many bytes, IP header included. Without it: TCP. */
  readonly packetBytes?: number;
}

export interface IperfResult {
  readonly bytes: number;
  readonly bitsPerSecond: number;
  /** Of UDP only, as the others. */
  readonly packetsPerSecond?: number;
  readonly lostShare?: number;
}

export async function iperf(topology: Topology, undo: Undo, options: IperfOptions): Promise<IperfResult> {
  const server = new Program(...topology.inside('right', 'iperf3', ['-s', '-1', '--forceflush']), undo);
  try {
    await until('iperf3 to listen', () => server.log.includes('listening') || !server.running);
    const [command, args] = topology.inside('left', 'iperf3', clientArguments(options));
    return parseIperf(await run(command, args, { timeoutMs: options.seconds * 1e3 + PATIENCE_MS }));
  } finally {
    await server.close();
  }
}

function clientArguments({ seconds, streams = 1, reverse, packetBytes }: IperfOptions): string[] {
  const args = ['-c', INNER.right, '-t', String(seconds), '-P', String(streams), '-J'];
  args.push('--connect-timeout', String(CONNECT_TIMEOUT_MS));
  if (reverse) args.push('-R');
  if (packetBytes !== undefined) args.push('-u', '-b', '0', '-l', String(packetBytes - UDP_OVERHEAD_BYTES));
  return args;
}

interface Summary {
  readonly seconds: number;
  readonly bytes: number;
  readonly bits_per_second: number;
  readonly packets?: number;
  readonly lost_packets?: number;
}

/** Reads the report of `iperf3 -J`. Throws with its complaint when the run failed. */
export function parseIperf(json: string): IperfResult {
  const report = JSON.parse(json) as { error?: string; end?: { sum_received?: Summary } };
  if (report.error !== undefined) throw new Error(`iperf3: ${report.error}`);
  const received = report.end?.sum_received;
  if (!received) throw new Error('iperf3: the report says nothing of what arrived');
  const { seconds, bytes, bits_per_second, packets, lost_packets } = received;
  if (packets === undefined || lost_packets === undefined) return { bytes, bitsPerSecond: bits_per_second };
  return {
    bytes,
    bitsPerSecond: bits_per_second,
    packetsPerSecond: (packets - lost_packets) / seconds,
    lostShare: packets === 0 ? 0 : lost_packets / packets,
  };
}
