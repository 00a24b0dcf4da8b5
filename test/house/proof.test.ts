// The figures of real forks: what the document and the page show is what `npm run prove -- --json` wrote.

import { expect, it } from 'vitest';
import { proofFigures } from '../../web/demo/proof/figures.js';
import { CANDIDATES, CONTESTANTS } from '../vm/prove/contestants.js';
import { type Report, complaints, formatReport } from '../vm/prove/report.js';
import { read } from './documents.js';

const RUNS = JSON.parse(read('docs/proof.json')) as Report[];

it('every table of every run is in the document', () => {
  const document = read('docs/proof.md').split('\n');
  expect(RUNS.length).toBeGreaterThan(4);
  for (const run of RUNS) {
    const lines = formatReport(run).split('\n');
    const rows = lines.filter(line => line.startsWith('| ') && !/^\| (?:what is cloned|---)/.test(line));
    expect(rows.length).toBeGreaterThan(0);
    for (const row of rows) expect(document).toContain(row);
  }
});

it('no run contradicts what is claimed', () => {
  // One attempt of a control was not compared, and is shown as that.
  expect(RUNS.flatMap(run => complaints(run))).toEqual(['enrol (control: policy wipe): 1 attempts failed']);
});

it('the page leaves nothing out', () => {
  const names = RUNS.flatMap(({ rows, enrolment }) => [...rows, ...enrolment].map(({ name }) => name));
  const { forks, clones } = proofFigures(RUNS);
  expect([...forks, ...clones].map(({ name }) => name).toSorted()).toEqual(names.toSorted());
  const reused = RUNS.flatMap(({ rows }) => rows.flatMap(row => row.forks.map(fork => fork.reused)));
  expect(forks.reduce((sum, row) => sum + row.reused, 0)).toBe(reused.reduce((sum, each) => sum + each, 0));
  expect(forks.find(({ name }) => name === 'wireonce (immediate)')).toMatchObject({
    forks: 12,
    withReuse: 0,
  });
  expect(forks.some(({ withReuse }) => withReuse > 0)).toBe(true);
});

it('what is not in it is named as missing', () => {
  const shown = RUNS.flatMap(({ rows, enrolment }) => [...rows, ...enrolment].map(({ name }) => name));
  const document = read('docs/proof.md').replaceAll('\n', ' ');
  const missing = [...CONTESTANTS, ...CANDIDATES]
    .map(({ subject }) => subject.name)
    .filter(name => !shown.includes(name) && !document.includes(`\`${name}\``));
  expect(missing).toEqual([]);
});
