// `wireonce status --watch`: drawn again and again, on a terminal in place; what it says of a daemon that is restarted.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runCli } from '../../cli/program.js';
import { screenOf } from '../../cli/screen.js';
import { watchStatus } from '../../cli/status-watch.js';
import type { DeviceStatus } from '../../tunnel/daemon/status.js';
import { UapiServer } from '../../tunnel/daemon/uapi/index.js';
import { deviceStatus, keyText, peerStatus } from '../tunnel/daemon/status.js';
import { MemoryBackend } from '../tunnel/daemon/uapi/backend.js';
import { type Terminal, terminal } from './terminal.js';

const NOW = 1_700_000_100_000;
const SHOW_CURSOR = '\u001b[?25h';
const HIDE_CURSOR = '\u001b[?25l';
let folder: string;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wireonce-watch-'));
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  await rm(folder, { recursive: true, force: true });
});

/** A daemon that gives these answers, the last of them for ever. Resolves with what ends it. */
async function serve(name: string, ...statuses: DeviceStatus[]): Promise<() => Promise<void>> {
  let asked = 0;
  const status = () => statuses[Math.min(asked++, statuses.length - 1)];
  const server = await UapiServer.listen(
    join(folder, `${name}.sock`),
    Object.assign(new MemoryBackend(), { status }),
  );
  cleanups.push(() => server.close());
  return () => server.close();
}

interface Watching {
  readonly io: Terminal;
  readonly ended: Promise<unknown>;
}

/** Watches; `onPicture` is called when so many have been drawn, and an answer of `true` ends it. */
function watch(
  onPicture: (count: number) => unknown,
  options: { interface?: string; json?: boolean; tty?: { columns: number; rows: number } } = {},
): Watching {
  const { tty, ...rest } = options;
  const io = terminal();
  if (tty) Object.assign(io.stdout, { isTTY: true, ...tty });
  let count = 0;
  const marker = tty ? '\u001b[H' : options.json ? '\n' : '--- ';
  io.onOut = () => {
    const drawn = io.out.split(marker).length - 1;
    if (drawn === count) return;
    count = drawn;
    void Promise.resolve(onPicture(count)).then(isDone => isDone === true && io.interrupt());
  };
  const ended = watchStatus(io, 0.02, { folder, now: () => NOW, ...rest }).catch((error: Error) => error);
  return { io, ended };
}

const peer = (rxBytes: number, txBytes: number) =>
  peerStatus({ publicKey: keyText(3), rxBytes, txBytes, hasSession: true, sessionEpoch: 1 });

describe('where there is no terminal', () => {
  test('blocks come one after another, each under a line with the time, and it ends with 0', async () => {
    await serve('wg0', deviceStatus());
    const { io, ended } = watch(count => count >= 3);
    expect(await ended).toBe(0);
    const blocks = io.out.split(/^--- /m);
    expect(blocks.length).toBeGreaterThanOrEqual(4);
    expect(blocks[1]).toMatch(/^wireonce status, every 0\.02 s: 2023-11-14T22:15:00\.000Z\ninterface: wg0\n/);
    expect(io.out).not.toContain('\u001b');
  });

  test('what has changed is marked, and what stays is not', async () => {
    await serve('wg0', deviceStatus(), deviceStatus({ epoch: 2, forks: 1, uptimeMs: 9_000 }));
    const { io, ended } = watch(count => count >= 3);
    await ended;
    const [, first, second, third] = io.out.split(/^--- /m);
    expect(first).not.toMatch(/^\*/m);
    expect(second.match(/^\*.*/gm)).toEqual([expect.stringMatching(/^\* epoch: +2 \(1 fork seen\)$/)]);
    expect(third ?? '').not.toMatch(/^\*/m);
  });

  test('bytes a second stand beside the totals, once two are known, and not where counters began anew', async () => {
    await serve(
      'wg0',
      deviceStatus({ uptimeMs: 5_000, peers: [peer(0, 0)] }),
      deviceStatus({ uptimeMs: 5_020, peers: [peer(1_024, 0)] }),
      deviceStatus({ uptimeMs: 20, peers: [peer(2_048, 7)] }),
      deviceStatus({ uptimeMs: 40, peers: [peer(2_048, 7)] }),
    );
    const { io, ended } = watch(count => count >= 4);
    await ended;
    const transfers = io.out.match(/transfer: .*/g) ?? [];
    expect(transfers[0]).toMatch(/0 B received, 0 B sent$/);
    expect(transfers[1]).toMatch(/1\.00 KiB received, 0 B sent \(\d[\d.]* (Ki|Mi)?B\/s in, 0 B\/s out\)$/);
    expect(transfers[2]).toMatch(/2\.00 KiB received, 7 B sent$/);
    expect(transfers[3]).toMatch(/\(0 B\/s in, 0 B\/s out\)$/);
  });

  test('JSON is one object a line', async () => {
    await serve('wg0', deviceStatus(), deviceStatus({ epoch: 2 }));
    const { io, ended } = watch(count => count >= 3, { json: true });
    expect(await ended).toBe(0);
    const epochs = io.out
      .trimEnd()
      .split('\n')
      .map(line => (JSON.parse(line) as DeviceStatus).epoch);
    expect(epochs.slice(0, 3)).toEqual([1, 2, 2]);
  });
});

describe('a daemon that goes', () => {
  test.each([
    ['in blocks', false],
    ['in JSON', true],
  ])('is waited for, which is said, and shown when it is back (%s)', async (_, json) => {
    const end = await serve('wg0', deviceStatus({ epoch: 7 }));
    const { io, ended } = watch(() => /epoch"?: *8/.test(io.out), { interface: 'wg0', json });
    const until = async (isSo: () => boolean) => {
      while (!isSo()) await new Promise(resolve => setTimeout(resolve, 5));
    };
    await until(() => /epoch"?: *7/.test(io.out));
    await end();
    await until(() => /no daemon answers/.test(json ? io.err : io.out));
    await serve('wg0', deviceStatus({ epoch: 8 }));
    expect(await ended).toBe(0);
    if (json) expect(io.err.match(/wg0: no daemon answers.*; waiting for it/g)).toHaveLength(1);
    else expect(io.out).toMatch(/^interface: wg0\n[* ] waiting: wg0: no daemon answers/m);
  });

  test('that was never there is no reason to wait', async () => {
    const { ended } = watch(() => true, { interface: 'wg9' });
    expect(await ended).toMatchObject({ code: 'ERR_CLI_NO_DAEMON' });
    expect(await watch(() => true).ended).toMatchObject({ code: 'ERR_CLI_NO_DAEMON' });
  });

  test('a signal ends the wait for one that is silent', async () => {
    const { createServer } = await import('node:net');
    const server = createServer(() => undefined);
    await new Promise<void>(resolve => server.listen(join(folder, 'wg0.sock'), resolve));
    cleanups.push(() => server.close());
    const io = terminal();
    const ended = watchStatus(io, 1, { folder, timeout: 600, interface: 'wg0' });
    setTimeout(() => io.interrupt(), 20);
    expect(await ended).toBe(0);
  });
});

describe('on a terminal', () => {
  const tty = { columns: 40, rows: 10 };

  test('it draws in place, hides the cursor and gives it back', async () => {
    await serve('wg0', deviceStatus());
    const { io, ended } = watch(count => count >= 3, { tty });
    expect(await ended).toBe(0);
    expect(io.out.startsWith(`${HIDE_CURSOR}\u001b[2J\u001b[H`)).toBe(true);
    expect(io.out.split('\u001b[2J')).toHaveLength(2);
    expect(io.out.endsWith(`\n${SHOW_CURSOR}`)).toBe(true);
    const [, , second] = io.out.split('\u001b[H');
    const lines = second.split('\u001b[J')[0].split('\n');
    expect(lines.length).toBe(9);
    // oxlint-disable-next-line no-control-regex -- what a terminal is told
    for (const line of lines) expect(line.replaceAll(/\u001b\[\w*/g, '').length).toBeLessThanOrEqual(40);
    expect(lines.at(-1)).toMatch(/^\(\d+ more lines: make the terminal taller/);
  });

  test('a failure gives the cursor back too', async () => {
    await serve('wg0', deviceStatus());
    const io = terminal();
    Object.assign(io.stdout, { isTTY: true, ...tty });
    let calls = 0;
    const now = () => {
      if (++calls > 3) throw new Error('the clock is gone');
      return NOW;
    };
    await expect(watchStatus(io, 0.01, { folder, now })).rejects.toThrow('the clock is gone');
    expect(io.out.endsWith(SHOW_CURSOR)).toBe(true);
  });

  test('a resized one is drawn anew at once, as large as it is now', () => {
    const io = terminal();
    const stream = Object.assign(io.stdout, { isTTY: true, ...tty });
    const screen = screenOf(io);
    screen.draw(
      'title',
      Array.from({ length: 50 }, (_, i) => ({ text: `${i}`.repeat(60), isNew: false })),
    );
    Object.assign(stream, { columns: 50, rows: 30 });
    stream.emit('resize');
    const [, , second] = io.out.split('\u001b[2J');
    expect(second.split('\n')).toHaveLength(29);
    expect(second).toContain(`${'1'.repeat(50)}\u001b[K\n`);
    screen.close();
    expect(stream.listenerCount('resize')).toBe(0);
  });

  test('one that does not know how large it is has 80 columns and 24 rows', () => {
    const io = terminal();
    Object.assign(io.stdout, { isTTY: true, columns: 0, rows: 0 });
    const screen = screenOf(io);
    screen.draw(
      'title',
      Array.from({ length: 50 }, () => ({ text: 'x'.repeat(90), isNew: false })),
    );
    screen.close();
    expect(io.out).toContain(`${'x'.repeat(80)}\u001b[K\n`);
    expect(io.out).not.toContain('x'.repeat(81));
    expect(io.out.match(/x{80}/g)).toHaveLength(20);
  });

  test.each([
    [{}, true],
    [{ NO_COLOR: '1' }, false],
  ])('what is new is bold, unless %j says no', (env, isBold) => {
    const io = terminal('', env);
    Object.assign(io.stdout, { isTTY: true });
    const screen = screenOf(io);
    screen.draw('title', [{ text: '* new', isNew: true }]);
    screen.close();
    expect(io.out.includes('\u001b[1m* new\u001b[0m')).toBe(isBold);
    expect(io.out).toContain('* new');
  });

  test.each([true, false])('text from elsewhere steers it not (a terminal: %j)', isTTY => {
    const io = terminal('', { NO_COLOR: '1' });
    Object.assign(io.stdout, { isTTY });
    const screen = screenOf(io);
    const foreign = 'wg\u001b[8m\n\u009b2J\u202e0';
    screen.draw(foreign, [{ text: foreign, isNew: true }]);
    screen.close();
    // oxlint-disable-next-line no-control-regex -- the screen's own.
    const own = io.out.replaceAll(/\u001b\[(?:\?25[lh]|2J|H|K|J)/g, '').replaceAll('\n', '');
    expect(own).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(own.split(String.raw`wg\u001b[8m\u000a\u009b2J\u202e0`)).toHaveLength(3);
  });
});

test.each([
  [['status', '--watch', 'wireonce-none'], 1, /wireonce-none: no daemon answers/],
  [['status', 'wireonce-none', '--watch'], 1, /wireonce-none: no daemon answers/],
  [['status', '--watch', '5', 'wireonce-none'], 1, /wireonce-none: no daemon answers/],
  [['status', '--watch', '0'], 2, /A number of seconds from 0\.1 to 86400/],
  [['status', '--watch', 'a/b'], 2, /seconds/],
  [['status', '--watch', 'wg0', 'wg1'], 2, /wg0/],
] as const)('%j', async (args, code, said) => {
  const io = terminal();
  expect(await runCli([...args], io)).toBe(code);
  expect(io.err).toMatch(said);
});
