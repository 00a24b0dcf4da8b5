// The page by a program in the kernel: the program itself, run over a kernel's memory that is laid out here.
// A real kernel runs it in test/system/linux/bpf.test.ts.

import { fstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  BpfSource,
  type BpfSourceOptions,
  type GenerationSource,
  NO_EPOCH,
  type SourceListener,
  VmGenId,
  closeBpf,
  openBpf,
} from 'wireonce/vmgenid';
import { FakeBpfKernel, TASK } from '../support/bpf-kernel.js';
import { type Structures, btf } from '../support/btf.js';

const TYPES: Structures = {
  task_struct: { files: 1824 },
  files_struct: { fdt: 32 },
  fdtable: { fd: 8 },
  file: { f_inode: 32 },
  inode: { i_private: 608 },
  kernfs_node: { active: 4, priv: 104 },
  device: { kobj: 16, driver: 104, driver_data: 120 },
  device_driver: { name: 8 },
  acpi_device: { driver_data: 600, dev: 608 },
};
const STATE = { vmgenid_state: { next_id: 24 } };
const at = (n: number) => 0xffff_8881_0000_0000n + BigInt(n) * 0x1000n;
const [FILES, FDT, ARRAY, FILE, INODE, NODE, DEVICE, DRIVER, NAME, KEPT, PAGE] = Array.from(
  { length: 11 },
  (_, i) => at(i),
);
const [OTHER, ELSEWHERE] = [at(20), at(21)];
const DESCRIPTORS = 1_024;
const id = (n: number) => new Uint8Array(16).fill(n);
const words = (n: number) => new Uint32Array(id(n).buffer);

let folder: string;
let kernel: FakeBpfKernel;
const open: { close(): unknown }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-bpf-'));
  kernel = new FakeBpfKernel();
});
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A machine whose driver has a device on this bus. */
function machine(bus: 'platform' | 'acpi', { isModule = false } = {}): BpfSourceOptions {
  const driver = join(folder, 'bus', bus, 'drivers/vmgenid');
  mkdirSync(driver, { recursive: true });
  mkdirSync(join(folder, 'device'));
  symlinkSync(folder, join(driver, 'module'));
  symlinkSync(join(folder, 'device'), join(driver, 'VMGENCTR:00'));
  const types = join(folder, 'btf');
  mkdirSync(types);
  writeFileSync(join(types, 'vmlinux'), btf(isModule ? TYPES : { ...TYPES, ...STATE }));
  const baseNames = btf(TYPES).length - btf(TYPES).indexOf('\0task_struct');
  if (isModule) writeFileSync(join(types, 'vmgenid'), btf(STATE, { baseNames }));

  kernel.pointer(TASK + 1824n, FILES);
  kernel.pointer(FILES + 32n, FDT);
  kernel.pointer(FDT + 8n, ARRAY);
  for (let fd = 0; fd < DESCRIPTORS; fd++) kernel.pointer(ARRAY + BigInt(fd * 8), FILE);
  kernel.pointer(FILE + 32n, INODE);
  kernel.pointer(INODE + 608n, NODE);
  kernel.write(NODE + 4n, new Uint8Array(4));
  kernel.pointer(NODE + 104n, DEVICE + 16n);
  kernel.pointer(DEVICE + 104n, DRIVER);
  kernel.pointer(DRIVER + 8n, NAME);
  kernel.text(NAME, 'vmgenid');
  kernel.pointer(bus === 'platform' ? DEVICE + 120n : DEVICE - 8n, KEPT);
  kernel.pointer(KEPT + 24n, PAGE);
  kernel.write(PAGE, id(1));
  return { sysBus: join(folder, 'bus'), types, kernel };
}

function source(options: BpfSourceOptions): BpfSource {
  const it = new BpfSource({ pollMs: 0, ...options });
  open.push(it);
  return it;
}

function read(from: Required<Pick<GenerationSource, 'read'>>): Uint32Array {
  const into = new Uint32Array(4).fill(99);
  from.read(into);
  return into;
}

const descriptors = () => readdirSync('/proc/self/fd').length;

describe('BpfSource', () => {
  it.each([
    ['a platform device (Linux 6.10)', 'platform', false],
    ['an ACPI device (before)', 'acpi', false],
    ['a driver that is a module', 'platform', true],
  ] as const)('reads the page that the driver of %s has, at every read', (_, bus, isModule) => {
    const it = source(machine(bus, { isModule }));
    expect(it).toMatchObject({ name: 'bpf', timing: 'immediate', uniqueness: 'unique' });
    expect(read(it)).toEqual(words(1));
    kernel.write(PAGE, id(2));
    expect(read(it)).toEqual(words(2));
    expect(kernel.loads).toBe(1);
  });

  it('follows the driver to wherever it has the page now, and remembers no address', () => {
    const it = source(machine('platform'));
    read(it);
    // What was there is another's by now.
    kernel.write(PAGE, id(66));
    kernel.pointer(DEVICE + 120n, OTHER);
    kernel.pointer(OTHER + 24n, ELSEWHERE);
    kernel.write(ELSEWHERE, id(3));
    expect(read(it)).toEqual(words(3));
  });

  const gone: readonly (readonly [string, () => void])[] = [
    ['the driver has let go of the device', () => kernel.pointer(DEVICE + 104n, 0n)],
    ['the driver keeps nothing for it', () => kernel.pointer(DEVICE + 120n, 0n)],
    ['another driver has it', () => kernel.text(NAME, 'vmgenix')],
    ['one whose name only begins so', () => kernel.write(NAME, Buffer.from('vmgenid2'))],
    ['the device was taken out', () => kernel.write(NODE + 4n, Buffer.from([1, 0, 0, 0x80]))],
    ['its page is not mapped', () => kernel.unmap(PAGE, 16)],
    ['half of its page is not mapped', () => kernel.unmap(PAGE + 8n, 8)],
    ['the descriptor is closed', () => kernel.unmap(ARRAY, DESCRIPTORS * 8)],
  ];
  it.each(gone)('vouches for nothing when %s, and again when all is as it was', async (_, change) => {
    const options = machine('platform');
    const vm = new VmGenId([source(options)]);
    open.push(vm);
    await vm.start();
    expect(vm.check()).toBe(1);
    change();
    expect(vm.check()).toBe(NO_EPOCH);
    expect(vm.sources[0].reason).toContain("not under the kernel's vmgenid driver any more");
    rmSync(folder, { recursive: true });
    machine('platform');
    expect(vm.check()).toBe(1);
  });

  it('vouches for nothing while the kernel does not run the program', () => {
    const it = source(machine('platform'));
    read(it);
    kernel.stops = constants.errno.EPERM;
    expect(() => read(it)).toThrow('the kernel does not run the program: EPERM');
    kernel.stops = 0;
    expect(read(it)).toEqual(words(1));
  });

  it('refuses a page of zeros, which nobody has written an ID to', () => {
    const options = machine('platform');
    kernel.write(PAGE, id(0));
    expect(() => read(source(options))).toThrow('16 zeros');
  });

  it('leaves no descriptor open, whether it worked or not', () => {
    const options = machine('platform');
    const before = descriptors();
    const it = source(options);
    read(it);
    expect(descriptors()).toBe(before + 2);
    it.close();
    it.close();
    expect(descriptors()).toBe(before);
    kernel.unmap(PAGE, 16);
    expect(() => read(source(options))).toThrow('driver any more');
    rmSync(join(folder, 'device'), { recursive: true });
    expect(() => read(source(options))).toThrow('ENOENT');
    expect(descriptors()).toBe(before);
  });

  it('reads by what was opened while there was the right to, and leaves it open', () => {
    const options = machine('platform');
    const opened = openBpf(options);
    kernel.refuses = constants.errno.EPERM;
    const it = source({ ...options, sysBus: folder, opened });
    expect(read(it)).toEqual(words(1));
    it.close();
    expect(fstatSync(opened.device).isDirectory()).toBe(true);
    expect(read(it)).toEqual(words(1));
    closeBpf(opened);
  });

  it('two readers of one program do not disturb each other', () => {
    const options = machine('platform');
    const opened = openBpf(options);
    const [one, other] = [source({ ...options, opened }), source({ ...options, opened })];
    expect(read(one)).toEqual(words(1));
    kernel.write(PAGE, id(2));
    expect(read(other)).toEqual(words(2));
    kernel.write(PAGE, id(3));
    expect([read(one), read(other)]).toEqual([words(3), words(3)]);
    closeBpf(opened);
  });

  it.each([
    ['EPERM', 'needs CAP_BPF and CAP_PERFMON'],
    ['ENOSYS', 'CONFIG_BPF_SYSCALL'],
    ['EINVAL', 'refuses the program: EINVAL'],
  ] as const)('says why it cannot be loaded: %s', (name, reason) => {
    const options = machine('platform');
    kernel.refuses = constants.errno[name];
    expect(() => read(source(options))).toThrow(reason);
  });

  it('loads it again when a signal has broken that off, and not for ever', () => {
    const options = machine('platform');
    kernel.interrupted = 4;
    expect(read(source(options))).toEqual(words(1));
    expect(kernel.loads).toBe(5);
    kernel.interrupted = 5;
    expect(() => read(source(options))).toThrow('refuses the program: EAGAIN');
  });

  it('goes on looking where it could not be read at first', () => {
    vi.useFakeTimers();
    try {
      const options = machine('platform');
      const it = source({ ...options, pollMs: 100 });
      const listener = { changed: vi.fn() } as unknown as SourceListener;
      it.start(listener);
      kernel.text(NAME, 'another');
      expect(() => read(it)).toThrow('not under the kernel');
      kernel.text(NAME, 'vmgenid');
      vi.advanceTimersByTime(250);
      expect(listener.changed).toHaveBeenCalledTimes(2);
      expect(read(it)).toEqual(words(1));
    } finally {
      vi.useRealTimers();
    }
  });

  it('says what the kernel lacks', () => {
    const options = machine('platform');
    expect(() => read(source({ ...options, sysBus: join(folder, 'none') }))).toThrow('has no device here');
    expect(() => read(source({ ...options, types: join(folder, 'none') }))).toThrow('CONFIG_DEBUG_INFO_BTF');
    writeFileSync(join(folder, 'btf/vmlinux'), btf({ ...TYPES, ...STATE, kernfs_node: { active: 4 } }));
    expect(() => read(source(options))).toThrow('does not describe its kernfs_node');
    writeFileSync(join(folder, 'btf/vmlinux'), btf(TYPES));
    expect(() => read(source(options))).toThrow('CONFIG_DEBUG_INFO_BTF');
    expect(kernel.loads).toBe(0);
  });
});
