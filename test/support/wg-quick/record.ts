// What wg-quick and wg of Debian made of each file of the corpus (wireguard-tools 1.0.20210914), a line for each.
// Written by `WIREONCE_RECORD=1 npm run test:system -- test/system/config`, which otherwise holds it against them.

import { readFileSync, writeFileSync } from 'node:fs';
import type { Verdict } from './outcome.js';

const FILE = new URL('record.jsonl', import.meta.url);

export type VerdictsByName = ReadonlyMap<string, Verdict>;

export function readRecord(): VerdictsByName {
  const lines = readFileSync(FILE, 'utf8').trimEnd().split('\n');
  return new Map(lines.map(line => JSON.parse(line) as [string, Verdict]));
}

export function writeRecord(record: VerdictsByName): void {
  writeFileSync(FILE, [...record].map(entry => `${JSON.stringify(entry)}\n`).join(''));
}
