// Which sources this machine offers, what each is worth, and a driver over the best of them.
// Promises: what is not there is left out with its reason; what was asked for and does not work lets nothing out.
// Read on: docs/architecture.md "Why no nonce is used twice"; Linux drivers/virt/vmgenid.c for where the kernel's driver shows.

import { closeSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { VmGenId, type VmGenIdOptions } from './driver.js';
import { VmGenIdError } from './errors.js';
import { GENERATION_WORDS } from './generation.js';
import { SYS_BUS, drivenDevice, hasKernelDriver } from './kernel-driver.js';
import type { GenerationSource, Timing, Uniqueness } from './source.js';
import { AcpiSource, type AcpiSourceOptions } from './sources/acpi.js';
import { BpfSource, type BpfSourceOptions, type OpenedBpf } from './sources/bpf.js';
import { DevicetreeSource, type DevicetreeSourceOptions } from './sources/devicetree.js';
import { FileSource, type FileSourceOptions } from './sources/file.js';
import { GvisorSource, type GvisorSourceOptions } from './sources/gvisor.js';
import { HookSource, type HookSourceOptions } from './sources/hook.js';
import { KMSG_PATH, KmsgSource, openKmsg } from './sources/kmsg.js';
import { VmclockSource, type VmclockSourceOptions } from './sources/vmclock.js';

/** Which sources to look at. A path asks for a source: it is used, and must work. False leaves it out. */
export interface SourceSelection {
  /** Unset: the generation-ID page that the ACPI tables name, where it can be read. True or options ask for it. */
  readonly acpi?: boolean | AcpiSourceOptions | undefined;
  /** Unset: the generation-ID page that the device tree names, where it can be read. True or options ask for it. */
  readonly devicetree?: boolean | DevicetreeSourceOptions | undefined;
  /**
   * Unset: the same page by a program in the kernel, where it can be loaded and no other immediate source was found: a
   * check costs a system call. True or options ask for it; see {@link BpfSource}.
   */
  readonly bpf?: boolean | BpfSourceOptions | undefined;
  /** A file with the generation; see {@link FileSource}. */
  readonly file?: string | ({ readonly path: string } & FileSourceOptions) | undefined;
  /** A socket path or loopback address for the hypervisor's agent; see {@link HookSource}. */
  readonly hook?: string | HookSource | ({ readonly listen: string } & HookSourceOptions) | undefined;
  /** Unset: the vmclock page where there is one, by `/dev/vmclock0`, ACPI or the device tree. A path or options ask for it. */
  readonly vmclock?: string | false | VmclockSourceOptions | undefined;
  /** Unset: `/dev/kmsg` where it can be read and the kernel watches a generation ID. */
  readonly kmsg?: string | false | undefined;
  /** Unset: gVisor's file of checkpoints, where it shows one. True or options ask for it; see {@link GvisorSource}. */
  readonly gvisor?: boolean | GvisorSourceOptions | undefined;
  /**
   * Somebody waits for the kernel's log to grow and for the sources that have a `notice`, looks at the other immediate ones
   * once a second, and calls `poll` or `check` of the driver when there is something new. Then neither the log, nor a page
   * beside it, nor one with a notice has a timer of its own: an idle program does not wake for them.
   */
  readonly watchedElsewhere?: boolean | undefined;
  /**
   * Descriptors in place of `/dev/mem`, the kernel's log and a program in the kernel, for who has given up the right to
   * open these: see `memoryFd` of {@link AcpiSource}, `fd` of {@link KmsgSource}, whose it is when that source is used, and
   * `opened` of {@link BpfSource}.
   */
  readonly opened?:
    | {
        readonly memory?: number | undefined;
        readonly kmsg?: number | undefined;
        readonly bpf?: OpenedBpf | undefined;
      }
    | undefined;
}

export interface OpenVmGenIdOptions extends SourceSelection, VmGenIdOptions {
  /** Sources of your own, or simulated ones. When given, nothing is looked for on the machine. */
  readonly sources?: readonly GenerationSource[] | undefined;
}

/** A source that this machine may have: the source, or why it is not here. */
export interface SourceCandidate {
  readonly kind: 'acpi' | 'devicetree' | 'bpf' | 'vmclock' | 'kmsg' | 'gvisor' | 'file' | 'hook';
  /** As the source would be named: `vmclock`, `file:/run/generation`. */
  readonly name: string;
  readonly timing: Timing;
  readonly uniqueness: Uniqueness;
  /** It works here and now. */
  readonly available: boolean;
  /** Why it is not available. */
  readonly reason?: string;
}

/**
 * Every source this version knows, and whether it works here. Reads each once; starts and changes nothing.
 * `sysBus` is where to look for the kernel's drivers. Throws `ERR_SOURCE_OPTION` for an option without sense.
 */
export function detectSources(selection: SourceSelection = {}, sysBus: string = SYS_BUS): SourceCandidate[] {
  const candidates: SourceCandidate[] = [];
  const { acpi, devicetree, bpf, vmclock, kmsg, gvisor } = selection;
  const page = acpiSource(selection);
  candidates.push(candidate('acpi', page, acpi === false ? switchedOff : () => tryRead(page)));
  const node = devicetreeSource(selection);
  candidates.push(candidate('devicetree', node, devicetree === false ? switchedOff : () => tryRead(node)));
  const clock = vmclockSource(selection);
  candidates.push(candidate('vmclock', clock, vmclock === false ? switchedOff : () => tryRead(clock)));
  const program = bpfSource(selection, { sysBus });
  const tryProgram = () => {
    if (!bpf) requireNoBetter(candidates);
    tryRead(program);
  };
  candidates.push(candidate('bpf', program, bpf === false ? switchedOff : tryProgram));
  const log = new KmsgSource({ path: kmsg || KMSG_PATH });
  const tryLog = () => {
    if (kmsg === undefined) requireKernelDriver(sysBus);
    if (selection.opened?.kmsg === undefined) closeSync(openKmsg(log.path));
  };
  candidates.push(candidate('kmsg', log, kmsg === false ? switchedOff : tryLog));
  const sandbox = gvisorSource(selection);
  candidates.push(candidate('gvisor', sandbox, gvisor === false ? switchedOff : () => sandbox.requireFile()));
  const file = fileSource(selection);
  if (file) candidates.push(candidate('file', file, () => tryRead(file)));
  const hook = hookSource(selection);
  if (hook) candidates.push(candidate('hook', hook, () => requireFolder(hook.name.slice('hook:'.length))));
  return candidates;
}

/**
 * A driver over the best sources of this machine, started. Those that were asked for are always part of it: where
 * one does not work it is reported, and unless an immediate source can be read, `check` lets nothing out. Without
 * any source at all, `protection` is `none`. Close it when done.
 */
export async function openVmGenId(options: OpenVmGenIdOptions = {}): Promise<VmGenId> {
  const { sources } = options;
  const chosen = sources ? [...sources, ...chosenSources(options, new Set())] : chosenSources(options);
  const vmgenid = new VmGenId(chosen, options);
  await vmgenid.start();
  return vmgenid;
}

/**
 * The immediate sources among those that `openVmGenId` would choose, not yet started: for a thread that looks by itself
 * before every release. What is opened belongs to the thread that called. The caller closes them, or gives them to a
 * driver that does. Throws `ERR_SOURCE_OPTION` for an option without sense.
 */
export function openImmediateSources(selection: SourceSelection = {}): GenerationSource[] {
  return chosenSources(selection).filter(({ timing }) => timing === 'immediate');
}

/** What was asked for, and what was found where nothing was said. */
function chosenSources(selection: SourceSelection, found = foundKinds(selection)): GenerationSource[] {
  const { acpi, devicetree, bpf, vmclock, kmsg, gvisor, watchedElsewhere, opened } = selection;
  const log = kmsg || found.has('kmsg');
  const pace = log && watchedElsewhere ? { pollMs: 0 } : {};
  const chosen: (GenerationSource | undefined)[] = [
    acpi || found.has('acpi') ? acpiSource(selection, pace) : undefined,
    devicetree || found.has('devicetree') ? devicetreeSource(selection, pace) : undefined,
    vmclock || found.has('vmclock') ? vmclockSource(selection) : undefined,
    bpf || found.has('bpf') ? bpfSource(selection, pace) : undefined,
    fileSource(selection),
    log ? new KmsgSource({ path: kmsg || KMSG_PATH, fd: opened?.kmsg, ...pace }) : undefined,
    gvisor || found.has('gvisor') ? gvisorSource(selection) : undefined,
    hookSource(selection),
  ];
  return chosen.filter(source => source !== undefined);
}

/** What works here without having been asked for, and was not left out. */
function foundKinds(selection: SourceSelection): Set<SourceCandidate['kind']> {
  const ofMachine = { ...selection, file: undefined, hook: undefined };
  const works = detectSources(ofMachine).filter(({ available }) => available);
  return new Set(works.map(({ kind }) => kind));
}

function acpiSource({ acpi, opened }: SourceSelection, pace: { pollMs?: number } = {}): AcpiSource {
  return new AcpiSource({ ...pace, memoryFd: opened?.memory, ...(typeof acpi === 'object' && acpi) });
}

function bpfSource({ bpf, opened }: SourceSelection, more: BpfSourceOptions): BpfSource {
  return new BpfSource({ ...more, opened: opened?.bpf, ...(typeof bpf === 'object' && bpf) });
}

function devicetreeSource(
  { devicetree, opened }: SourceSelection,
  pace: { pollMs?: number } = {},
): DevicetreeSource {
  const options = typeof devicetree === 'object' && devicetree;
  return new DevicetreeSource({ ...pace, memoryFd: opened?.memory, ...options });
}

function vmclockSource({ vmclock, opened, watchedElsewhere }: SourceSelection): VmclockSource {
  const options = typeof vmclock === 'string' ? { path: vmclock } : vmclock || {};
  return new VmclockSource({ memoryFd: opened?.memory, watchedElsewhere, ...options });
}

function gvisorSource({ gvisor }: SourceSelection): GvisorSource {
  return new GvisorSource(typeof gvisor === 'object' ? gvisor : {});
}

function fileSource({ file }: SourceSelection): FileSource | undefined {
  if (file === undefined) return undefined;
  return typeof file === 'string' ? new FileSource(file) : new FileSource(file.path, file);
}

function hookSource({ hook }: SourceSelection): HookSource | undefined {
  if (hook === undefined || hook instanceof HookSource) return hook;
  return typeof hook === 'string' ? new HookSource(hook) : new HookSource(hook.listen, hook);
}

function candidate(
  kind: SourceCandidate['kind'],
  { name, timing, uniqueness }: Pick<GenerationSource, 'name' | 'timing' | 'uniqueness'>,
  attempt: () => void,
): SourceCandidate {
  const known = { kind, name, timing, uniqueness };
  try {
    attempt();
    return { ...known, available: true };
  } catch (error) {
    return { ...known, available: false, reason: (error as Error).message };
  }
}

function switchedOff(): never {
  throw new VmGenIdError('ERR_SOURCE_UNAVAILABLE', 'switched off by an option');
}

function tryRead(source: AcpiSource | BpfSource | DevicetreeSource | FileSource | VmclockSource): void {
  try {
    source.read(new Uint32Array(GENERATION_WORDS));
  } finally {
    source.close();
  }
}

// By a page that is mapped a check needs no system call; nor is the kernel then asked to load anything.
function requireNoBetter(candidates: readonly SourceCandidate[]): void {
  const better = candidates.find(({ available, timing }) => available && timing === 'immediate');
  if (better) throw new VmGenIdError('ERR_SOURCE_UNAVAILABLE', `not needed beside ${better.name}`);
}

// Without a device under the kernel's vmgenid driver the log will never speak of a fork, and to listen protects nobody.
function requireKernelDriver(sysBus: string): void {
  if (drivenDevice(sysBus)) return;
  throw new VmGenIdError(
    'ERR_SOURCE_UNAVAILABLE',
    hasKernelDriver(sysBus)
      ? 'the kernel has its vmgenid driver, but the hypervisor offers no generation ID to it'
      : 'the kernel runs no vmgenid driver, so that its log never tells of a fork',
  );
}

function requireFolder(listen: string): void {
  if (listen.startsWith('/') && !statSync(dirname(listen)).isDirectory()) {
    throw new VmGenIdError('ERR_SOURCE_UNAVAILABLE', `${dirname(listen)}: not a folder`);
  }
}
