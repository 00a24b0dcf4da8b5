// A process of its own for each figure: traffic, then the first fork of this process, and a second. Prints the milliseconds of a
// processor that each took, both sides, the engine's compiler threads included.
// Read on: sections/first-fork.ts, which starts it.

import { setTimeout } from 'node:timers/promises';
import { fastestSuite } from '../protocol/suites/fastest.js';
import { systemClock } from '../tunnel/clock.js';
import { ForkedPair } from './forked-pair.js';

const PACKETS_BEFORE = 1_000;
/** What the engine compiles for that traffic, in threads of its own, is none of the fork's. */
const SETTLED_MS = 500;

const pair = new ForkedPair(await fastestSuite(systemClock));
for (let i = 0; i < PACKETS_BEFORE; i++) pair.send();
const taken: number[] = [];
for (let fork = 0; fork < 2; fork++) {
  pair.step();
  await setTimeout(SETTLED_MS);
  const before = process.cpuUsage();
  pair.fork();
  const { user, system } = process.cpuUsage(before);
  taken.push((user + system) / 1_000);
}
process.stdout.write(JSON.stringify(taken));
await pair.close();
