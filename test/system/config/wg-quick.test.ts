// Files through `wg-quick` and `wg` of Debian and through `parseConfig`: the same ones are taken, with the same result.
// WIREONCE_RECORD=1 writes test/support/wg-quick/record.jsonl anew; WIREONCE_SEED repeats a run of generated files,
// WIREONCE_GENERATED says how many.

import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { type Case, CORPUS, DIFFERENCES, concernsWgQuick } from '../../support/wg-quick/corpus.js';
import { wgQuickFile } from '../../support/wg-quick/generated.js';
import { type Verdict, ourVerdict } from '../../support/wg-quick/outcome.js';
import { readRecord, writeRecord } from '../../support/wg-quick/record.js';
import { closeMachines } from '../daemon/support/machine.js';
import { WgQuick } from './support/wg-quick.js';

const GENERATED = Number(process.env['WIREONCE_GENERATED'] ?? 100);

afterEach(closeMachines);

/** What Debian makes of each, in order; two at a time. */
async function judge(texts: readonly string[]): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  const queue = texts.entries();
  const work = async () => {
    const debian = await WgQuick.start();
    for (const [i, text] of queue) verdicts[i] = await debian.judge(text);
  };
  await Promise.all([work(), work()]);
  return verdicts;
}

test('the hand-made files', async () => {
  const verdicts = await judge(CORPUS.map(({ text }) => text));
  const said = new Map(CORPUS.map(({ name }, i) => [name, verdicts[i]]));
  expect(said.size).toBe(CORPUS.length);
  if (process.env['WIREONCE_RECORD'] === '1') writeRecord(said);
  else expect(said).toEqual(readRecord());
  for (const { name, text } of CORPUS)
    expect(ourVerdict(text, concernsWgQuick(text)), name).toEqual(said.get(name));
});

test('generated files', async () => {
  const seed = Number(process.env['WIREONCE_SEED'] ?? Math.trunc(performance.timeOrigin));
  const texts = fc.sample(wgQuickFile, { numRuns: GENERATED, seed });
  const verdicts = await judge(texts);
  const taken = verdicts.filter(verdict => verdict !== 'refused').length;
  console.log(`generated files: seed ${seed}, ${taken} of ${GENERATED} taken by wg-quick`);
  for (const [i, text] of texts.entries()) {
    expect(ourVerdict(text, concernsWgQuick(text)), `seed ${seed}, file ${i}:\n${text}`).toEqual(verdicts[i]);
  }
  expect(taken).toBeGreaterThan(GENERATED / 10);
  expect(taken).toBeLessThan((GENERATED * 9) / 10);
});

describe('a deliberate difference is one', () => {
  test.each(DIFFERENCES)('$says', async ({ cases, ours }) => {
    const isTaken = (verdict: Verdict) => verdict !== 'refused';
    const other = ours === 'refused';
    const verdicts = await judge(cases.map(({ text }: Case) => text));
    for (const [i, { name, text }] of cases.entries()) {
      expect(isTaken(verdicts[i]), `wg-quick: ${name}`).toBe(other);
      expect(isTaken(ourVerdict(text, false)), `we: ${name}`).toBe(!other);
    }
  });
});
