// The sentence at the end of `wireonce vmgenid status`, for each kind of machine: read from trees of files as they have them.

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KERNEL_OPTIONS, readMachine } from '../../cli/vmgenid-machine.js';
import { nextStep } from '../../cli/vmgenid-next-step.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'wireonce-machine-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const RAWIO = 1n << 17n;
const BPF = (1n << 38n) | (1n << 39n);
const ALL = '000001ffffffffff';

interface Kind {
  readonly release?: string;
  /** Set in the kernel: `CONFIG_` goes before. */
  readonly options?: readonly string[];
  readonly config?: 'packed' | 'beside';
  readonly lockdown?: string;
  readonly id?: 'acpi' | 'tree' | 'none';
  readonly driver?: 'acpi' | 'platform' | 'none';
  readonly cpu?: string;
  readonly capabilities?: bigint | string;
  readonly uid?: number;
  readonly devMem?: boolean;
  readonly version?: string;
}

function write(path: string, data: string | Uint8Array): void {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, data);
}

/** A machine of this kind; what is not said is a whole x86-64 guest with everything. */
function machine(kind: Kind) {
  const {
    release = '6.12.1-generic',
    options = KERNEL_OPTIONS.map(name => name.slice(7)),
    config = 'beside',
  } = kind;
  const { lockdown, id = 'acpi', driver = 'platform', cpu = 'flags\t\t: fpu hypervisor rdrand\n' } = kind;
  const { capabilities = ALL, uid = 0, devMem = true, version = 'Linux version 6.12.1' } = kind;
  write('proc/sys/kernel/osrelease', `${release}\n`);
  write('proc/version', version);
  write('proc/cpuinfo', cpu);
  const mask = typeof capabilities === 'string' ? capabilities : capabilities.toString(16).padStart(16, '0');
  write('proc/self/status', `Name:\tnode\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\nCapEff:\t${mask}\n`);
  const text = KERNEL_OPTIONS.map(name => {
    const set = options.find(option => option.startsWith(name.slice(7)));
    return set === undefined ? `# ${name} is not set` : `${name}=${set.endsWith('=m') ? 'm' : 'y'}`;
  }).join('\n');
  if (config === 'packed') write('proc/config.gz', gzipSync(`${text}\n`));
  else write(`boot/config-${release}`, `${text}\n`);
  if (lockdown !== undefined) {
    const modes = ['none', 'integrity', 'confidentiality'].map(mode =>
      mode === lockdown ? `[${mode}]` : mode,
    );
    write('sys/kernel/security/lockdown', `${modes.join(' ')}\n`);
  }
  if (id === 'acpi') write('sys/bus/acpi/devices/VMGENCTR:00/modalias', 'acpi:VMGENCTR:VM_GEN_COUNTER:\n');
  if (id === 'tree')
    write('sys/bus/platform/devices/80000000.vmgenid/modalias', 'of:NvmgenidT(null)Cmicrosoft,vmgenid\n');
  write('sys/bus/acpi/devices/PNP0501:00/modalias', 'acpi:PNP0501:\n');
  if (driver !== 'none') {
    const folder = join(root, `sys/bus/${driver}/drivers/vmgenid`);
    mkdirSync(folder, { recursive: true });
    symlinkSync('/nowhere', join(folder, 'VMGENCTR:00'));
  }
  write(devMem ? 'dev/mem' : 'dev/null', '');
  return readMachine(root);
}

const KINDS: readonly (readonly [string, Kind, RegExp])[] = [
  [
    'a Firecracker guest without /dev/mem, whose kernel has no BPF',
    { release: '6.18.1-fc', options: ['VMGENID'], config: 'packed', devMem: false },
    /^take a kernel that is built with CONFIG_BPF_SYSCALL, CONFIG_BPF_EVENTS and CONFIG_DEBUG_INFO_BTF, or with CONFIG_DEVMEM, or set HoldBackMs/,
  ],
  [
    'the same, which lacks the description of its types alone',
    { options: ['VMGENID', 'BPF_SYSCALL', 'BPF_EVENTS'], devMem: false },
    /^take a kernel that is built with CONFIG_DEBUG_INFO_BTF, or with CONFIG_DEVMEM/,
  ],
  [
    "Debian 12's cloud kernel, locked down",
    {
      release: '6.1.0-40-cloud-amd64',
      options: ['DEVMEM', 'BPF_SYSCALL', 'BPF_EVENTS', 'DEBUG_INFO_BTF'],
      lockdown: 'integrity',
      driver: 'none',
    },
    /^take a kernel with CONFIG_VMGENID=y \(Debian 12: from bookworm-backports\)$/,
  ],
  [
    'Firecracker before 1.16 with a kernel before 6.10, and no /dev/mem',
    { options: ['BPF_SYSCALL'], driver: 'none', devMem: false },
    /^take a kernel with CONFIG_VMGENID=y, or one with CONFIG_DEVMEM=y$/,
  ],
  [
    'a kernel whose driver is a module that is not loaded',
    { options: ['VMGENID=m', 'DEVMEM'], driver: 'none', lockdown: 'integrity' },
    /^load the module of the generation ID: modprobe vmgenid$/,
  ],
  [
    'a container of root without rights',
    { capabilities: 0n, devMem: false },
    /^start the container with CAP_BPF and CAP_PERFMON \(docker run --cap-add BPF --cap-add PERFMON\)$/,
  ],
  [
    'a container with the device and without the right',
    { capabilities: 0n },
    /^start it with the capability CAP_SYS_RAWIO, or with CAP_BPF and CAP_PERFMON$/,
  ],
  [
    'a container with half of the rights',
    { capabilities: RAWIO | (1n << 39n), devMem: false },
    /^start the container with CAP_BPF and CAP_PERFMON/,
  ],
  ['a user', { uid: 1000, capabilities: 0n }, /^run it as root/],
  [
    'a kernel that is locked down for confidentiality',
    { lockdown: 'confidentiality' },
    /^start the kernel with lockdown=integrity in place of confidentiality, or set HoldBackMs/,
  ],
  [
    'a kernel that is locked down and has no BPF',
    { lockdown: 'integrity', options: ['VMGENID', 'DEVMEM'] },
    /^take a kernel that is built with CONFIG_BPF_SYSCALL, CONFIG_BPF_EVENTS and CONFIG_DEBUG_INFO_BTF, or set HoldBackMs/,
  ],
  [
    'arm64 under Firecracker, with a kernel before 6.10',
    { id: 'tree', driver: 'none', devMem: false, cpu: 'Features\t: fp asimd\n', options: ['BPF_SYSCALL'] },
    /^take a kernel of Linux 6.10 or later with CONFIG_VMGENID=y, or one with CONFIG_DEVMEM=y$/,
  ],
  [
    'arm64 under Firecracker, in a container without rights',
    { id: 'tree', devMem: false, cpu: 'Features\t: fp asimd\n', capabilities: 0n },
    /^start the container with CAP_BPF and CAP_PERFMON/,
  ],
  [
    'bare metal',
    { id: 'none', driver: 'none', cpu: 'flags\t\t: fpu rdrand\n' },
    /^none is needed: this is no virtual machine/,
  ],
  [
    'a virtual machine without a generation ID',
    { id: 'none', driver: 'none' },
    /^have the hypervisor give this machine a generation ID/,
  ],
  [
    'an arm64 machine without one, whose processors say nothing of a hypervisor',
    { id: 'none', driver: 'none', cpu: 'Features\t: fp asimd\n' },
    /^have the hypervisor give this machine a generation ID/,
  ],
  [
    'a sandbox of gVisor',
    {
      id: 'none',
      driver: 'none',
      version: 'Linux version 4.19.0-gvisor #1 SMP Sun Jan 10 15:06:54 PST 2016',
    },
    /^have gVisor show checkpoints/,
  ],
  [
    'a kernel that does not show its configuration',
    { release: '6.1-secret', options: [], driver: 'none', devMem: false },
    /^take a kernel with CONFIG_VMGENID=y, or one with CONFIG_DEVMEM=y$/,
  ],
  [
    'a machine on which nothing is missing, and which is delayed',
    {},
    /^see above why each source does not work/,
  ],
];

describe('the next step', () => {
  test.each(KINDS)('for %s', (_, kind, expected) => {
    expect(nextStep(machine(kind), 'delayed')).toMatch(expected);
  });

  test('is one sentence, and none is said twice for what is not alike', () => {
    const sentences = KINDS.map(([, kind]) => {
      rmSync(root, { recursive: true });
      return nextStep(machine(kind), 'none');
    });
    for (const sentence of sentences) expect(sentence).not.toMatch(/\.\s|\n|undefined/);
    expect(new Set(sentences).size).toBeGreaterThan(12);
  });

  test('where protection is immediate nothing is left to do, whatever the machine lacks', () => {
    for (const [, kind] of KINDS) {
      rmSync(root, { recursive: true });
      expect(nextStep(machine(kind), 'immediate')).toMatch(/^none is needed; with Strict = true/);
    }
  });

  test('without system calls it is the package for them', () => {
    expect(nextStep(machine({}), 'delayed', 'koffi does not load')).toBe(
      'install the optional package koffi: koffi does not load',
    );
  });
});

describe('the machine', () => {
  test('is read whole: options, lockdown, rights', () => {
    expect(
      machine({ options: ['VMGENID=m', 'BPF_SYSCALL'], lockdown: 'integrity', capabilities: BPF }),
    ).toMatchObject({
      kernel: {
        release: '6.12.1-generic',
        options: {
          CONFIG_VMGENID: 'm',
          CONFIG_DEVMEM: 'n',
          CONFIG_BPF_SYSCALL: 'y',
          CONFIG_BPF_EVENTS: 'n',
          CONFIG_DEBUG_INFO_BTF: 'n',
          CONFIG_PTP_1588_CLOCK_VMCLOCK: 'n',
        },
        lockdown: 'integrity',
      },
      generationId: 'acpi',
      isDriven: true,
      isVirtual: true,
      isGvisor: false,
      isRoot: true,
      mayUseBpf: true,
      hasDevMem: true,
    });
  });

  test('without any of these files is known not to be known', () => {
    expect(readMachine(join(root, 'nothing'))).toMatchObject({
      kernel: { options: undefined, lockdown: undefined },
      generationId: undefined,
      isVirtual: undefined,
      isRoot: false,
      mayUseBpf: false,
    });
  });
});
