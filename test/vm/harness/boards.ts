// What kinds of machines there are: what QEMU makes them of, and how each is told which generation it is.
// Promises: a page that QEMU has no device for lies in the guest's own memory, where the hypervisor would have put it, and the
// firmware's tables name it; it is written before the first instruction of a clone.
// Read on: machine.ts; QEMU docs/specs/vmgenid.rst; Linux include/uapi/linux/vmclock-abi.h.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseGuid } from '../../../vmgenid/generation.js';
import { VMCLOCK_SSDT } from '../../support/acpi-tables.js';
import type { KernelName } from './debian.js';
import type { GuestMemory } from './guest-memory.js';
import { run } from './run.js';

export interface Board {
  readonly name: string;
  readonly kernel: KernelName;
  readonly emulator: string;
  /** QEMU's machine, and what belongs to it. */
  readonly machine: string;
  readonly console: string;
  /** More for the kernel's command line. */
  readonly kernelOptions?: string;
  /** Default 512. */
  readonly memoryMb?: number;
  /** Devices and files that only this board has, by QEMU's option and its value. */
  hardware(generationId: string, folder: string): Promise<readonly (readonly [string, string])[]>;
  /** Memory that the harness writes to. */
  readonly memory?: {
    /** The physical address of its first byte. */
    readonly start: number;
    /** Writes which generation this machine is: the same ID again is the same generation. */
    announce(memory: GuestMemory, generationId: string): void;
  };
}

/** QEMU's own device: an ID in the ACPI tables, which the kernel watches too. */
export const PC: Board = {
  name: 'pc',
  kernel: 'Linux 6.12',
  emulator: 'qemu-system-x86_64',
  machine: 'q35',
  console: 'ttyS0',
  hardware: async generationId => [['device', `vmgenid,guid=${generationId}`]],
};

/** Above the kernel, below the first file system, and out of the way of both. */
const VMCLOCK_AT = 0x0c00_0000;

/** A vmclock page alone: nothing tells the kernel of a fork, and siblings see the same counter. */
export const PC_VMCLOCK: Board = {
  ...PC,
  name: 'pc-vmclock',
  kernelOptions: `memmap=4K$0x${VMCLOCK_AT.toString(16)}`,
  async hardware(_generationId, folder) {
    const table = join(folder, 'vmclock.aml');
    writeFileSync(table, VMCLOCK_SSDT);
    return [
      ['acpitable', `file=${table}`],
      ['device', 'virtio-rng-pci'],
    ];
  },
  memory: {
    start: 0,
    announce: (memory, generationId) => writeVmclock(memory, VMCLOCK_AT, generationId),
  },
};

/** The same under a kernel that has the driver, with `poll`. */
export const PC_VMCLOCK_DRIVER: Board = {
  ...PC_VMCLOCK,
  name: 'pc-vmclock-driver',
  kernel: 'newest',
};

const ARM64_RAM = 0x4000_0000;
/** Behind the first file system. */
const ARM64_PAGES = 0x7f00_0000;
const ARM64_VMCLOCK = ARM64_PAGES + 0x1000;
const PAGES_BYTES = 0x2000;
/** An interrupt of the board that no device has. */
const VMGENID_INTERRUPT = 100;
/** The board's only line that QEMU pulls when it is told to: that of its power button. */
const BUTTON_CONTROLLER = '/pl061@9030000';
const BUTTON_LINE = 3;
const [SPI, RISING] = [0, 1];

/**
 * An emulated arm64 machine, whose pages the device tree names, as Firecracker's does. Its kernel is notified of the vmclock page
 * by `Machine.notify`. `iomem=relaxed`: else the kernel's driver keeps the generation ID's page for itself.
 */
export const ARM64: Board = {
  name: 'arm64',
  kernel: 'newest, arm64',
  emulator: 'qemu-system-aarch64',
  machine: 'virt',
  console: 'ttyAMA0',
  kernelOptions: 'iomem=relaxed',
  // Its Node is twice as large.
  memoryMb: 1_024,
  async hardware(_generationId, folder) {
    const tree = join(folder, 'tree.dtb');
    await run('qemu-system-aarch64', ['-nodefaults', '-display', 'none', '-M', `virt,dumpdtb=${tree}`]);
    const hex = (number: number) => number.toString(16);
    const set = (node: string, name: string, type: 'x' | 's', ...values: readonly string[]) =>
      run('fdtput', ['-p', '-t', type, tree, node, name, ...values]);
    const page = async (node: string, compatible: string, at: number, bytes: number) => {
      await set(node, 'compatible', 's', compatible);
      await set(node, 'reg', 'x', '0', hex(at), '0', hex(bytes));
    };
    const reserved = '/reserved-memory';
    await set(reserved, '#address-cells', 'x', '2');
    await set(reserved, '#size-cells', 'x', '2');
    await run('fdtput', ['-p', tree, reserved, 'ranges']);
    const pages = `${reserved}/pages@${hex(ARM64_PAGES)}`;
    await set(pages, 'reg', 'x', '0', hex(ARM64_PAGES), '0', hex(PAGES_BYTES));
    await run('fdtput', ['-p', tree, pages, 'no-map']);
    const [vmgenid, vmclock] = [`/vmgenid@${hex(ARM64_PAGES)}`, `/ptp@${hex(ARM64_VMCLOCK)}`];
    await page(vmgenid, 'microsoft,vmgenid', ARM64_PAGES, 16);
    await set(vmgenid, 'interrupts', 'x', hex(SPI), hex(VMGENID_INTERRUPT), hex(RISING));
    await page(vmclock, 'amazon,vmclock', ARM64_VMCLOCK, PAGE_BYTES);
    const button = (await run('fdtget', ['-t', 'x', tree, BUTTON_CONTROLLER, 'phandle'])).toString().trim();
    await set(BUTTON_CONTROLLER, '#interrupt-cells', 'x', '2');
    await run('fdtput', [tree, BUTTON_CONTROLLER, 'interrupt-controller']);
    await run('fdtput', ['-r', tree, '/gpio-keys']);
    await set(vmclock, 'interrupt-parent', 'x', button);
    await set(vmclock, 'interrupts', 'x', hex(BUTTON_LINE), hex(RISING));
    return [['dtb', tree]];
  },
  memory: {
    start: ARM64_RAM,
    announce(memory, generationId) {
      memory.write(ARM64_PAGES, parseGuid(generationId));
      writeVmclock(memory, ARM64_VMCLOCK, generationId, NOTIFIES);
    },
  },
};

const MAGIC = 0x4b4c4356;
const PAGE_BYTES = 4_096;
const SEQUENCE_AT = 12;
const COUNTER_AT = 104;
/** Behind all that a guest may read, for ourselves: which ID the counter stands for. */
const ID_AT = 1_024;
const HAS_COUNTER = 1n << 8n;
const NOTIFIES = 1n << 9n;

function writeVmclock(memory: GuestMemory, at: number, generationId: string, more = 0n): void {
  const page = memory.read(at, PAGE_BYTES);
  const id = parseGuid(generationId);
  if (page.subarray(ID_AT, ID_AT + id.length).equals(id)) return;
  page.writeUInt32LE(MAGIC, 0);
  page.writeUInt32LE(PAGE_BYTES, 4);
  page.writeUInt16LE(1, 8);
  // No counter of a processor, and no time.
  page.writeUInt8(0xff, 10);
  page.writeUInt32LE(page.readUInt32LE(SEQUENCE_AT) + 2, SEQUENCE_AT);
  page.writeBigUInt64LE(HAS_COUNTER | more, 24);
  page.writeBigUInt64LE(page.readBigUInt64LE(COUNTER_AT) + 1n, COUNTER_AT);
  page.set(id, ID_AT);
  memory.write(at, page);
}
