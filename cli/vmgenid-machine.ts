// What decides which sources a machine can have: its kernel's options, what its hypervisor offers, this program's rights.
// Promises: reads files, and nothing else; what a machine does not show is undefined.
// Read on: vmgenid-next-step.ts, which makes a sentence of it; docs/sources.md.

import { readFileSync, readdirSync } from 'node:fs';
import { arch, release } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { capabilityMask } from '../tunnel/linux/capabilities.js';
import { drivenDevice } from '../vmgenid/kernel-driver.js';
import { lockdownMode } from '../vmgenid/lockdown.js';

/** Of a kernel's options those that a source needs. */
export const KERNEL_OPTIONS = [
  'CONFIG_VMGENID',
  'CONFIG_DEVMEM',
  'CONFIG_BPF_SYSCALL',
  'CONFIG_BPF_EVENTS',
  'CONFIG_DEBUG_INFO_BTF',
  'CONFIG_PTP_1588_CLOCK_VMCLOCK',
] as const;

export type KernelOption = (typeof KERNEL_OPTIONS)[number];

export interface MachineFacts {
  /** As Node names it: `x64`, `arm64`. */
  readonly arch: string;
  readonly kernel: {
    readonly release: string;
    /** `y`, `m`, or `n` for what is not set. Undefined where the kernel does not show its configuration. */
    readonly options: Readonly<Record<KernelOption, 'y' | 'm' | 'n'>> | undefined;
    /** `none`, `integrity`, `confidentiality`; undefined where the kernel does not say. */
    readonly lockdown: string | undefined;
  };
  /** What stands in the tables or the device tree of the machine. */
  readonly generationId: 'acpi' | 'device tree' | undefined;
  /** Whether the kernel's driver serves that. */
  readonly isDriven: boolean;
  /** A processor that says that a hypervisor is under it; undefined where processors do not say. */
  readonly isVirtual: boolean | undefined;
  /** gVisor answers the system calls. */
  readonly isGvisor: boolean;
  readonly isRoot: boolean;
  /** May load a program into the kernel that reads its memory. */
  readonly mayUseBpf: boolean;
  /** There is a file for physical memory. */
  readonly hasDevMem: boolean;
}

/** Of the ID, as the modalias of a device has it: ACPI's and a device tree's. */
const ACPI_ID = /^acpi:(.*:)?(VM_GEN_COUNTER|VMGENCTR):/i;
const TREE_ID = /^of:.*Cmicrosoft,vmgenid/;

/** `root`: of the file system that is looked at. */
export function readMachine(root = '/'): MachineFacts {
  const at = (path: string) => join(root, path);
  const text = (path: string) => attempt(() => readFileSync(at(path), 'latin1'));
  const entries = (path: string) => attempt(() => readdirSync(at(path), { withFileTypes: true })) ?? [];
  const has = (bus: string, id: RegExp) =>
    entries(`sys/bus/${bus}/devices`).some(({ name }) =>
      id.test(text(`sys/bus/${bus}/devices/${name}/modalias`) ?? ''),
    );
  const version = text('proc/sys/kernel/osrelease')?.trim() ?? release();
  const status = text('proc/self/status') ?? '';
  const capabilities = BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(status)?.[1] ?? '0'}`);
  const needed = capabilityMask(['CAP_BPF', 'CAP_PERFMON']);
  const flags = /^flags\s*:(.*)$/m.exec(text('proc/cpuinfo') ?? '')?.[1];
  return {
    arch: arch(),
    kernel: {
      release: version,
      options: kernelOptions(at('proc/config.gz'), text(`boot/config-${version}`)),
      lockdown: lockdownMode(at('sys/kernel/security/lockdown')),
    },
    generationId: has('acpi', ACPI_ID) ? 'acpi' : has('platform', TREE_ID) ? 'device tree' : undefined,
    isDriven: drivenDevice(at('sys/bus')) !== undefined,
    isVirtual: flags === undefined ? undefined : /\bhypervisor\b/.test(flags),
    isGvisor: /gvisor/i.test(text('proc/version') ?? '') || entries('proc/gvisor').length > 0,
    isRoot: /^Uid:\s+\d+\s+0\s/m.test(status),
    mayUseBpf: (capabilities & needed) === needed,
    hasDevMem: attempt(() => readdirSync(at('dev')))?.includes('mem') ?? false,
  };
}

function kernelOptions(packed: string, plain: string | undefined): MachineFacts['kernel']['options'] {
  const config = attempt(() => gunzipSync(readFileSync(packed)).toString('latin1')) ?? plain;
  if (config === undefined) return undefined;
  const valueOf = (option: KernelOption) =>
    (new RegExp(`^${option}=([ym])$`, 'm').exec(config)?.[1] ?? 'n') as 'y' | 'm' | 'n';
  return Object.fromEntries(KERNEL_OPTIONS.map(option => [option, valueOf(option)])) as Record<
    KernelOption,
    'y' | 'm' | 'n'
  >;
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}
