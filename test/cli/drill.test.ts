// `wireonce drill` against daemons that a test makes: what is shown, what is a failure, whom it waits for.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { drill, type DrillOptions } from '../../cli/drill.js';
import { drillLines, drillReport, isOver } from '../../cli/drill-report.js';
import { runCli } from '../../cli/program.js';
import type { DrillAnswer, DrillStart } from '../../tunnel/daemon/drill.js';
import type { DeviceStatus } from '../../tunnel/daemon/status.js';
import { UapiServer } from '../../tunnel/daemon/uapi/index.js';
import { deviceStatus, keyText, peerStatus } from '../tunnel/daemon/status.js';
import { MemoryBackend } from '../tunnel/daemon/uapi/backend.js';
import { terminal } from './terminal.js';

const START: DrillStart = {
  epoch: 2,
  wipedKeypairs: 3,
  respondedMs: 1.26,
  forks: 0,
  sessionIndices: { [keyText(2)]: 7, [keyText(3)]: 8 },
};
const recovery = (back: number, called: number) => ({ epoch: 2, ageMs: 5, called, back, lastBackMs: null });
const back = (byte: number, backAfterMs: number | null, sessionIndex = 100 + byte) =>
  peerStatus({
    publicKey: keyText(byte),
    hasSession: backAfterMs !== null,
    sessionEpoch: backAfterMs === null ? null : 2,
    sessionIndex: backAfterMs === null ? null : sessionIndex,
    recovery: { backAfterMs },
  });
/** All is well, but for what the test says. */
const after = (change: Partial<DeviceStatus> = {}) =>
  deviceStatus({
    epoch: 2,
    drills: 1,
    openssl: { epoch: 2, parted: true },
    recovery: recovery(2, 2),
    peers: [back(2, 12.34), back(3, 5.01)],
    ...change,
  });

let folder: string;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wireonce-drill-'));
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  await rm(folder, { recursive: true, force: true });
});

/** A daemon that gives these answers to `status`, the last of them for ever. */
async function serve(answer: DrillAnswer, ...statuses: DeviceStatus[]) {
  const seen = { asked: 0, statusTakesMs: 0 };
  const backend = Object.assign(new MemoryBackend(), {
    drill: () => answer,
    status: async () => {
      await sleep(seen.statusTakesMs);
      return statuses[Math.min(seen.asked++, statuses.length - 1)];
    },
  });
  const server = await UapiServer.listen(join(folder, 'wg0.sock'), backend);
  cleanups.push(() => server.close());
  return seen;
}

async function run(options: DrillOptions = {}, io = terminal()) {
  const outcome = await drill(io, 'wg0', { folder, ...options }).catch((error: Error) => error);
  return { outcome, out: io.out };
}

describe('the command', () => {
  test('waits until everybody is back, and says so', async () => {
    const seen = await serve(
      START,
      after({ recovery: recovery(0, 2), peers: [back(2, null), back(3, null)] }),
      after({ recovery: recovery(1, 2), peers: [back(2, null), back(3, 5.01)] }),
      after(),
    );
    expect(await run()).toEqual({
      outcome: 0,
      out: `drill of wg0: epoch 2 began, as if this machine had been forked
  wiped:    3 keypairs, within 1.3 ms
  OpenSSL:  seeded anew
  peers:    2 of 2 back
    ${keyText(2)}  back after 12.3 ms, session 00000007 -> 00000066
    ${keyText(3)}  back after 5 ms, session 00000008 -> 00000067
  all under new keys
`,
    });
    expect(seen.asked).toBe(3);
  });

  test('ends with 1 when somebody is not back in time, and names him', async () => {
    await serve(START, after({ recovery: recovery(1, 2), peers: [back(2, null), back(3, 5)] }));
    const { outcome, out } = await run({ timeout: 0.2 });
    expect(outcome).toBe(1);
    expect(out).toContain('1 of 2 back');
    expect(out).toContain(`\n    ${keyText(2)}  not back\n`);
    expect(out).toMatch(
      new RegExp(`FAILED: peer ${keyText(2).replaceAll('+', '\\+')} is not back after 0.2 s\n$`),
    );
    expect(out).not.toContain('all under new keys');
  });

  test('of a device at rest ends with 0, and says in words and JSON that nobody was called', async () => {
    await serve(START, after({ recovery: recovery(0, 0), peers: [] }));
    const { outcome, out } = await run();
    expect([outcome, out]).toEqual([0, expect.stringMatching(/nothing was shown of peers: .*\n$/)]);
    expect(out).not.toContain('all under new keys');
    const json = await run({ json: true });
    expect([json.outcome, JSON.parse(json.out).called]).toEqual([0, 0]);
  });

  test('asks the less often the longer an answer takes, and at the end of the time once more', async () => {
    const seen = await serve(START, after({ recovery: recovery(0, 2), peers: [back(2, null)] }));
    seen.statusTakesMs = 200;
    const before = performance.now();
    expect((await run({ timeout: 1 })).outcome).toBe(1);
    expect(performance.now() - before).toBeGreaterThan(990);
    // At 0, 800 and 1,000 ms; later on a slow machine. With 20 ms between looks it would be five.
    expect(seen.asked).toBeLessThanOrEqual(3);
  });

  test('is told why there is no drill', async () => {
    await serve({ refused: 'no private key is set' });
    expect((await run()).outcome).toMatchObject({
      code: 'ERR_CLI_DRILL',
      message: 'wg0: no drill now: no private key is set',
    });
  });

  test('prints one line of JSON', async () => {
    await serve(START, after());
    const { outcome, out } = await run({ json: true });
    expect(outcome).toBe(0);
    expect(out.match(/\n/g)).toHaveLength(1);
    expect(JSON.parse(out)).toEqual(drillReport(START, after(), 10));
  });

  test('an interrupted one says that the daemon goes on', async () => {
    await serve(START, after({ recovery: recovery(0, 2), peers: [back(2, null)] }));
    const io = terminal();
    const running = run({}, io);
    setTimeout(() => io.interrupt(), 50);
    expect((await running).outcome).toMatchObject({ code: 'ERR_CLI_INTERRUPTED' });
  });

  test('a daemon that knows no such request is none of ours', async () => {
    const server = await UapiServer.listen(join(folder, 'wg0.sock'), new MemoryBackend());
    cleanups.push(() => server.close());
    expect((await run()).outcome).toMatchObject({ code: 'ERR_CLI_NO_DAEMON' });
  });

  test('needs the name of an interface', async () => {
    const io = terminal();
    expect(await runCli(['drill'], io)).toBe(2);
    expect(await runCli(['drill', 'a/b'], io)).toBe(2);
    expect(await runCli(['drill', 'wireonce-none'], io)).toBe(1);
  });
});

describe('the report', () => {
  test.each<[string, Partial<DeviceStatus>, RegExp]>([
    [
      'a keypair of before could still seal',
      { staleKeypairs: 1 },
      /^1 keypair of an older epoch could still seal$/,
    ],
    ['a peer goes on with the session that it had', { peers: [back(2, 1, 7), back(3, 1)] }, /had before$/],
    [
      'so does one that was not called',
      { peers: [back(2, 1), peerStatus({ publicKey: keyText(3), sessionEpoch: 2, sessionIndex: 8 })] },
      /had before$/,
    ],
    [
      'who is back has a session of another epoch',
      { peers: [{ ...back(2, 1), sessionEpoch: 1 }, back(3, 1)] },
      /is back, and its session is of epoch 1$/,
    ],
    ['who is back has none', { peers: [{ ...back(2, 1), sessionEpoch: null }, back(3, 1)] }, /of no epoch$/],
    ['OpenSSL was not seeded', { openssl: { epoch: 1, parted: true } }, /^OpenSSL's generator was not/],
    ['OpenSSL was seeded with what siblings have', { openssl: { epoch: 2, parted: false } }, /^OpenSSL's/],
    ['the machine was forked meanwhile', { forks: 1, epoch: 3 }, /^this machine was forked meanwhile/],
    ['there was another drill', { epoch: 3 }, /^another drill has begun epoch 3/],
    [
      'the device does nothing',
      { epoch: 1, recovery: null },
      /^the device has not responded: it is in epoch 1$/,
    ],
  ])('it has failed where %s', (_, change, problem) => {
    const report = drillReport(START, after(change), 10);
    expect(report.ok).toBe(false);
    expect(report.problems).toEqual([expect.stringMatching(problem)]);
    expect(drillLines(report).join('\n')).toContain(`FAILED: ${report.problems[0]}`);
  });

  test('OpenSSL out of reach is said, and no failure of the drill', () => {
    const report = drillReport(START, after({ openssl: null }), 10);
    expect(report).toMatchObject({ ok: true, opensslHealed: null });
    expect(drillLines(report).join('\n')).toContain('OpenSSL:  out of reach');
  });

  test('without anybody in conversation it says that nobody was called, and claims nothing of peers', () => {
    const idle = { recovery: recovery(0, 0), peers: [peerStatus()] };
    const report = drillReport(START, after(idle), 10);
    expect(report).toMatchObject({ ok: true, called: 0, peers: [] });
    expect(drillLines(report).slice(-2)).toEqual([
      '  peers:    none was in conversation: nobody was called',
      '  nothing was shown of peers: drill again under traffic',
    ]);
    const failed = drillLines(drillReport(START, after({ ...idle, staleKeypairs: 1 }), 10));
    expect(failed.at(-1)).toBe('  FAILED: 1 keypair of an older epoch could still seal');
  });

  test('a hundred that are not back are counted, not listed, and hide nothing that is worse', () => {
    const missing = Array.from({ length: 100 }, (_, i) => back(i + 4, null));
    const peers = [...missing, back(2, 1, 7), back(3, 1)];
    const lines = drillLines(drillReport(START, after({ recovery: recovery(2, 102), peers }), 10));
    expect(lines).toContain('    and 82 more, 80 of them not back');
    const failures = lines.filter(line => line.startsWith('  FAILED: '));
    expect(failures).toHaveLength(21);
    expect(failures[0]).toBe(`  FAILED: peer ${keyText(2)} has the session that it had before`);
    expect(failures[20]).toBe('  FAILED: and 81 problems more');
  });

  test('of very many peers it shows those that are not back, and the slowest', () => {
    const peers = Array.from({ length: 200 }, (_, i) => back(i + 4, i === 0 ? null : i));
    const lines = drillLines(drillReport(START, after({ recovery: recovery(199, 200), peers }), 10));
    const shown = lines.filter(line => /^ {4}\S+ {2}/.test(line));
    expect(shown).toHaveLength(20);
    expect(shown[0]).toContain('not back');
    expect(shown[1]).toContain('back after 199 ms');
    expect(lines).toContain('    and 180 more, all sooner');
  });

  test('it is over when all are back or another epoch has begun, not before', () => {
    expect(isOver(START, after())).toBe(true);
    expect(isOver(START, after({ epoch: 3 }))).toBe(true);
    expect(isOver(START, after({ recovery: recovery(1, 2) }))).toBe(false);
    expect(isOver(START, after({ recovery: { ...recovery(2, 2), epoch: 1 } }))).toBe(false);
    expect(isOver(START, after({ epoch: 1, recovery: null }))).toBe(false);
  });
});
