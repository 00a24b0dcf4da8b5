// The vmclock source, on a plain file in place of the device.

import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lateWriter } from '../support/late-writer.js';
import { AcpiMachine, VMCLOCK_SSDT, vmclockTable } from '../support/acpi-tables.js';
import { DeviceTreeMachine } from '../support/device-trees.js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { VmGenId } from '../../vmgenid/driver.js';
import { NO_EPOCH } from '../../vmgenid/generation.js';
import { VmclockSource, type VmclockSourceOptions } from '../../vmgenid/sources/vmclock.js';

interface Page {
  magic?: number;
  seq?: number;
  disruption?: bigint;
  flags?: bigint;
  size?: number;
  generation?: bigint;
}

function page({
  magic = 0x4b4c4356,
  seq = 4,
  disruption = 0n,
  flags = 1n << 8n,
  size = 112,
  generation = 7n,
}: Page = {}): Buffer {
  const bytes = Buffer.alloc(112);
  bytes.writeUInt32LE(magic, 0);
  bytes.writeUInt32LE(size, 4);
  bytes.writeUInt32LE(seq, 12);
  bytes.writeBigUInt64LE(disruption, 16);
  bytes.writeBigUInt64LE(flags, 24);
  bytes.writeBigUInt64LE(generation, 104);
  return bytes;
}

let folder: string;
let path: string;
const open: { close(): unknown }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-vmclock-'));
  path = join(folder, 'vmclock0');
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const it of open.splice(0)) await it.close();
  rmSync(folder, { recursive: true, force: true });
});

function source(): VmclockSource {
  const it = new VmclockSource({ path, pollMs: 5 });
  open.push(it);
  return it;
}

function read(from = source()): number[] {
  const words = new Uint32Array(4).fill(0xff);
  from.read(words);
  return [...words];
}

/** Writes over what is there: a file that is cut off, be it for a moment, ends whoever has it in memory. */
function hypervisor(content: Buffer): void {
  writeFileSync(path, content, { flag: 'r+' });
}

/** Has `act` called after so many loads of the page, of those that follow. */
function afterLoad(number: number, act: () => void): void {
  const { load } = Atomics;
  let loads = 0;
  vi.spyOn(Atomics, 'load').mockImplementation((...args: Parameters<typeof load>) => {
    const loaded = load(...args);
    if (++loads === number) act();
    return loaded;
  });
}

describe('vmclock source', () => {
  it('is immediate and a counter, of all 64 bits', () => {
    writeFileSync(path, page({ generation: 0x1122334455667788n }));
    expect(source()).toMatchObject({ name: `vmclock:${path}`, timing: 'immediate', uniqueness: 'counter' });
    expect(new VmclockSource().name).toBe('vmclock');
    expect(read()).toEqual([0x55667788, 0x11223344, 0, 0]);
  });

  it.each([
    ['a wrong magic', page({ magic: 0x4b4c4357 }), 'ERR_SOURCE_FORMAT', /wrong magic/],
    ['a short page', page().subarray(0, 111), 'ERR_SOURCE_FORMAT', /shorter than 112/],
    ['an empty file', Buffer.alloc(0), 'ERR_SOURCE_FORMAT', /shorter than 112/],
    ['a page of zeros', Buffer.alloc(4_096), 'ERR_SOURCE_FORMAT', /wrong magic/],
    ['a page that ends before the counter', page({ size: 104 }), 'ERR_SOURCE_FORMAT', /it has 104 bytes/],
    ['a page without a counter', page({ flags: 0xffff_feffn }), 'ERR_SOURCE_FORMAT', /flag bit 8/],
    ['a sequence that stays odd', page({ seq: 5 }), 'ERR_SOURCE_TORN', /never settled/],
    [
      'one that is 1, at the first writing',
      page({ seq: 1, generation: 1n << 32n }),
      'ERR_SOURCE_TORN',
      /never settled/,
    ],
  ])('refuses %s, with path and reason', (_name, content, code, reason) => {
    writeFileSync(path, content);
    expect(() => read()).toThrow(expect.objectContaining({ code, message: expect.stringMatching(reason) }));
    expect(() => read()).toThrow(path);
  });

  it('refuses a pipe in place of the device, and waits for nobody at its other end', () => {
    execFileSync('mkfifo', [path]);
    const late = lateWriter(path);
    open.push(late);
    expect(() => read()).toThrow(expect.objectContaining({ code: 'ERR_SOURCE_UNREADABLE' }));
    expect(late.hasCome()).toBe(false);
  });

  it('refuses a device that is not there, and one that is not for this user', async () => {
    expect(() => read()).toThrow(expect.objectContaining({ code: 'ERR_SOURCE_UNREADABLE' }));
    writeFileSync(path, page());
    vi.resetModules();
    vi.doMock('node:fs', async importOriginal => ({
      ...(await importOriginal<typeof import('node:fs')>()),
      openSync: () => {
        throw Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
      },
    }));
    const { VmclockSource: Refused } = await import('../../vmgenid/sources/vmclock.js');
    vi.doUnmock('node:fs');
    expect(() => new Refused({ path }).read(new Uint32Array(4))).toThrow(
      `${path}: this user may not read it`,
    );
  });

  it('reads without a system call what the hypervisor has written since', () => {
    writeFileSync(path, page({ generation: 1n }));
    const it = source();
    expect(read(it)).toEqual([1, 0, 0, 0]);
    hypervisor(page({ seq: 6, generation: 2n }));
    rmSync(path);
    expect(read(it)).toEqual([2, 0, 0, 0]);
  });

  it('takes two loads while nothing is written, and sees the counter move though the sequence did not', () => {
    writeFileSync(path, page({ generation: 1n }));
    const it = source();
    read(it);
    const load = vi.spyOn(Atomics, 'load');
    expect(read(it)).toEqual([1, 0, 0, 0]);
    expect(load).toHaveBeenCalledTimes(2);
    hypervisor(page({ generation: 2n }));
    expect(read(it)).toEqual([2, 0, 0, 0]);
  });

  it('looks again while the page is being written', () => {
    writeFileSync(path, page({ seq: 4, generation: 1n }));
    const it = source();
    read(it);
    hypervisor(page({ seq: 5, generation: 1n }));
    afterLoad(30, () => hypervisor(page({ seq: 6, generation: 2n })));
    expect(read(it)).toEqual([2, 0, 0, 0]);
  });

  it.each([1, 2, 3, 4, 5])('takes no page that was written after its load %i', loads => {
    writeFileSync(path, page({ seq: 4, generation: 0x1_0000_0001n }));
    const it = source();
    afterLoad(loads, () => hypervisor(page({ seq: 6, generation: 0x2_0000_0002n })));
    expect(read(it)).toEqual([2, 2, 0, 0]);
  });

  it('control: where the sequence does not move, half of each value is taken', () => {
    writeFileSync(path, page({ seq: 4, generation: 0x1_0000_0001n }));
    const it = source();
    afterLoad(4, () => hypervisor(page({ seq: 4, generation: 0x2_0000_0002n })));
    expect(read(it)).toEqual([1, 2, 0, 0]);
  });

  it('a live migration moves the disruption marker and is no fork; a new generation is one', async () => {
    writeFileSync(path, page({ disruption: 1n }));
    const vm = new VmGenId([source()]);
    open.push(vm);
    hypervisor(page({ disruption: 2n, seq: 8 }));
    expect(vm.check()).toBe(1);
    hypervisor(page({ disruption: 2n, seq: 10, generation: 8n }));
    expect(vm.check()).toBe(2);
    expect(vm.evidence.vmGenId).toBeUndefined();
  });

  it('lets nothing out while the page is unfit, and recovers', () => {
    writeFileSync(path, page());
    const vm = new VmGenId([source()]);
    open.push(vm);
    hypervisor(page({ seq: 5 }));
    expect(vm.check()).toBe(NO_EPOCH);
    hypervisor(page());
    expect(vm.check()).toBe(1);
  });

  it('a program that never asks is told too', async () => {
    writeFileSync(path, page());
    const vm = new VmGenId([source()]);
    open.push(vm);
    await vm.start();
    hypervisor(page({ generation: 8n }));
    await vi.waitFor(() => expect(vm.epoch).toBe(2), { timeout: 10_000 });
  });
});

describe('where the kernel has no driver, the page', () => {
  const machines: { remove(): void }[] = [];
  afterEach(() => {
    for (const machine of machines.splice(0)) machine.remove();
  });

  const NOWHERE = { tables: '/nowhere/tables', tree: '/nowhere/tree' };

  function keep<M extends { remove(): void }>(machine: M): M {
    machines.push(machine);
    return machine;
  }

  function found(options: VmclockSourceOptions): VmclockSource {
    const it = new VmclockSource({ ...NOWHERE, pollMs: 3_600_000, ...options });
    open.push(it);
    return it;
  }

  function acpi(address = 0x2000, content = page()): AcpiMachine {
    const machine = keep(new AcpiMachine({ SSDT1: vmclockTable(address) }));
    machine.write(0x2000, content);
    return machine;
  }

  function tree(reg = [0, 0x3000, 0, 4_096], content = page({ generation: 9n })): DeviceTreeMachine {
    const machine = keep(new DeviceTreeMachine({ '/ptp': { compatible: 'amazon,vmclock', reg } }));
    machine.write(0x3000, content);
    return machine;
  }

  it('is found by the ACPI tables', () => {
    const { tables, memory } = acpi();
    const it = found({ tables, memory });
    expect([it.name, read(it)]).toEqual(['vmclock', [7, 0, 0, 0]]);
  });

  it('is found by the device tree, and read without a system call', () => {
    const machine = tree();
    const it = found({ tree: machine.tree, memory: machine.memory });
    expect(read(it)).toEqual([9, 0, 0, 0]);
    rmSync(machine.tree, { recursive: true });
    machine.write(0x3000, page({ seq: 6, generation: 10n }));
    expect(read(it)).toEqual([10, 0, 0, 0]);
  });

  it('is that of ACPI where both name one', () => {
    const { tables, memory } = acpi();
    expect(read(found({ tables, memory, tree: tree().tree }))).toEqual([7, 0, 0, 0]);
  });

  it('is read by a descriptor that was opened while there was the right to, once', () => {
    const { tables, memory } = acpi();
    const memoryFd = openSync(memory, 'r');
    try {
      const it = found({ tables, memory: '/nowhere/mem', memoryFd });
      expect(read(it)).toEqual([7, 0, 0, 0]);
      it.close();
      expect(() => read(it)).toThrow('/nowhere/mem is not there');
    } finally {
      closeSync(memoryFd);
    }
  });

  it('has nothing that tells of changes', () => {
    const { tables, memory } = acpi(0x2000, page({ flags: 3n << 8n }));
    expect(found({ tables, memory }).notice).toBeUndefined();
  });

  it.each<[string, () => VmclockSourceOptions, string, RegExp]>([
    [
      'nobody names one',
      () => NOWHERE,
      'ERR_SOURCE_UNAVAILABLE',
      /vmclock0 is not there, and neither ACPI nor/,
    ],
    ['no device has it', () => keep(new AcpiMachine({})), 'ERR_SOURCE_UNAVAILABLE', /offers none/],
    [
      'it has another magic',
      () => acpi(0x2000, page({ magic: 1 })),
      'ERR_SOURCE_FORMAT',
      /^ACPI table SSDT1: .*wrong magic/,
    ],
    ['it is all zeros', () => acpi(0x5000), 'ERR_SOURCE_FORMAT', /wrong magic/],
    ['the table says 0', () => acpi(0), 'ERR_SOURCE_FORMAT', /lies at 0x0, which is no place/],
    [
      'the node is too short',
      () => tree([0, 0x3000, 0, 64]),
      'ERR_SOURCE_FORMAT',
      /\/ptp: a vmclock page of 64 bytes/,
    ],
    ['the node is cut off', () => tree([0, 0x3000]), 'ERR_SOURCE_FORMAT', /^\/ptp has a reg of 8 bytes/],
    [
      'there is no memory',
      () => ({ tree: tree().tree, memory: '/nowhere/mem' }),
      'ERR_SOURCE_UNAVAILABLE',
      /mem is not there/,
    ],
  ])('gives the reason when %s', (_name, make, code, reason) => {
    const it = found(make());
    expect(() => read(it)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(reason) }));
  });

  it('of two tables must be one', () => {
    const { tables, memory } = keep(new AcpiMachine({ SSDT1: VMCLOCK_SSDT, SSDT2: vmclockTable(0x2000) }));
    expect(() => read(found({ tables, memory }))).toThrow(
      'ACPI tables (SSDT1, SSDT2) name more than one vmclock',
    );
  });
});

describe('a page that the kernel tells of', () => {
  it('has a descriptor, which is closed with the source', () => {
    writeFileSync(path, page({ flags: 3n << 8n }));
    const it = source();
    const { notice } = it;
    expect(notice?.settle()).toBe(true);
    expect(it.notice).toBe(notice);
    it.close();
    expect(notice?.settle()).toBe(false);
  });

  it('without that flag has none', () => {
    writeFileSync(path, page());
    expect(source().notice).toBeUndefined();
  });

  it.each([
    ['is not looked at by a timer when somebody waits for it', 3n << 8n, 1],
    ['is, when nothing tells him', 1n << 8n, 2],
  ])('%s', async (_name, flags, epoch) => {
    writeFileSync(path, page({ flags }));
    vi.useFakeTimers();
    try {
      const it = new VmclockSource({ path, watchedElsewhere: true });
      const vm = new VmGenId([it]);
      open.push(vm);
      await vm.start();
      hypervisor(page({ flags, seq: 6, generation: 8n }));
      vi.advanceTimersByTime(60_000);
      expect(vm.epoch).toBe(epoch);
      expect(vm.check()).toBe(2);
    } finally {
      vi.useRealTimers();
    }
  });
});
