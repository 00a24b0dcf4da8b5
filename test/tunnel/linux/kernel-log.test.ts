// A device thread hears of a fork from the kernel's log without looking at it: a pipe stands for the log.

import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EIO } from '../../../tunnel/linux/errno.js';
import { KernelLog } from '../../../tunnel/linux/kernel-log.js';
import { type Libc, POLLIN } from '../../../tunnel/linux/libc.js';
import { Poller } from '../../../tunnel/linux/wait/poller.js';
import { FORK_LINE } from '../../../vmgenid/sources/kmsg.js';
import { libc } from './sockets.js';

let folder: string;
let path: string;
let log: KernelLog;
let writer: number;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-kernel-log-'));
  path = join(folder, 'kmsg');
  spawnSync('mkfifo', [path]);
  log = KernelLog.open(libc, path);
  writer = openSync(path, 'w');
});
afterEach(() => {
  log.close();
  closeSync(writer);
  rmSync(folder, { recursive: true });
});

test('a new line makes it readable, and only one about a fork is reason to look', () => {
  const poller = new Poller(libc);
  poller.add(log.fd, POLLIN);
  expect(poller.wait(0)).toBe(0);
  writeSync(writer, '6,1,1,-;something else\n');
  expect(poller.wait(1_000)).toBe(1);
  expect(log.readable()).toBe(false);
  expect(poller.wait(0)).toBe(0);
  writeSync(writer, `5,2,2,-;${FORK_LINE}\n`);
  expect(log.readable()).toBe(true);
  expect(log.readable()).toBe(false);
});

test('what stood there before is no news', () => {
  writeSync(writer, `5,2,2,-;${FORK_LINE}\n`);
  const later = KernelLog.open(libc, path);
  expect(later.readable()).toBe(false);
  later.close();
});

test('a log that cannot be read is closed, once, and is reason to look', () => {
  const closed: number[] = [];
  let answer = 0;
  const failing = {
    open: () => 99,
    readInto: () => answer,
    close: (fd: number) => closed.push(fd),
  } as unknown as Libc;
  const broken = KernelLog.open(failing, path);
  answer = -EIO;
  expect(broken.readable()).toBe(true);
  broken.close();
  expect([broken.fd, closed]).toEqual([-1, [99]]);
  expect(KernelLog.open(failing, path).fd).toBe(-1);
  expect(KernelLog.open(libc, join(folder, 'nowhere')).fd).toBe(-1);
});
