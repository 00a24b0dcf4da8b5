// Two daemons under full load, looked at once a second; forks are announced meanwhile.
// Promises: it looks and keeps what it saw; what that should be is the test's to say.
// Read on: load.ts (the load), hook.ts (the forks).

import { sleep, until } from '../../support/run.js';
import { announceFork } from './hook.js';
import { type Counts, type Load, total } from './load.js';
import { type Machine, type Pair } from './machine.js';

const LOOK_MS = 1_000;
/** Forks come this long after each other, so many in a row; then it is quiet for two handshakes by age and more. */
const FORK_EVERY_S = 60;
const FORKS_IN_A_ROW = 3;
const QUIET_S = 270;
/** The last comes so long before the end, for what follows it to be seen. */
const BEFORE_THE_END_S = 5;
/** Until each flow goes on after a fork. Handshakes are tried every 5 seconds, and TCP waits for longer each time. */
const GOES_ON_MS = 60_000;

/** Between two reports of the receivers, both ways together. */
export interface Interval {
  readonly streamBitsPerSecond: number;
  readonly datagramBitsPerSecond: number;
  readonly datagramsPerSecond: number;
}

export interface Observations {
  readonly intervals: readonly Interval[];
  /** Wall-clock milliseconds of the handshakes of A, each once. */
  readonly handshakes: readonly number[];
  /** Seconds since the last handshake, as `wg show` has it: the most that was seen on either side. */
  readonly oldestHandshakeS: number;
  /** The most that either clock was said to be behind. */
  readonly clockBehindMs: number;
  /** Wall-clock milliseconds of the forks, and how long it took until each flow had gone on. */
  readonly forks: readonly { readonly at: number; readonly goneOnAfterMs: number }[];
}

/** Seconds from the start. A short run has one in its middle. */
export function forkTimes(seconds: number): number[] {
  if (seconds < 2 * FORK_EVERY_S) return [seconds / 2];
  const times: number[] = [];
  for (let cycle = 0; cycle < seconds; cycle += FORKS_IN_A_ROW * FORK_EVERY_S + QUIET_S) {
    for (let i = 1; i <= FORKS_IN_A_ROW; i++) times.push(cycle + i * FORK_EVERY_S);
  }
  return times.filter(time => time <= seconds - BEFORE_THE_END_S);
}

/** Looks for so long, and announces forks of A by its hook. */
export async function observe(
  { a, b }: Pair,
  loads: readonly Load[],
  seconds: number,
  hook: string,
): Promise<Observations> {
  const intervals: Interval[] = [];
  const handshakes: number[] = [];
  const forks: { at: number; goneOnAfterMs: number }[] = [];
  let [oldestHandshakeS, clockBehindMs] = [0, 0];
  const due = forkTimes(seconds);
  let before = loads.map(load => load.report());
  const start = performance.now();
  for (let passed = 0; passed < seconds * 1_000; passed = performance.now() - start) {
    if (due[0] !== undefined && passed >= due[0] * 1_000) {
      due.shift();
      const at = Date.now();
      await announceFork(hook, forks.length + 1);
      forks.push({ at, goneOnAfterMs: await goneOn(loads) });
    }
    await sleep(LOOK_MS);

    const now = loads.map(load => load.report());
    if (now.every(({ atMs }, i) => atMs > before[i].atMs)) {
      intervals.push(interval(loads, before, now));
      before = now;
    }
    for (const [machine, peer] of [
      [a, b],
      [b, a],
    ] as const) {
      oldestHandshakeS = Math.max(oldestHandshakeS, await handshakeAge(machine, peer));
      const status = await machine.status();
      clockBehindMs = Math.max(clockBehindMs, status.clockBehindMs);
      const { lastHandshakeAt } = status.peers[0];
      if (machine === a && handshakes.at(-1) !== lastHandshakeAt) handshakes.push(lastHandshakeAt);
    }
  }
  return { intervals, handshakes, oldestHandshakeS, clockBehindMs, forks };
}

/** Resolves when each flow has brought more after a report from after the call. Returns how long that took. */
async function goneOn(loads: readonly Load[]): Promise<number> {
  const start = performance.now();
  const wait = (what: string, done: () => boolean) => until(what, done, GOES_ON_MS);
  const before = loads.map(load => load.report());
  await wait('a report', () => loads.every((load, i) => load.report().atMs > before[i].atMs));
  const base = loads.map(load => load.report());
  await wait('each flow to go on', () =>
    loads.every((load, i) => {
      return load.report().flows.every(({ records }, flow) => records > base[i].flows[flow].records);
    }),
  );
  return performance.now() - start;
}

async function handshakeAge(machine: Machine, peer: Machine): Promise<number> {
  return Date.now() / 1_000 - Number(await machine.show('latest-handshakes', peer.publicKey));
}

type Reports = readonly ReturnType<Load['report']>[];

function interval(loads: readonly Load[], before: Reports, now: Reports): Interval {
  const perSecond = (kind: 'stream' | 'datagram', read: (counts: Counts) => number) =>
    loads
      .map(({ flows }, i) => {
        const of = ({ flows: counts }: Reports[number]) =>
          total(counts.filter((_, flow) => (flows[flow].kind === 'stream') === (kind === 'stream')));
        return ((read(of(now[i])) - read(of(before[i]))) / (now[i].atMs - before[i].atMs)) * 1_000;
      })
      .reduce((sum, each) => sum + each, 0);
  return {
    streamBitsPerSecond: perSecond('stream', ({ bytes }) => bytes * 8),
    datagramBitsPerSecond: perSecond('datagram', ({ bytes }) => bytes * 8),
    datagramsPerSecond: perSecond('datagram', ({ records }) => records),
  };
}
