// Which sources a machine offers, and the driver that is made of them.

import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  MemorySource,
  NO_EPOCH,
  type OpenVmGenIdOptions,
  type SourceSelection,
  type VmGenId,
  detectSources,
  openImmediateSources,
  openVmGenId,
} from 'wireonce/vmgenid';
import { AcpiMachine } from '../support/acpi-tables.js';
import { FakeBpfKernel } from '../support/bpf-kernel.js';

let folder: string;
const opened: VmGenId[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-detect-'));
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map(vm => vm.close()));
  rmSync(folder, { recursive: true, force: true });
});

const find = (kind: string, selection?: SourceSelection, sysBus?: string) =>
  detectSources(selection, sysBus).find(candidate => candidate.kind === kind);

async function open(options: OpenVmGenIdOptions): Promise<VmGenId> {
  const vm = await openVmGenId(options);
  opened.push(vm);
  return vm;
}

/** A `/sys/bus` with a vmgenid driver on the given bus that serves the given devices. */
function sysBus(bus: string, ...devices: string[]): string {
  const driver = join(folder, 'sys', bus, 'drivers', 'vmgenid');
  mkdirSync(driver, { recursive: true });
  for (const file of ['bind', 'unbind', 'uevent']) writeFileSync(join(driver, file), '');
  symlinkSync('../../../../module/vmgenid', join(driver, 'module'));
  for (const device of devices) symlinkSync(`../../../../devices/${device}`, join(driver, device));
  return join(folder, 'sys');
}

describe('detectSources', () => {
  it('lists every known source with its worth, and a reason where it is not available', () => {
    const candidates = detectSources();
    expect(candidates.map(({ kind, timing, uniqueness }) => [kind, timing, uniqueness])).toEqual([
      ['acpi', 'immediate', 'unique'],
      ['devicetree', 'immediate', 'unique'],
      ['vmclock', 'immediate', 'counter'],
      ['bpf', 'immediate', 'unique'],
      ['kmsg', 'delayed', 'counter'],
      ['gvisor', 'delayed', 'counter'],
    ]);
    for (const { available, reason } of candidates) expect(reason !== undefined).toBe(!available);
  });

  it('offers the log only where the kernel serves a generation ID, on either bus', () => {
    expect(find('kmsg', {}, join(folder, 'empty'))?.reason).toMatch(/no vmgenid driver/);
    expect(find('kmsg', {}, sysBus('platform'))?.reason).toMatch(/hypervisor offers no generation ID/);
    for (const [bus, device] of [
      ['acpi', 'QEMUVGID:00'],
      ['platform', 'VMGENCTR:00'],
    ]) {
      const { available, reason } = find('kmsg', {}, sysBus(bus, device)) ?? {};
      // Whether this very log can be read depends on the machine, but the driver is no longer the reason.
      expect(available || reason?.startsWith('/dev/kmsg: ')).toBe(true);
      rmSync(join(folder, 'sys'), { recursive: true });
    }
  });

  it('says what is switched off, and takes a log that was asked for at its word', () => {
    expect(find('kmsg', { kmsg: false })).toMatchObject({
      available: false,
      reason: 'switched off by an option',
    });
    expect(find('vmclock', { vmclock: false })).toMatchObject({ available: false });
    expect(find('acpi', { acpi: false })).toMatchObject({
      available: false,
      reason: 'switched off by an option',
    });
    expect(find('kmsg', { kmsg: '/dev/null' }, join(folder, 'empty'))).toMatchObject({
      name: 'kmsg:/dev/null',
      available: true,
    });
  });

  it('tries what is configured, and starts nothing', () => {
    const file = join(folder, 'generation');
    expect(find('file', { file })).toMatchObject({
      available: false,
      reason: `${file}: ENOENT: no such file or directory`,
    });
    writeFileSync(file, Buffer.alloc(16, 1));
    expect(find('file', { file: { path: file, timing: 'immediate' } })).toEqual({
      kind: 'file',
      name: `file:${file}`,
      timing: 'immediate',
      uniqueness: 'unique',
      available: true,
    });
    const hook = join(folder, 'hook.sock');
    expect(find('hook', { hook })).toMatchObject({
      available: true,
      timing: 'delayed',
      uniqueness: 'unique',
    });
    expect(existsSync(hook)).toBe(false);
    expect(find('hook', { hook: join(folder, 'no', 'hook.sock') })?.reason).toContain('ENOENT');
    expect(() => detectSources({ hook: 'nonsense' })).toThrow(/hook:nonsense/);
  });
});

describe('a machine with a generation ID in its ACPI tables', () => {
  let machine: AcpiMachine;
  beforeEach(() => {
    machine = AcpiMachine.qemu(new Uint8Array(16).fill(1));
  });
  afterEach(() => machine.remove());

  it('has it tried, and is immediate by it', async () => {
    const acpi = { tables: machine.tables, memory: machine.memory };
    expect(find('acpi', { acpi })).toEqual({
      kind: 'acpi',
      name: `acpi:${machine.tables}`,
      timing: 'immediate',
      uniqueness: 'unique',
      available: true,
    });
    const vm = await open({ acpi, vmclock: false, kmsg: false });
    expect([vm.protection, vm.check()]).toEqual(['immediate', 1]);
    machine.write(0x2028, new Uint8Array(16).fill(2));
    expect(vm.check()).toBe(2);
    expect(vm.evidence.vmGenId).toEqual(new Uint8Array(16).fill(2));
  });

  it('loads nothing into the kernel beside a page that it can map, unless that is asked for', async () => {
    const kernel = new FakeBpfKernel();
    const acpi = { tables: machine.tables, memory: machine.memory };
    expect(find('bpf', { acpi })).toMatchObject({
      available: false,
      reason: `not needed beside acpi:${machine.tables}`,
    });
    const vm = await open({ acpi, vmclock: false, kmsg: false });
    expect(vm.sources.map(({ name }) => name)).toEqual([`acpi:${machine.tables}`]);
    const asked = await open({
      acpi,
      bpf: { kernel, sysBus: sysBus('platform') },
      vmclock: false,
      kmsg: false,
    });
    expect(asked.sources.map(({ name, readable }) => [name, readable])).toEqual([
      [`acpi:${machine.tables}`, true],
      ['bpf', false],
    ]);
  });

  it('gives a thread the immediate sources alone, by the same choice', async () => {
    const acpi = { tables: machine.tables, memory: machine.memory };
    const [file, counter] = [join(folder, 'generation'), join(folder, 'counter')];
    writeFileSync(file, Buffer.alloc(16, 1));
    writeFileSync(counter, Buffer.alloc(4, 1));
    const selection = {
      acpi,
      vmclock: '/nowhere/vmclock0',
      kmsg: '/nowhere/kmsg',
      hook: join(folder, 'hook.sock'),
    };
    const names = (more: SourceSelection) =>
      openImmediateSources({ ...selection, ...more }).map(it => it.name);
    const both = [`acpi:${machine.tables}`, 'vmclock:/nowhere/vmclock0'];
    expect(names({ file })).toEqual(both);
    expect(names({ file: { path: file, timing: 'immediate' } })).toEqual([...both, `file:${file}`]);
    expect(names({ acpi: false, bpf: false, vmclock: false })).toEqual([]);
    const immediate = detectSources().filter(({ available, timing }) => available && timing === 'immediate');
    expect(openImmediateSources().map(it => it.name)).toEqual(immediate.map(it => it.name));
  });
});

describe('openVmGenId', () => {
  const nothing = { acpi: false, bpf: false, vmclock: false, kmsg: false } as const;

  it.each([
    ['by nobody else is looked at every 10 ms', {}],
    ['by somebody else is looked at when that one says so', { watchedElsewhere: true }],
  ])('a log that is watched %s', async (_name, watched) => {
    const kmsg = join(folder, 'kmsg');
    writeFileSync(kmsg, '');
    vi.useFakeTimers();
    try {
      const vm = await open({ ...nothing, kmsg, ...watched });
      writeFileSync(kmsg, '5,1,1,-;random: crng reseeded due to virtual machine fork\n');
      vi.advanceTimersByTime(9);
      expect(vm.epoch).toBe(1);
      vi.advanceTimersByTime(1);
      if ('watchedElsewhere' in watched) {
        vi.advanceTimersByTime(60_000);
        expect(vm.epoch).toBe(1);
        vm.poll();
      }
      expect(vm.epoch).toBe(2);
    } finally {
      vi.useRealTimers();
    }
  });

  it('a log and a page are read by the descriptors that it is given, and are not opened', async () => {
    const machine = AcpiMachine.qemu(new Uint8Array(16).fill(1));
    const { tables, memory } = machine;
    const log = join(folder, 'kmsg');
    writeFileSync(log, '');
    const opened = { memory: openSync(memory, 'r'), kmsg: openSync(log, 'r') };
    try {
      const closed = { acpi: { tables, memory: '/nowhere/mem' }, kmsg: '/nowhere/kmsg' };
      const found = detectSources({ ...closed, opened }, join(folder, 'empty'));
      expect(found.filter(({ available }) => available).map(({ kind }) => kind)).toEqual(['acpi', 'kmsg']);
      const vm = await open({ ...closed, vmclock: false, opened });
      expect(vm.sources.every(({ readable }) => readable)).toBe(true);
      writeFileSync(log, '5,1,1,-;random: crng reseeded due to virtual machine fork\n');
      expect(vm.poll()).toBe(2);
      // Without them: control.
      expect(
        detectSources(closed).some(
          ({ available, kind }) => available && kind !== 'vmclock' && kind !== 'bpf',
        ),
      ).toBe(false);
    } finally {
      closeSync(opened.memory);
      machine.remove();
    }
  });

  it('without any source there is no protection, and that is said', async () => {
    const vm = await open(nothing);
    expect([vm.protection, vm.check(), vm.sources]).toEqual(['none', 1, []]);
  });

  it('takes what this machine offers and leaves out the rest', async () => {
    const vm = await open({});
    const offered = detectSources().filter(({ available }) => available);
    expect(vm.sources.map(({ name }) => name)).toEqual(offered.map(({ name }) => name));
    expect(vm.protection === 'none').toBe(offered.length === 0);
    expect(vm.check()).toBe(1);
  });

  it.each([
    ['a file', { file: '/nowhere/generation' }, 'file:/nowhere/generation'],
    ['an ACPI page', { acpi: { tables: '/nowhere/tables' } }, 'acpi:/nowhere/tables'],
    ['a page of the device tree', { devicetree: { tree: '/nowhere/tree' } }, 'devicetree:/nowhere/tree'],
    ['a vmclock page', { vmclock: '/nowhere/vmclock0' }, 'vmclock:/nowhere/vmclock0'],
    ['a log', { kmsg: '/nowhere/kmsg' }, 'kmsg:/nowhere/kmsg'],
    ['a hook', { hook: '/nowhere/hook.sock' }, 'hook:/nowhere/hook.sock'],
  ])('%s that was asked for and does not work lets nothing out', async (_name, asked, name) => {
    const failed: string[] = [];
    const vm = await open({
      ...nothing,
      ...asked,
      onEvent: event => event.type === 'sourceFailed' && failed.push(event.source),
    });
    expect(vm.check()).toBe(NO_EPOCH);
    expect(failed).toEqual([name]);
    expect(vm.sources).toMatchObject([{ name, readable: false, reason: expect.stringContaining('nowhere') }]);
  });

  it('a hook without sense is refused at once', async () => {
    await expect(openVmGenId({ ...nothing, hook: '0.0.0.0:80' })).rejects.toThrow(/not a loopback address/);
  });

  it('uses given sources, with those configured beside them, and looks for no others', async () => {
    const file = join(folder, 'generation');
    writeFileSync(file, Buffer.alloc(16, 1));
    const page = new MemorySource();
    const vm = await open({ sources: [page], file: { path: file, pollMs: 3_600_000, watch: false } });
    expect(vm.sources.map(({ name }) => name)).toEqual(['memory', `file:${file}`]);
    page.fork(new Uint8Array(16).fill(9));
    expect(vm.check()).toBe(2);
  });
});
