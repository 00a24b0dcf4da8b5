// The ACPI source, on a folder of tables and a file in the place of physical memory: mapped as the real one is.

import { closeSync, fstatSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { VmGenId } from '../../vmgenid/driver.js';
import { NO_EPOCH } from '../../vmgenid/generation.js';
import { AcpiSource } from '../../vmgenid/sources/acpi.js';
import { AcpiMachine, FIRECRACKER_DSDT, HYPERV_DSDT, qemuTable } from '../support/acpi-tables.js';

const id = (byte: number) => new Uint8Array(16).fill(byte);
const words = (byte: number) => Array<number>(4).fill(byte * 0x0101_0101);

const open: { close(): unknown }[] = [];
const machines: AcpiMachine[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const it of open.splice(0)) await it.close();
  for (const machine of machines.splice(0)) machine.remove();
});

function machine(make: () => AcpiMachine): AcpiMachine {
  const made = make();
  machines.push(made);
  return made;
}

function source({ tables, memory }: AcpiMachine, pollMs = 3_600_000): AcpiSource {
  const it = new AcpiSource({ tables, memory, pollMs });
  open.push(it);
  return it;
}

function read(from: AcpiSource): number[] {
  const into = new Uint32Array(4);
  from.read(into);
  return [...into];
}

describe('the ACPI source', () => {
  it('is immediate and unique, and shows what is written to the page at the next read', () => {
    const qemu = machine(() => AcpiMachine.qemu(id(1)));
    const it = source(qemu);
    expect(it).toMatchObject({ name: `acpi:${qemu.tables}`, timing: 'immediate', uniqueness: 'unique' });
    expect(new AcpiSource().name).toBe('acpi');
    expect(read(it)).toEqual(words(1));
    qemu.write(0x2028, id(0xfe));
    expect(read(it)).toEqual(words(0xfe));
  });

  it('a change of any byte is a fork, and its bytes are the evidence', () => {
    const qemu = machine(() => AcpiMachine.qemu(id(1)));
    const vm = new VmGenId([source(qemu)]);
    open.push(vm);
    for (let byte = 0; byte < 16; byte++) {
      const changed = id(1);
      changed[byte] = 0x80 + byte;
      qemu.write(0x2028, changed);
      expect(vm.check()).toBe(2 + byte);
      expect(vm.evidence.vmGenId).toEqual(changed);
    }
  });

  it('asks the system for nothing after the first read', () => {
    const qemu = machine(() => AcpiMachine.qemu(id(1)));
    const it = source(qemu);
    read(it);
    // Tables and memory by their names are gone; the page stays mapped.
    rmSync(qemu.folder, { recursive: true });
    expect(read(it)).toEqual(words(1));
  });

  it('reads by a descriptor that was opened while there was the right to, once, and leaves it open', () => {
    const { tables, memory } = machine(() => AcpiMachine.qemu(id(1)));
    const memoryFd = openSync(memory, 'r');
    try {
      // By this name it cannot be opened: what is read comes by the descriptor.
      const it = new AcpiSource({ tables, memory: `${memory}-closed`, memoryFd });
      open.push(it);
      expect(read(it)).toEqual(words(1));
      expect(fstatSync(memoryFd).isFile()).toBe(true);
      it.close();
      // By then the number may be another file's.
      expect(() => read(it)).toThrow(`${memory}-closed is not there`);
    } finally {
      closeSync(memoryFd);
    }
  });

  it('a program that never asks is told too', async () => {
    const qemu = machine(() => AcpiMachine.qemu(id(1)));
    const vm = new VmGenId([source(qemu, 5)]);
    open.push(vm);
    await vm.start();
    qemu.write(0x2028, id(2));
    await vi.waitFor(() => expect(vm.epoch).toBe(2), { timeout: 10_000 });
  });

  it('follows Hyper-V through the numbers in memory, wherever they lie', () => {
    for (const region of [0x3000, 0x3001, 0x3fed]) {
      const dsdt = HYPERV_DSDT.slice();
      const at = Buffer.from(dsdt).indexOf(Buffer.from('00407e1f', 'hex'));
      new DataView(dsdt.buffer).setUint32(at, region, true);
      const hyperV = machine(() => new AcpiMachine({ DSDT: dsdt }));
      const address = Buffer.alloc(8);
      address.writeUInt32LE(0x5ff8);
      hyperV.write(region + 16, address);
      // Over the border of a page.
      hyperV.write(0x5ff8, id(7));
      expect(read(source(hyperV))).toEqual(words(7));
    }
  });

  it('finds a table that was loaded later', () => {
    const late = machine(
      () => new AcpiMachine({ 'dynamic/SSDT9': qemuTable(0x1000), FACP: Uint8Array.of(1) }),
    );
    late.write(0x1028, id(3));
    expect(read(source(late))).toEqual(words(3));
  });

  it('two of them have mappings of their own', () => {
    const qemu = machine(() => AcpiMachine.qemu(id(1)));
    const [a, b] = [source(qemu), source(qemu)];
    expect([read(a), read(b)]).toEqual([words(1), words(1)]);
    a.close();
    qemu.write(0x2028, id(2));
    expect(read(b)).toEqual(words(2));
  });

  it('is read again after it was closed, from a mapping of its own', () => {
    const it = source(machine(() => AcpiMachine.qemu(id(1))));
    read(it);
    it.close();
    it.close();
    expect(read(it)).toEqual(words(1));
  });
});

describe('where the page cannot be had, the reason is said:', () => {
  const refuses = (it: AcpiSource, code: string, message: RegExp) =>
    expect(() => read(it)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );

  it('no tables', () => {
    refuses(new AcpiSource({ tables: '/nowhere/tables' }), 'ERR_SOURCE_UNAVAILABLE', /shows no ACPI tables/);
  });

  it('no device', () => {
    refuses(source(machine(() => new AcpiMachine({}))), 'ERR_SOURCE_UNAVAILABLE', /hypervisor offers none/);
  });

  it('no memory', () => {
    const qemu = machine(() => AcpiMachine.qemu(id(1)));
    rmSync(qemu.memory);
    refuses(
      source(qemu),
      'ERR_SOURCE_UNAVAILABLE',
      /mem is not there: the kernel has none, or this container/,
    );
  });

  it('a memory that cannot be mapped', () => {
    const { tables, folder } = machine(() => AcpiMachine.qemu(id(1)));
    const it = new AcpiSource({ tables, memory: folder });
    refuses(it, 'ERR_SOURCE_UNAVAILABLE', /^ENODEV: mmap/);
  });

  it('a memory that ends before the page', () => {
    const short = machine(() => new AcpiMachine({ SSDT: qemuTable(0x2000) }, 0x2030));
    refuses(source(short), 'ERR_SOURCE_UNAVAILABLE', /^EOVERFLOW: mmap/);
  });

  it.each([
    ['a page that the firmware has not placed', qemuTable(0), 'at 0x28, which is no place for one'],
    ['an address that is no multiple of 8', qemuTable(0x2004), 'no place for one'],
    ['a page that nobody has written to', qemuTable(0x4000), '16 zeros'],
  ])('%s', (_name, table, reason) => {
    const qemu = machine(() => new AcpiMachine({ SSDT: table }));
    refuses(source(qemu), 'ERR_SOURCE_FORMAT', new RegExp(`SSDT .*${reason}|${reason}`));
  });

  it('two devices', () => {
    const two = machine(() => new AcpiMachine({ SSDT: qemuTable(0x2000), DSDT: FIRECRACKER_DSDT }));
    refuses(source(two), 'ERR_SOURCE_FORMAT', /more than one/);
  });

  it.each([
    ['not root', 'EACCES', 'openSync', /opening .*mem needs root/],
    ['not root, tables', 'EACCES', 'readFileSync', /reading .*tables needs root/],
    ['a right that is missing', 'EPERM', 'openSync', /needs CAP_SYS_RAWIO|locked down/],
  ] as const)('%s', async (_name, code, call, message) => {
    const qemu = machine(() => AcpiMachine.qemu(id(1)));
    refuses(await withFiles({ [call]: () => refusal(code) }, qemu), 'ERR_SOURCE_UNAVAILABLE', message);
  });

  it('a kernel that is locked down', async () => {
    const qemu = machine(() => AcpiMachine.qemu(id(1)));
    const fs = await vi.importActual<typeof import('node:fs')>('node:fs');
    const readFileSync = (path: string, ...rest: never[]) =>
      path === '/sys/kernel/security/lockdown'
        ? 'none [integrity] confidentiality\n'
        : fs.readFileSync(path, ...rest);
    const it = await withFiles({ readFileSync, openSync: () => refusal('EPERM') }, qemu);
    refuses(it, 'ERR_SOURCE_UNAVAILABLE', /the kernel is locked down \(integrity\): .*mem stays closed/);
  });

  it('no bridge to the system', async () => {
    vi.resetModules();
    vi.doMock('../../native/koffi.js', () => ({ loadKoffi: () => ({ reason: 'no koffi here' }) }));
    try {
      const { AcpiSource: Bare } = await import('../../vmgenid/sources/acpi.js');
      const { tables, memory } = machine(() => AcpiMachine.qemu(id(1)));
      expect(() => read(new Bare({ tables, memory }))).toThrow('no koffi here');
    } finally {
      vi.doUnmock('../../native/koffi.js');
    }
  });

  it('and nothing leaves as long as it is the only source, until it works', () => {
    const qemu = machine(() => AcpiMachine.qemu(id(1)));
    const table = join(qemu.tables, 'SSDT1');
    rmSync(table);
    const vm = new VmGenId([source(qemu)]);
    open.push(vm);
    expect([vm.check(), vm.protection]).toEqual([NO_EPOCH, 'none']);
    writeFileSync(table, qemuTable(0x2000));
    // Nobody knows what the page held before: what it shows first counts as a fork.
    expect([vm.check(), vm.protection]).toEqual([2, 'immediate']);
  });
});

function refusal(code: string): never {
  throw Object.assign(new Error(`${code}: from the test`), { code });
}

/** A source whose `node:fs` is in part the test's. */
async function withFiles(changes: object, { tables, memory }: AcpiMachine): Promise<AcpiSource> {
  vi.resetModules();
  vi.doMock('node:fs', async importOriginal => ({
    ...(await importOriginal<typeof import('node:fs')>()),
    ...changes,
  }));
  try {
    const { AcpiSource: Mocked } = await import('../../vmgenid/sources/acpi.js');
    return new Mocked({ tables, memory });
  } finally {
    vi.doUnmock('node:fs');
  }
}
