// What the commands that measure whole daemons share: what they need, whom they measure, what they say of the machine.
// Promises: whatever is wrong with a command line is said in one line, and ends the process with 1.
// Read on: main.ts, ../peers/main.ts.

import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release } from 'node:os';
import { dirname } from 'node:path';
import { IMPLEMENTATIONS } from './implementations/index.js';
import type { Found, Implementation } from './implementations/implementation.js';
import { which } from './programs.js';
import type { Subject, TunnelReport } from './report.js';

export interface Candidate {
  readonly implementation: Implementation;
  readonly found: Found;
}

/** What of a candidate goes into the report. */
export function subjectOf(
  { implementation, found }: Candidate,
  { samples, failures }: Pick<Subject, 'samples' | 'failures'>,
): Subject {
  return {
    id: implementation.id,
    name: implementation.name,
    version: found.version,
    samples,
    failures,
  };
}

export const IMPLEMENTATION_IDS = IMPLEMENTATIONS.map(({ id }) => id).join(', ');

/** Ends the process unless it is root on Linux, and these programs are installed. */
export function requireRoot(programs: readonly string[]): void {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) fail('it needs Linux, and root');
  const missing = programs.filter(program => !which(program));
  if (missing.length > 0) fail(`not installed: ${missing.join(', ')}`);
}

/** Those that there are on this machine, or can be built, and why the others are left out. `ids`: only these. */
export async function findCandidates(
  ids: readonly string[] | undefined,
  rebuild: boolean,
): Promise<{ candidates: Candidate[]; skipped: string[] }> {
  const candidates: Candidate[] = [];
  const skipped: string[] = [];
  for (const implementation of chosen(IMPLEMENTATIONS, ids)) {
    tell(`looking for ${implementation.name}`);
    const found = await implementation.find(rebuild);
    if ('reason' in found) skipped.push(`${implementation.name}: ${found.reason}`);
    else candidates.push({ implementation, found });
  }
  return { candidates, skipped };
}

/** Those with these ids, all without. Ends the process for an id that is none. */
export function chosen<T extends { readonly id: string }>(
  all: readonly T[],
  ids: readonly string[] | undefined,
): T[] {
  for (const id of ids ?? []) {
    if (!all.some(one => one.id === id)) fail(`${id} is none of ${all.map(one => one.id).join(', ')}`);
  }
  return all.filter(({ id }) => !ids || ids.includes(id));
}

export function positive(option: string, text: string): number {
  const value = Number(text);
  return value > 0 ? value : fail(`${option} wants a number above 0, not ${text}`);
}

/** `loadBefore`: of the last minute when it began. */
export function describeMachine(loadBefore: number): TunnelReport['machine'] {
  return {
    cpu: cpus()[0]?.model ?? 'unknown processor',
    cores: availableParallelism(),
    kernel: release().replace(/^(\d+\.\d+).*/, '$1'),
    load: [loadBefore, loadavg()[0]],
  };
}

export function today(): string {
  return new Date().toISOString().slice(0, 10);
}

export function writeReport(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

export function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

export function fail(message: string): never {
  process.stderr.write(`bench: ${message}\n`);
  process.exit(1);
}
