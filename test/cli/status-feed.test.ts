// Pictures of watched interfaces: who is in them, and when they end; and how `status --web` is called.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runCli } from '../../cli/program.js';
import { statusFeed } from '../../cli/status-feed.js';
import { UapiServer } from '../../tunnel/daemon/uapi/index.js';
import { deviceStatus } from '../tunnel/daemon/status.js';
import { MemoryBackend } from '../tunnel/daemon/uapi/backend.js';
import { terminal } from './terminal.js';

let folder: string;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wireonce-feed-'));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  await rm(folder, { recursive: true, force: true });
});

async function serve(name: string): Promise<UapiServer> {
  const backend = Object.assign(new MemoryBackend(), { status: () => deviceStatus({ interface: name }) });
  const server = await UapiServer.listen(join(folder, `${name}.sock`), backend);
  cleanups.push(() => server.close());
  return server;
}

function pictures(options: { interface?: string; timeout?: number } = {}) {
  const ending = new AbortController();
  cleanups.push(() => ending.abort());
  const feed = statusFeed(0.001, { folder, now: () => 7, ...options }, ending.signal);
  const next = async () => {
    const picture = await feed.next();
    return picture.done
      ? undefined
      : picture.value.interfaces.map(state => [state.name, 'status' in state ? 'here' : state.waiting]);
  };
  return { next, end: () => ending.abort() };
}

test('all that answer are in a picture, each that was there stays, and who comes is there', async () => {
  const first = await serve('wg0');
  await serve('wg1');
  const { next } = pictures();
  expect(await next()).toEqual([
    ['wg0', 'here'],
    ['wg1', 'here'],
  ]);
  await first.close();
  expect(await next()).toEqual([
    ['wg1', 'here'],
    ['wg0', expect.stringContaining('no daemon answers')],
  ]);
  await serve('wg0');
  expect(await next()).toEqual([
    ['wg0', 'here'],
    ['wg1', 'here'],
  ]);
});

test('one that is named is waited for, though it never was there', async () => {
  const { next } = pictures({ interface: 'wg0' });
  expect(await next()).toEqual([['wg0', expect.stringContaining('wg0: no daemon answers')]]);
  await serve('wg0');
  expect(await next()).toEqual([['wg0', 'here']]);
});

test('a dead socket of somebody else is in no picture', async () => {
  await serve('wg1');
  await writeFile(join(folder, 'wg9.sock'), '');
  const { next } = pictures();
  expect(await next()).toEqual([['wg1', 'here']]);
});

test('the signal ends it, in the midst of a silence too', async () => {
  const silent = createServer(() => undefined);
  await new Promise<void>(resolve => silent.listen(join(folder, 'wg0.sock'), resolve));
  cleanups.push(() => silent.close());
  const { next, end } = pictures({ timeout: 600 });
  const picture = next();
  end();
  expect(await picture).toBeUndefined();
});

test.each([
  [['status', 'wireonce-none', '--web'], 1, /wireonce-none: no daemon answers/],
  [['status', '--web', '--json'], 2, /'--web' cannot be used with option '--json'/],
  [['status', '--web', '--port', '0'], 2, /It takes a port, from 1 to 65535/],
] as const)('%j', async (args, code, said) => {
  const io = terminal();
  expect(await runCli([...args], io)).toBe(code);
  expect([io.err, io.out]).toEqual([expect.stringMatching(said), '']);
});
