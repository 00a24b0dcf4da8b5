// A store on a disk that is full, or that may only be read: what was promised stays, and what cannot be done is said.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FilePeerStore } from '../../../gateway/stores/file.js';
import { encodeKey } from '../../../tunnel/keys.js';
import { keyOf, listed, peer, put } from '../../gateway/stores/stores.js';
import { PROGRAM } from '../daemon/support/machine.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-small-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=600k', 'wireonce-small-disk', folder]);
});
afterEach(() => {
  // Older Nodes close a file when they find the time.
  execFileSync('umount', ['--lazy', folder]);
  rmSync(folder, { recursive: true });
});

it('a full disk takes nothing of what was promised, and a change that it cannot keep is refused whole', async () => {
  const path = join(folder, 'peers');
  const store = await FilePeerStore.open(path);
  const promised: number[] = [];
  const refusals: unknown[] = [];
  for (let n = 0; refusals.length === 0 && n < 100_000; n += 100) {
    const batch = Array.from({ length: 100 }, (_, i) => n + i);
    const put100 = batch.map(each => put(store, peer(each)).then(() => promised.push(each)));
    for (const outcome of await Promise.allSettled(put100))
      if (outcome.status === 'rejected') refusals.push(outcome.reason);
  }
  expect(promised.length).toBeGreaterThan(500);
  expect(refusals).toHaveLength(100);
  const full = { code: 'ERR_STORE_WRITE', message: `${path}: no space is left on the device` };
  expect(refusals[0]).toMatchObject(full);
  expect(store.count()).toBe(promised.length);
  await store.close();
  const again = await FilePeerStore.open(path);
  expect(await listed(again)).toHaveLength(promised.length);
  for (const n of promised) expect(again.get(keyOf(n))).toEqual(peer(n));
  // As soon as there is room again it goes on.
  execFileSync('mount', ['-o', 'remount,size=4m', folder]);
  await put(again, peer(200_000));
  expect(again.count()).toBe(promised.length + 1);
  await again.close();
});

it('one that may only be read is listed, and not changed', () => {
  const store = ['--store', join(folder, 'peers')];
  const peers = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, 'peers', ...args, ...store], {
      encoding: 'utf8',
    });
    return [status, stdout, stderr];
  };
  const add = (n: number) => peers('add', 'wo-nobody', encodeKey(keyOf(n)), '--allowed-ips', `fd00::${n}`);
  expect(add(1)).toEqual([0, `added ${encodeKey(keyOf(1))}\n`, '']);
  execFileSync('mount', ['-o', 'remount,ro', folder]);
  expect(add(2)).toEqual([1, '', `wireonce: ${store[1]}: it may not be written\n`]);
  const [status, stdout, stderr] = peers('list', 'wo-nobody', '--json');
  expect([status, stderr]).toEqual([0, '']);
  expect(JSON.parse(String(stdout))).toMatchObject({ allowedIps: ['fd00::1/128'] });
});
