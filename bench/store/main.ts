// `npm run bench:store`: what the store of a gateway costs, with a thousand peers in it and with very many.
// Promises: each figure is of a process of its own, which finds the file as any other would; what is made is removed.
// Read on: worker.ts; gateway/stores/file.ts; CONTRIBUTING.md "Dependencies" (what else was measured).

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { fillStore } from './fill.js';
import type { StoreCosts } from './worker.js';

const WORKER = fileURLToPath(new URL('./worker.js', import.meta.url));
const FEW = 1_000;
const MIB = 2 ** 20;

interface StoreFigures extends StoreCosts {
  readonly peers: number;
  /** To make it, peer by peer. */
  readonly fillMs: number;
  readonly fileMiB: number;
  /** More than in a process without a store. */
  readonly moreResidentMiB: number;
}

async function worker<T>(...args: readonly string[]): Promise<T> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', WORKER, ...args]);
  return JSON.parse(stdout) as T;
}

async function figuresOf(folder: string, peers: number, emptyMiB: number): Promise<StoreFigures> {
  const path = join(folder, String(peers));
  const start = performance.now();
  await fillStore(path, peers);
  const fillMs = performance.now() - start;
  const costs = await worker<StoreCosts>(path, String(peers));
  return {
    peers,
    fillMs,
    fileMiB: statSync(path).size / MIB,
    ...costs,
    moreResidentMiB: costs.residentMiB - emptyMiB,
  };
}

const { values } = parseArgs({
  options: { peers: { type: 'string', default: '1000000' }, json: { type: 'boolean', default: false } },
});
const folder = mkdtempSync(join(tmpdir(), 'wireonce-bench-store-'));
try {
  const { residentMiB: emptyMiB } = await worker<{ residentMiB: number }>();
  const figures = [
    await figuresOf(folder, FEW, emptyMiB),
    await figuresOf(folder, Number(values.peers), emptyMiB),
  ];
  if (values.json) process.stdout.write(`${JSON.stringify({ emptyMiB, figures })}\n`);
  else process.stdout.write(table(figures));
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function table(figures: readonly StoreFigures[]): string {
  const rows: readonly (readonly [name: string, value: (f: StoreFigures) => string])[] = [
    ['peers in the store', f => String(f.peers)],
    ['made in', f => `${(f.fillMs / 1_000).toFixed(1)} s`],
    ['file', f => `${f.fileMiB.toFixed(1)} MiB`],
    ['opened, all of it looked through', f => `${f.openMs.toFixed(0)} ms`],
    ['first question of a process', f => `${f.firstGetMs.toFixed(2)} ms`],
    ['question', f => `${f.getUs.toFixed(1)} us`],
    ['question for one that is not there', f => `${f.absentUs.toFixed(1)} us`],
    ['change on the disk, median', f => `${f.putMs.p50.toFixed(2)} ms`],
    ['change on the disk, 99 of 100', f => `${f.putMs.p99.toFixed(2)} ms`],
    ['a thousand changes at once', f => `${f.thousandPutsMs.toFixed(0)} ms`],
    ['memory, more than without a store', f => `${f.moreResidentMiB.toFixed(1)} MiB`],
  ];
  return rows
    .map(([name, value]) => `${name.padEnd(38)}${figures.map(f => value(f).padStart(14)).join('')}\n`)
    .join('');
}
