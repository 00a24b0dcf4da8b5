// The generation-ID page where it cannot be mapped: a program in the kernel, of few instructions, reads it through the driver.
// Promises: every check reads the page itself, by one system call and no allocation, from where the driver has it at that
// moment; a driver or device that is gone, or another in its place, is noticed, and then nothing is vouched for.
// Read on: Linux drivers/virt/vmgenid.c (the state that is walked to); ../bpf.ts; docs/sources.md.

import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { constants as os } from 'node:os';
import { join } from 'node:path';
import { BpfAssembler, BpfRun, loadProgram } from '../bpf.js';
import { type Btf, memberOffsets, readBtf } from '../btf.js';
import { VmGenIdError, systemReason, unavailable } from '../errors.js';
import { type DrivenDevice, SYS_BUS, VMGENID_DRIVER, drivenDevice } from '../kernel-driver.js';
import { lockdownMode } from '../lockdown.js';
import type { GenerationSource, SourceListener } from '../source.js';

/** What must be opened before the rights for it are given up. Any user of the process may read by it then. */
export interface OpenedBpf {
  /** The loaded program. */
  readonly program: number;
  /** The folder of the device under the kernel's driver: the program sets out from this descriptor. */
  readonly device: number;
}

/** Where the kernel shows its driver and its types, and by what the page is read. */
export interface BpfSourceOptions {
  /** Where Linux lists buses, their devices and drivers. Default `/sys/bus`. */
  readonly sysBus?: string | undefined;
  /** Where it describes its types. Default `/sys/kernel/btf`. */
  readonly types?: string | undefined;
  /** From {@link openBpf}, for who has given up the rights since: used, and not closed here. */
  readonly opened?: OpenedBpf | undefined;
  /** Milliseconds between looks at the page, for programs that send nothing and still want to know. Default 100; 0 is never. */
  readonly pollMs?: number | undefined;
  /** The kernel's side of it. Default: this kernel. */
  readonly kernel?: BpfKernel | undefined;
}

/** What is asked of the kernel, for a test that plays it. */
export interface BpfKernel {
  /** A descriptor, or an error number below zero. */
  load(instructions: Uint8Array): number;
  /** What runs a program that was loaded, over a context of so many bytes, at most 64 KiB. */
  prepare(program: number, contextBytes: number): Pick<BpfRun, 'context' | 'run'>;
}

const KERNEL: BpfKernel = {
  load: loadProgram,
  prepare: (program, contextBytes) => new BpfRun(program, contextBytes),
};
const TYPES = '/sys/kernel/btf';
/** As the kernel compares it: eight bytes, the last one a zero. */
const DRIVER_NAME = Buffer.from(`${VMGENID_DRIVER}\0`).readBigUInt64LE();
/** The context: the ID, 16 bytes, and the descriptor to set out from, 8. */
const DESCRIPTOR_AT = 16;
const CONTEXT_BYTES = 24;
/** As libbpf has it (PROG_LOAD_ATTEMPTS). */
const LOADS_MAX = 5;

/** Immediate and unique, as the page itself. Needs CAP_BPF and CAP_PERFMON to open, none to read, and the package koffi. */
export class BpfSource implements GenerationSource {
  readonly name = 'bpf';
  readonly timing = 'immediate';
  readonly uniqueness = 'unique';
  readonly #options: BpfSourceOptions;
  /** What was opened here. */
  #own: OpenedBpf | undefined;
  #run: Pick<BpfRun, 'context' | 'run'> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: BpfSourceOptions = {}) {
    this.#options = options;
  }

  read(into: Uint32Array): void {
    const run = this.#run ?? this.#open();
    this.#look(run);
    const { context } = run;
    into[0] = context[0];
    into[1] = context[1];
    into[2] = context[2];
    into[3] = context[3];
  }

  start(listener: SourceListener): void {
    const { pollMs = 100 } = this.#options;
    if (pollMs > 0) this.#timer = setInterval(() => listener.changed(), pollMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#giveBack();
    this.#run = undefined;
  }

  #giveBack(): void {
    if (this.#own) closeBpf(this.#own);
    this.#own = undefined;
  }

  #look(run: Pick<BpfRun, 'run'>): void {
    const result = run.run();
    if (result === 0) return;
    throw new VmGenIdError(
      'ERR_SOURCE_UNREADABLE',
      result > 0
        ? "bpf: the generation ID is not under the kernel's vmgenid driver any more"
        : `bpf: the kernel does not run the program: ${errorName(-result)}`,
    );
  }

  #open() {
    const { opened, kernel = KERNEL } = this.#options;
    const { program, device } = opened ?? (this.#own = openBpf(this.#options));
    const run = kernel.prepare(program, CONTEXT_BYTES);
    run.context[DESCRIPTOR_AT / 4] = device;
    try {
      this.#look(run);
      // All zeros is what memory holds that nobody has written an ID to: it would never change.
      if (run.context.subarray(0, 4).every(word => word === 0))
        throw new VmGenIdError(
          'ERR_SOURCE_FORMAT',
          "bpf: there is no generation ID under the kernel's driver: 16 zeros",
        );
    } catch (error) {
      // It is looked for again: the timer stays.
      this.#giveBack();
      throw error;
    }
    this.#run = run;
    return run;
  }
}

/** Loads the program and opens what it sets out from. Throws `ERR_SOURCE_UNAVAILABLE` with the reason. */
export function openBpf(options: Pick<BpfSourceOptions, 'sysBus' | 'types' | 'kernel'> = {}): OpenedBpf {
  const { sysBus = SYS_BUS, types = TYPES, kernel = KERNEL } = options;
  const device = drivenDevice(sysBus);
  if (!device) throw unavailable("the kernel's vmgenid driver has no device here");
  const program = load(kernel, pageReader(device.bus, types));
  if (program < 0) throw unavailable(refusal(-program));
  try {
    return { program, device: openSync(device.folder, constants.O_RDONLY | constants.O_DIRECTORY) };
  } catch (error) {
    closeSync(program);
    throw unavailable(systemReason(error), error);
  }
}

/** A signal that comes while the kernel checks the program makes it give up, and that is no refusal. */
function load(kernel: BpfKernel, instructions: Uint8Array): number {
  for (let left = LOADS_MAX; ; left--) {
    const program = kernel.load(instructions);
    if (program !== -os.errno.EAGAIN || left === 1) return program;
  }
}

/** Gives back what {@link openBpf} has opened; a source that reads by it can read no more. */
export function closeBpf({ program, device }: OpenedBpf): void {
  closeSync(program);
  closeSync(device);
}

/*
 * descriptor -> open file -> folder in sysfs -> device -> what its driver keeps of it -> page. Each arrow is a pointer of the
 * kernel's, followed anew at every check: no address is remembered that could become another's. A folder whose device is
 * gone is marked so in sysfs; a device without driver, or under another one, has not that driver's name.
 */
function pageReader(bus: DrivenDevice['bus'], types: string): Uint8Array {
  const vmlinux = readTypes(join(types, 'vmlinux'));
  const known = memberOffsets(vmlinux, {
    task_struct: ['files'],
    files_struct: ['fdt'],
    fdtable: ['fd'],
    file: ['f_inode'],
    inode: ['i_private'],
    kernfs_node: ['active', 'priv'],
    device: ['kobj', 'driver', 'driver_data'],
    device_driver: ['name'],
    acpi_device: ['dev', 'driver_data'],
    vmgenid_state: ['next_id'],
  });
  const required = <K extends keyof typeof known>(structure: K): NonNullable<(typeof known)[K]> => {
    const offsets = known[structure];
    if (!offsets) throw unavailable(`this kernel does not describe its ${structure} as it must`);
    return offsets;
  };
  const device = required('device');
  // A driver that is a module is described beside the kernel.
  const state =
    known.vmgenid_state ??
    memberOffsets(readTypes(join(types, VMGENID_DRIVER), vmlinux), { vmgenid_state: ['next_id'] })
      .vmgenid_state ??
    required('vmgenid_state');
  const stateAt =
    bus === 'platform'
      ? device.driver_data
      : required('acpi_device').driver_data - required('acpi_device').dev;

  const [CONTEXT, POINTER, DEVICE] = [7, 6, 8] as const;
  const program = new BpfAssembler();
  /** POINTER = the pointer at `from` + offset. */
  const follow = (offset: number, from: typeof POINTER | typeof DEVICE = POINTER) => {
    program.readKernel(8, 8, from, offset);
    program.load(POINTER, 10, -8);
  };
  program.move(CONTEXT, 1);
  program.currentTask(POINTER);
  follow(required('task_struct').files);
  follow(required('files_struct').fdt);
  follow(required('fdtable').fd);
  program.load(1, CONTEXT, DESCRIPTOR_AT);
  program.addTimes8(POINTER, 1);
  follow(0);
  follow(required('file').f_inode);
  follow(required('inode').i_private);
  program.readKernel(8, 4, POINTER, required('kernfs_node').active);
  program.loadSigned32(1, 10, -8);
  program.failIfNegative(1);
  follow(required('kernfs_node').priv);
  program.move(DEVICE, POINTER);
  program.add(DEVICE, -device.kobj);
  follow(device.driver, DEVICE);
  follow(required('device_driver').name);
  follow(0);
  program.failUnless(POINTER, DRIVER_NAME);
  follow(stateAt, DEVICE);
  follow(state.next_id);
  program.readKernel(16, 16, POINTER);
  for (const half of [0, 8]) {
    program.load(1, 10, half - 16);
    program.store(CONTEXT, half, 1);
  }
  return program.finish();
}

function readTypes(path: string, base?: Btf): Btf {
  try {
    return readBtf(readFileSync(path), base);
  } catch (error) {
    if (error instanceof VmGenIdError) throw error;
    throw unavailable(
      `this kernel does not describe its types (CONFIG_DEBUG_INFO_BTF): ${systemReason(error)}`,
      error,
    );
  }
}

function refusal(errno: number): string {
  const { ENOSYS, EPERM } = os.errno;
  if (errno === ENOSYS) return 'this kernel runs no such programs (CONFIG_BPF_SYSCALL)';
  if (errno === EPERM) return 'loading a program into the kernel needs CAP_BPF and CAP_PERFMON';
  const lockdown = lockdownMode();
  if (lockdown === 'confidentiality')
    return `the kernel is locked down (${lockdown}): no program may read its memory`;
  return `the kernel refuses the program: ${errorName(errno)}`;
}

function errorName(errno: number): string {
  return Object.entries(os.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
}
