// The bench in its smallest form: it runs to its end, and its report has the shape that readers of the JSON rely on.
// Nothing here says how fast anything is.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Effort, measure } from '../../bench/measure.js';
import { type Report, type Row, ratioRow, spread } from '../../bench/row.js';
import { commandsSection } from '../../bench/sections/commands.js';
import { crngSection } from '../../bench/sections/crng.js';
import { firstForkSection } from '../../bench/sections/first-fork.js';
import { floodSection } from '../../bench/sections/flood.js';
import { handshakeSection } from '../../bench/sections/handshakes.js';
import { recoverySection } from '../../bench/sections/recovery.js';
import { releaseSection } from '../../bench/sections/release.js';
import { sessionsSection } from '../../bench/sections/sessions.js';
import { stagesSection } from '../../bench/sections/stages.js';
import { transportSection } from '../../bench/sections/transport.js';
import { tripwireSection } from '../../bench/sections/tripwire.js';
import { formatReport } from '../../bench/table.js';
import { suites } from '../support/suites.js';

const TINY: Effort = { rounds: 2, roundMs: 0.1, warmUpMs: 1 };

const machine = { cpu: 'a processor', cores: 2, node: '20.19.0', platform: 'linux x64', load: 0.5 };

function expectShape(rows: readonly Row[], section: string): void {
  expect(rows.length).toBeGreaterThan(0);
  for (const row of rows) {
    expect(row.section).toBe(section);
    expect(['ns', 'ms', 'bytes']).toContain(row.unit);
    expect(row.samples).toBeGreaterThan(0);
    expect(row.ratio === undefined).toBe(row.peer === undefined);
    for (const figure of [row.value, row.peer, row.ratio]) {
      if (!figure) continue;
      expect(Number.isFinite(figure.median)).toBe(true);
      expect(figure.low).toBeLessThanOrEqual(figure.median);
      expect(figure.high).toBeGreaterThanOrEqual(figure.median);
    }
    expect(JSON.parse(JSON.stringify(row))).toEqual(row);
  }
}

test('commands are measured beside a Node that does nothing, and one that fails is no figure', () => {
  const folder = mkdtempSync(join(tmpdir(), 'wireonce-bench-'));
  try {
    const program = join(folder, 'program.mjs');
    writeFileSync(program, '');
    const rows = commandsSection(TINY, program);
    expectShape(rows, 'commands');
    expect(rows.filter(row => row.goal)).toHaveLength(3);
    writeFileSync(program, 'process.exit(1)');
    expect(() => commandsSection(TINY, program)).toThrow('ended with 1');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

describe.each(suites)('with suite $name', suite => {
  test('sending and receiving are measured beside the suite, at three sizes, with a goal at one', async () => {
    const rows = await transportSection(suite, TINY, true);
    expectShape(rows, 'transport');
    expect(rows).toHaveLength(12);
    expect(rows.filter(row => row.goal).map(row => row.name)).toEqual([
      'send 1420 B, one by one',
      'send 1420 B, batches of 45',
      'receive 1420 B, one by one',
      'receive 1420 B, batches of 45',
    ]);
  });

  test('handshakes are measured beside their key agreement', async () => {
    expectShape(await handshakeSection(suite, { ...TINY, rounds: 1 }), 'handshakes');
  });

  test('floods are measured by how far a datagram comes', async () => {
    const rows = await floodSection(suite, { ...TINY, rounds: 1 });
    expectShape(rows, 'flood');
    expect(rows).toHaveLength(5);
  });
});

test('the way back from a fork is measured beside an ordinary handshake', async () => {
  const rows = await recoverySection(suites[0], { ...TINY, rounds: 1 });
  expectShape(rows, 'recovery');
  expect(rows).toHaveLength(1);
});

test('the first fork of a process is measured beside its second, and a process that fails is no figure', () => {
  const folder = mkdtempSync(join(tmpdir(), 'wireonce-bench-'));
  try {
    const program = join(folder, 'program.mjs');
    writeFileSync(program, "console.log('[8, 4]')");
    const rows = firstForkSection('a suite', TINY, program);
    expectShape(rows, 'recovery');
    expect(rows[0]).toMatchObject({ unit: 'ms', samples: 2, ratio: { median: 2 }, goal: { met: false } });
    writeFileSync(program, 'process.exit(1)');
    expect(() => firstForkSection('a suite', TINY, program)).toThrow('Command failed');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('the tripwire is measured beside receiving without it, and in bytes', async () => {
  const rows = await tripwireSection(suites[0], TINY);
  expectShape(rows, 'tripwire');
  expect(rows.map(row => row.unit)).toEqual(['ns', 'bytes', 'bytes', 'bytes']);
});

test('a packet is measured stage by stage, against the cipher in a long message', async () => {
  const rows = await stagesSection(suites[0], TINY);
  expectShape(rows, 'stages');
  expect(rows).toHaveLength(8);
  expect(new Set(rows.map(row => row.peer?.name)).size).toBe(1);
});

test('random bytes are measured beside those of OpenSSL', async () => {
  const rows = await crngSection(suites[0], TINY);
  expectShape(rows, 'crng');
  expect(rows.map(row => row.peer?.name)).toEqual([
    'randomFillSync',
    'randomBytes',
    'randomFillSync',
    'randomBytes',
  ]);
});

test('releases are measured by batches, for a source in memory and one behind a system call', async () => {
  const rows = await releaseSection(suites[0], TINY);
  expectShape(rows, 'release');
  // Where this kernel lets a program be loaded, its batches are measured too.
  expect(rows.length).toBeOneOf([13, 17]);
});

test('live sessions are built, weighed, forked and built again', async () => {
  const rows = await sessionsSection(suites[0], 50, 2);
  expectShape(rows, 'sessions');
  const times = rows.filter(row => row.unit === 'ms');
  expect(rows.length - times.length).toBe(3);
  expect(times.map(row => row.goal?.text)).toEqual([
    'under 1 ms',
    undefined,
    'under 20 ms',
    'under 1 ms',
    undefined,
    'under 20 ms',
  ]);
  const [unusable, zeroed, tidied] = times.map(row => row.value.median);
  expect(unusable).toBeGreaterThan(0);
  expect(zeroed).toBeGreaterThan(unusable);
  expect(tidied).toBeGreaterThan(zeroed);
});

test('candidates run in turns, and each sample is the time of one operation', () => {
  const order: string[] = [];
  const candidate = (name: string) => ({ maxTimes: 1, run: () => void order.push(name) });
  const samples = measure([candidate('a'), candidate('b')], { rounds: 3, roundMs: 0.1, warmUpMs: 0 });
  expect(order).toEqual(['a', 'b', 'b', 'a', 'a', 'b']);
  expect(samples.map(ofOne => ofOne.length)).toEqual([3, 3]);
});

test('a ratio is taken round by round: a machine that was slow for both does not show', () => {
  const row = ratioRow({ section: 's', name: 'n' }, [10, 100, 12], { name: 'p', samples: [5, 50, 6] }, 1.5);
  expect(row.ratio).toEqual({ median: 2, low: 2, high: 2 });
  expect(row.goal).toEqual({ text: 'ratio under 1.5', met: false });
  expect(spread([4, 1, 3, 2])).toEqual({ median: 2.5, low: 1.75, high: 3.25 });
});

test('the table names the peer of every ratio, tells a missed goal and what was not measured', () => {
  const row = ratioRow({ section: 's', name: 'ours' }, [30, 30], { name: 'theirs', samples: [10, 10] }, 2);
  const report: Report = { machine, quick: true, rows: [row], skipped: ['suite sodium: not here'] };
  const table = formatReport(report);
  expect(table).toMatch(/ours +30 ns .*3\.00 x theirs \(10 ns\).*goal ratio under 2: MISSED/);
  expect(table).toContain('Not measured: suite sodium: not here.');
});
