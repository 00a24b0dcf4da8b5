// gVisor's file of checkpoints, played by a pipe with a name: who opens it without waiting finds nothing in it until a word is
// written. Tried in gVisor itself as docs/sources.md says.

import { spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { GvisorSource, NO_EPOCH, VmGenId, parseGuid } from 'wireonce/vmgenid';

const GUID = '00112233-4455-6677-8899-aabbccddeeff';
let folder: string;
let gvisor: number | undefined;
const open: { close(): unknown }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-gvisor-'));
  const path = join(folder, 'checkpoint');
  spawnSync('mkfifo', [path]);
  gvisor = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
});
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
  leave();
  rmSync(folder, { recursive: true, force: true });
});

const say = (word: string) => writeSync(gvisor ?? -1, word);
function leave(): void {
  if (gvisor !== undefined) closeSync(gvisor);
  gvisor = undefined;
}

async function start(pollMs = 100_000): Promise<VmGenId> {
  const vm = new VmGenId([new GvisorSource({ folder, pollMs })]);
  open.push(vm);
  await vm.start();
  return vm;
}

const descriptors = () => readdirSync('/proc/self/fd').length;

describe('GvisorSource', () => {
  it('is delayed, and hears of each restore', async () => {
    const vm = await start();
    expect([vm.protection, vm.poll()]).toEqual(['delayed', 1]);
    say('restore\n');
    expect(vm.poll()).toBe(2);
    expect(vm.poll()).toBe(2);
  });

  it.each(['resume\n', 'error\n'])(
    'takes no fork from a checkpoint after which it goes on itself: %j',
    async word => {
      const vm = await start();
      say(word);
      expect(vm.poll()).toBe(1);
      say('restore\n');
      expect(vm.poll()).toBe(2);
    },
  );

  it('knows its new generation where the restored container was given one', async () => {
    const vm = await start();
    writeFileSync(join(folder, 'spec_environ'), `PATH=/bin\0WIREONCE_GENERATION_ID=${GUID}\0HOME=/\0`);
    say('restore\n');
    vm.poll();
    expect(vm.evidence.vmGenId).toEqual(parseGuid(GUID));
    expect(vm.evidence.kernelReseeded).toBe(true);
  });

  it.each(['', 'WIREONCE_GENERATION_ID=mine\0', 'MY_WIREONCE_GENERATION_ID=x\0'])(
    'hears of the fork without one: %j',
    async environment => {
      const vm = await start();
      writeFileSync(join(folder, 'spec_environ'), environment);
      say('restore\n');
      expect(vm.poll()).toBe(2);
      expect(vm.evidence.vmGenId).toBeUndefined();
    },
  );

  it('a program that never asks is told too', async () => {
    const vm = await start(5);
    say('restore\n');
    await vi.waitFor(() => expect(vm.epoch).toBe(2), { timeout: 10_000 });
  });

  it('opens the file anew after each word, and leaves no descriptor', async () => {
    const before = descriptors();
    const vm = await start();
    expect(descriptors()).toBe(before + 1);
    for (let n = 0; n < 10; n++) {
      say('resume\n');
      vm.poll();
    }
    expect(descriptors()).toBe(before + 1);
    await vm.close();
    expect(descriptors()).toBe(before);
  });

  it('vouches for nothing when the file is gone, and again when it is back', async () => {
    const vm = await start();
    say('resume\n');
    rmSync(join(folder, 'checkpoint'));
    expect(vm.poll()).toBe(NO_EPOCH);
    expect(vm.sources[0].reason).toContain('shows no checkpoints');
    leave();
    spawnSync('mkfifo', [join(folder, 'checkpoint')]);
    gvisor = openSync(join(folder, 'checkpoint'), constants.O_RDWR | constants.O_NONBLOCK);
    vm.poll();
    expect(vm.check()).not.toBe(NO_EPOCH);
  });

  it('loses no restore when the file is gone right after its word', async () => {
    const vm = await start();
    say('restore\n');
    rmSync(join(folder, 'checkpoint'));
    expect(vm.poll()).toBe(NO_EPOCH);
    expect(vm.epoch).toBe(2);
  });

  it('takes it for a fork that for a while nobody could hear of one', async () => {
    const vm = await start();
    say('resume\n');
    rmSync(join(folder, 'checkpoint'));
    vm.poll();
    expect(vm.epoch).toBe(1);
    // The next word is said to nobody.
    leave();
    spawnSync('mkfifo', [join(folder, 'checkpoint')]);
    gvisor = openSync(join(folder, 'checkpoint'), constants.O_RDWR | constants.O_NONBLOCK);
    expect(vm.poll()).toBe(2);
    expect(vm.evidence.kernelReseeded).toBe(false);
    expect(vm.poll()).toBe(2);
  });

  it('keeps no program alive', async () => {
    const before = process.getActiveResourcesInfo();
    const vm = new VmGenId([new GvisorSource({ folder })]);
    await vm.start();
    expect(process.getActiveResourcesInfo()).toEqual(before);
    await vm.close();
    // Control: what keeps one alive is seen so.
    const timer = setInterval(() => {}, 10);
    expect(process.getActiveResourcesInfo()).not.toEqual(before);
    clearInterval(timer);
  });

  it('is not there outside gVisor', async () => {
    expect(() => new GvisorSource({ folder: join(folder, 'none') }).requireFile()).toThrow(
      'this is no sandbox of gVisor',
    );
  });
});
