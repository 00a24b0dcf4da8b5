// The claim to a page: one holder, for as long as it lives.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { PageLock } from '../../../vmgenid/broker/page-lock.js';

let folder: string;
let page: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-lock-'));
  page = join(folder, 'vmgenid');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const inUse = expect.objectContaining({ code: 'ERR_BROKER_IN_USE' });

it('is one at a time, also within one process, and leaves nothing behind', () => {
  const lock = new PageLock(page);
  expect(() => new PageLock(page)).toThrow(inUse);
  lock.release();
  lock.release();
  expect(existsSync(`${page}.lock`)).toBe(false);
  new PageLock(page).release();
});

it('is of a file that none but its owner can open: a reader of the page cannot take it', () => {
  const lock = new PageLock(page);
  expect(statSync(`${page}.lock`).mode & 0o777).toBe(0o600);
  lock.release();
});

it('ends with a process that is killed, and what that one leaves is no obstacle', async () => {
  const hold = `exec 9>>"$1"; flock 9; echo held; exec sleep 1000`;
  const holder = spawn('sh', ['-c', hold, 'sh', `${page}.lock`], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(holder.stdout, 'data');
    expect(() => new PageLock(page)).toThrow(inUse);
  } finally {
    holder.kill('SIGKILL');
    await once(holder, 'exit');
  }
  expect(existsSync(`${page}.lock`)).toBe(true);
  new PageLock(page).release();
});

it('removes no other file that has its name by now', () => {
  const lock = new PageLock(page);
  unlinkSync(`${page}.lock`);
  const next = new PageLock(page);
  lock.release();
  expect(() => new PageLock(page)).toThrow(inUse);
  next.release();
});

it('is refused with the reason where it cannot be had', () => {
  const refused = (reason: RegExp) =>
    expect.objectContaining({ code: 'ERR_BROKER_FILE', message: expect.stringMatching(reason) });
  expect(() => new PageLock(join(folder, 'no', 'page'))).toThrow(refused(/ENOENT/));
  writeFileSync(`${page}.other`, '');
  symlinkSync(`${page}.other`, `${page}.lock`);
  expect(() => new PageLock(page)).toThrow(refused(/ELOOP/));
  unlinkSync(`${page}.lock`);
  const path = process.env['PATH'];
  process.env['PATH'] = folder;
  try {
    expect(() => new PageLock(page)).toThrow(refused(/takes the command flock .*ENOENT/));
  } finally {
    process.env['PATH'] = path;
  }
});
