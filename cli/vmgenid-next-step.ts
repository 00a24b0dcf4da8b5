// What to do next on a machine, so that it learns of its forks as early as it can: one sentence.
// Promises: computation only; the first reason that stands in the way, never one behind it.
// Read on: docs/sources.md, which has the reasons; test/cli/vmgenid-next-step.test.ts, which has the machines.

import type { Protection } from '../vmgenid/index.js';
import type { MachineFacts } from './vmgenid-machine.js';

const HOLD_BACK =
  'set HoldBackMs to more than the kernel is late with its log line, or have the agent call a Hook';

/** `protection`: what the sources come to now. `calls`: why there are no system calls, where there are none. */
export function nextStep(machine: MachineFacts, protection: Protection, calls?: string): string {
  const { kernel, generationId, isDriven, isVirtual, isGvisor, isRoot, mayUseBpf, hasDevMem } = machine;
  const { options, lockdown } = kernel;
  const lacks = (...names: (keyof NonNullable<typeof options>)[]) =>
    names.filter(name => options?.[name] === 'n');
  if (protection === 'immediate')
    return 'none is needed; with Strict = true the daemon starts with nothing less';
  if (calls !== undefined) return `install the optional package koffi: ${calls}`;
  if (isGvisor)
    return 'have gVisor show checkpoints to the container by an annotation, and give each one an ID (docs/sources.md, Process images)';
  if (generationId === undefined && !isDriven) {
    if (isVirtual === false)
      return 'none is needed: this is no virtual machine, so that nobody can start it twice from one state';
    return 'have the hypervisor give this machine a generation ID (QEMU: -device vmgenid,guid=auto), or have its agent call a Hook';
  }
  if (!isRoot) return 'run it as root, or ask for this status with sudo';
  if (lockdown === 'confidentiality')
    return `start the kernel with lockdown=integrity in place of confidentiality, or ${HOLD_BACK}`;
  if (!isDriven) return driverStep(machine);
  if (!mayUseBpf)
    return hasDevMem
      ? 'start it with the capability CAP_SYS_RAWIO, or with CAP_BPF and CAP_PERFMON'
      : 'start the container with CAP_BPF and CAP_PERFMON (docker run --cap-add BPF --cap-add PERFMON)';
  const missing = lacks('CONFIG_BPF_SYSCALL', 'CONFIG_BPF_EVENTS', 'CONFIG_DEBUG_INFO_BTF');
  if (missing.length > 0)
    return `take a kernel that is built with ${list(missing)}${lockdown === 'integrity' ? '' : ', or with CONFIG_DEVMEM'}, or ${HOLD_BACK}`;
  return `see above why each source does not work; until one does, ${HOLD_BACK}`;
}

/** The ID is there, and the kernel does not serve it: then it must be mapped, or the driver brought. */
function driverStep({ kernel, generationId, hasDevMem }: MachineFacts): string {
  const { options, lockdown } = kernel;
  if (options?.CONFIG_VMGENID === 'm') return 'load the module of the generation ID: modprobe vmgenid';
  const since = generationId === 'device tree' ? ' of Linux 6.10 or later' : '';
  const debian = /-cloud-(amd64|arm64)$/.test(kernel.release) ? ' (Debian 12: from bookworm-backports)' : '';
  const kernelStep = `take a kernel${since} with CONFIG_VMGENID=y${debian}`;
  if (lockdown === 'integrity' || hasDevMem) return kernelStep;
  return options?.CONFIG_DEVMEM === 'y'
    ? 'start the container with --device /dev/mem and CAP_SYS_RAWIO'
    : `${kernelStep}, or one with CONFIG_DEVMEM=y`;
}

function list(names: readonly string[]): string {
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}
