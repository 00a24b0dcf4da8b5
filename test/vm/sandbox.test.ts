// The host's side of docs/sandbox-platforms.md: its commands for QEMU, as they stand there, with a guest of ours.

import { spawn } from 'node:child_process';
import { copyFileSync, appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { documentBlocks } from '../support/document-blocks.js';
import { writeCpio } from './harness/cpio.js';
import { guestImage } from './harness/guest-image.js';

/** Runs in place of the lab's own, as the later of two archives wins: says on its console what `vmgenid watch` says. */
const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
exec /usr/bin/node /app/dist/cli/main.js vmgenid watch >/dev/ttyS0 2>&1
`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-sandbox-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('two copies by the commands of the page each see a generation of their own, before anything else tells', async () => {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'wireonce-vm');
  const image = await guestImage(cache, () => {});
  copyFileSync(image.vmlinuz, join(folder, 'vmlinuz'));
  copyFileSync(image.initrd, join(folder, 'initrd'));
  writeCpio(join(folder, 'more'), [
    { path: 'init', kind: 'file', executable: true, data: Buffer.from(INIT) },
  ]);
  appendFileSync(join(folder, 'initrd'), readFileSync(join(folder, 'more')));

  const blocks = documentBlocks('docs/sandbox-platforms.md');
  const [settings] = blocks.filter(block => block.startsWith('# host, not run: names of yours\n'));
  const [commands, ...others] = blocks.filter(block => block.startsWith('# host\n'));
  expect(others).toEqual([]);
  // What the page says, but for the processor, which may have no help here, and for what is waited for.
  const script = [
    settings
      .replace('-accel kvm -cpu host', '-accel tcg -cpu max')
      // An emulated timer on a busy machine is late.
      .replace('console=ttyS0', 'console=ttyS0 no_timer_check panic=-1'),
    'READY=watching AFTER=fork:',
    commands,
    'kill $(jobs -p)',
  ];
  expect(script[0]).toContain('tcg -cpu max');
  await shell(script.join('\n'));
  const logs = ['original', 'copy1', 'copy2'].map(name =>
    readFileSync(join(folder, `${name}.log`), 'latin1'),
  );
  const [original, ...seen] = logs.map(
    log => /fork: epoch 2, seen by acpi, generation ([0-9a-f-]{36})/.exec(log)?.[1],
  );
  expect(original).toBeUndefined();
  expect(new Set(seen.map(guid => guid ?? 'none')).size).toBe(2);
  expect(seen).not.toContain(undefined);
});

/** Runs a script to its end, in a group of its own, of which nothing outlives this. */
async function shell(script: string): Promise<void> {
  const limits = ['--pdeathsig', 'TERM', 'nice', 'timeout', '--kill-after=5', '280'];
  const child = spawn('setpriv', [...limits, 'bash', '-euc', script], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let complaint = '';
  child.stderr.on('data', (text: Buffer) => (complaint += text.toString()));
  const code = await new Promise(done => child.once('exit', done));
  expect([code, complaint]).toEqual([0, complaint]);
}
