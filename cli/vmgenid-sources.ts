// The options by which every `wireonce vmgenid` command chooses its sources, and what they come to here.

import type { Command } from 'commander';
import {
  type SourceCandidate,
  type SourceSelection,
  type SourceStatus,
  VmGenIdError,
  detectSources,
} from '../vmgenid/index.js';
import type { CliIo } from './io.js';

export interface VmgenidOptions extends SourceSelection {
  readonly json?: boolean;
}

/** A source that is part of the driver which `openVmGenId` would open. */
export interface ListedSource extends SourceCandidate {
  readonly used: boolean;
}

export function sourceOptions(command: Command): Command {
  return command
    .option('--file <path>', 'also a file with the generation: 16 bytes, or a GUID as text')
    .option(
      '--hook <address>',
      "also a hook for the hypervisor's agent: a socket path, 127.0.0.1:port, [::1]:port or vsock:port",
    )
    .option('--acpi', 'the ACPI generation-ID page must be read (default: where there is one)')
    .option('--no-acpi', 'no ACPI page')
    .option('--devicetree', "the device tree's generation-ID page must be read (default: where there is one)")
    .option('--no-devicetree', 'no page of the device tree')
    .option(
      '--bpf',
      'the generation-ID page must be read by a program in the kernel (default: where it cannot be mapped)',
    )
    .option('--no-bpf', 'no program in the kernel')
    .option('--vmclock <path>', 'this vmclock device (default: the page of this machine where there is one)')
    .option('--no-vmclock', 'no vmclock')
    .option('--kmsg <path>', 'this kernel log (default: /dev/kmsg where the kernel watches a generation ID)')
    .option('--no-kmsg', 'no kernel log')
    .option('--gvisor', 'gVisor must show checkpoints (default: where it does)')
    .option('--no-gvisor', 'no checkpoints of gVisor')
    .option('--json', 'print JSON');
}

/** The options with the token of the hook, which no flag has: every user of a machine sees those. */
export function withHookToken<T extends VmgenidOptions>(options: T, { env }: Pick<CliIo, 'env'>): T {
  const token = env['WIREONCE_HOOK_TOKEN'];
  return typeof options.hook === 'string' && token
    ? { ...options, hook: { listen: options.hook, token } }
    : options;
}

/**
 * Throws `ERR_SOURCE_UNREADABLE` when a source does not work that was asked for (what was merely looked for and not found is
 * not among `sources`): a program that ran on without it would not do what it was told to.
 */
export function requireAll(sources: readonly SourceStatus[]): void {
  const broken = sources.filter(({ readable }) => !readable);
  if (broken.length === 0) return;
  const reasons = broken.map(({ name, reason }) => reason ?? `${name} does not work`);
  throw new VmGenIdError('ERR_SOURCE_UNREADABLE', reasons.join('; '));
}

export function listSources(options: SourceSelection): ListedSource[] {
  // Those that were asked for are used whether they work or not.
  const asked = new Set<string>(
    (['file', 'hook', 'acpi', 'devicetree', 'bpf', 'vmclock', 'kmsg', 'gvisor'] as const).filter(kind =>
      Boolean(options[kind]),
    ),
  );
  return detectSources(options).map(source => ({
    ...source,
    used: source.available || asked.has(source.kind),
  }));
}
