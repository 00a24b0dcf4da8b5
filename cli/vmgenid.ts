// `wireonce vmgenid`: what this machine has to learn of a fork with, and a watch that prints each one.
// Promises: `status` starts and changes nothing; `watch` says at once what it watches, then a line for each event.
// Read on: vmgenid/detect.ts, vmgenid/driver.ts.

import type { Command } from 'commander';
import {
  type Protection,
  type SourceCandidate,
  type SourceSelection,
  type VmGenId,
  type VmGenIdEvent,
  detectSources,
  formatGuid,
  openVmGenId,
} from '../vmgenid/index.js';
import { Bell } from './bell.js';
import { CliError } from './errors.js';
import { type CliIo, type Finish, printJson, printLine } from './io.js';
import { describeProtection } from './protection.js';

export interface VmgenidOptions extends SourceSelection {
  readonly json?: boolean;
}

export interface WatchOptions extends VmgenidOptions {
  /** Stands in for the sources of this machine: opens a driver that reports to `onEvent`. */
  readonly open?: (onEvent: (event: VmGenIdEvent) => void) => Promise<VmGenId>;
}

/** A source that is part of the driver which `openVmGenId` would open. */
interface ListedSource extends SourceCandidate {
  readonly used: boolean;
}

/** Sources wake the driver by themselves; this is for those that only answer when asked. Milliseconds. */
const POLL_MS = 100;

const MEANING: Readonly<Record<Protection, string>> = {
  immediate: 'a clone sees the fork before a byte can leave it: no key and nonce are used twice',
  delayed:
    'a clone learns of the fork some milliseconds after it runs; what it sends before may repeat a nonce',
  none: 'nothing here tells of a fork: a clone goes on with the keys and counters of its twin',
};

export function registerVmgenid(program: Command, io: CliIo, finish: Finish): void {
  const group = program
    .command('vmgenid')
    .description('which generation of its virtual machine is this, and what tells of a new one');
  selection(group.command('status'))
    .description('print every source of fork notices, whether it works here, and the protection that results')
    .action(options => finish(vmgenidStatus(io, options)));
  selection(group.command('watch'))
    .description('print a line for each fork, until interrupted')
    .action(async options => finish(await vmgenidWatch(io, options)));
}

function selection(command: Command): Command {
  return command
    .option('--file <path>', 'also a file with the generation: 16 bytes, or a GUID as text')
    .option(
      '--hook <address>',
      "also a hook for the hypervisor's agent: a socket path, 127.0.0.1:port or [::1]:port",
    )
    .option('--acpi', 'the ACPI generation-ID page must be read (default: where there is one)')
    .option('--no-acpi', 'no ACPI page')
    .option('--vmclock <path>', 'this vmclock device (default: /dev/vmclock0 where there is one)')
    .option('--no-vmclock', 'no vmclock')
    .option('--kmsg <path>', 'this kernel log (default: /dev/kmsg where the kernel watches a generation ID)')
    .option('--no-kmsg', 'no kernel log')
    .option('--json', 'print JSON');
}

/** Prints the sources and the protection. Throws `ERR_SOURCE_OPTION` for an option without sense. */
export function vmgenidStatus(io: CliIo, options: VmgenidOptions = {}): number {
  const sources = listSources(options);
  const protection = protectionOf(sources);
  const blocked = blockedBy(sources);
  if (options.json) {
    printJson(io.stdout, { protection, maySend: blocked.length === 0, sources });
    return 0;
  }
  const rows = sources.map(({ name, timing, uniqueness, available, reason }) => [
    name,
    timing,
    uniqueness,
    available ? 'yes' : `no: ${reason}`,
  ]);
  for (const line of table([['SOURCE', 'TIMING', 'VALUE', 'AVAILABLE'], ...rows])) printLine(io.stdout, line);
  const readable = sources.map(source => ({ ...source, readable: source.used && source.available }));
  printLine(io.stdout, '');
  printLine(io.stdout, `protection: ${describeProtection(protection, readable)}`);
  printLine(io.stdout, `  ${MEANING[protection]}`);
  for (const { name } of blocked) {
    printLine(io.stdout, `  nothing may be sent: ${name} was asked for and does not work`);
  }
  return 0;
}

/**
 * Watches until the signal and resolves with 0. Throws `ERR_CLI_NOTHING_TO_WATCH` when no source works, and
 * `ERR_SOURCE_OPTION` for an option without sense.
 */
export async function vmgenidWatch(io: CliIo, options: WatchOptions = {}): Promise<number> {
  const print = (event: string, fields: object, text: string) => {
    const time = new Date().toISOString();
    if (options.json) printJson(io.stdout, { time, event, ...fields });
    else printLine(io.stdout, `${time} ${text}`);
  };
  // What fails at the start is said in one piece, below.
  let started = false;
  const onEvent = (event: VmGenIdEvent) => started && report(event, print);
  const open = options.open ?? (onEvent => openVmGenId({ ...options, onEvent }));
  const vmgenid = await open(onEvent);
  try {
    const { sources, protection, epoch } = vmgenid;
    const working = sources.filter(({ readable }) => readable);
    if (working.length === 0) throw nothingToWatch(options, sources);
    const names = working.map(({ name }) => name);
    const failed = sources.flatMap(({ name, reason }) =>
      reason === undefined ? [] : [{ source: name, reason }],
    );
    const fields = { sources: names, failed, protection, epoch };
    print('watching', fields, `watching ${names.join(', ')}; protection: ${protection}, epoch ${epoch}`);
    for (const { source, reason } of options.json ? [] : failed)
      print('', {}, `not watching ${source}: ${reason}`);
    started = true;

    const told = new Set<string>();
    vmgenid.onEvidence(() => reportEvidence(vmgenid, told, print));
    const timer = setInterval(() => vmgenid.poll(), POLL_MS);
    try {
      await untilAborted(io.signal);
    } finally {
      clearInterval(timer);
    }
    return 0;
  } finally {
    started = false;
    await vmgenid.close();
  }
}

type Print = (event: string, fields: object, text: string) => void;

function report(event: VmGenIdEvent, print: Print): void {
  switch (event.type) {
    case 'fork': {
      const { epoch, source, vmGenId } = event.fork;
      const guid = vmGenId && formatGuid(vmGenId);
      const generation = guid ? `, generation ${guid}` : '';
      print(
        'fork',
        { epoch, source, vmGenId: guid ?? null },
        `fork: epoch ${epoch}, seen by ${source}${generation}`,
      );
      break;
    }
    case 'sameFork':
      print(
        'sameFork',
        { epoch: event.epoch, source: event.source },
        `same fork: seen by ${event.source} too`,
      );
      break;
    case 'sourceFailed': {
      const { source, error } = event;
      print('sourceFailed', { source, reason: error.message }, `${source} failed: ${error.message}`);
      break;
    }
    case 'sourceRecovered':
      print('sourceRecovered', { source: event.source }, `${event.source} works again`);
      break;
    case 'subscriberFailed':
      break;
  }
}

// What is known of a fork grows; each piece is printed once.
function reportEvidence({ evidence, epoch }: VmGenId, told: Set<string>, print: Print): void {
  const tell = (piece: string, fields: object, text: string) => {
    const key = `${epoch} ${piece}`;
    if (told.has(key)) return;
    told.add(key);
    print('evidence', { epoch, ...fields }, `evidence: ${text} (epoch ${epoch})`);
  };
  const { kernelReseeded, vmGenId } = evidence;
  if (kernelReseeded) tell('reseed', { kernelReseeded }, 'the kernel has reseeded its generator');
  if (vmGenId) {
    const guid = formatGuid(vmGenId);
    tell(guid, { vmGenId: guid }, `generation ${guid}`);
  }
}

function nothingToWatch(options: WatchOptions, sources: VmGenId['sources']): CliError {
  const tried = sources.map(({ name, reason }) => `${name}: ${reason}`);
  const others = options.open
    ? []
    : listSources(options).filter(({ available, used }) => !available && !used);
  const hints = [...tried, ...others.map(({ name, reason }) => `${name}: ${reason}`)];
  return new CliError('ERR_CLI_NOTHING_TO_WATCH', 'nothing to watch: no source of fork notices works here', {
    hints,
  });
}

function listSources(options: SourceSelection): ListedSource[] {
  // Those that were asked for are used whether they work or not.
  const asked = new Set<string>(
    (['file', 'hook', 'acpi', 'vmclock', 'kmsg'] as const).filter(kind => Boolean(options[kind])),
  );
  return detectSources(options).map(source => ({
    ...source,
    used: source.available || asked.has(source.kind),
  }));
}

function protectionOf(sources: readonly ListedSource[]): Protection {
  const working = sources.filter(({ used, available }) => used && available);
  if (working.some(({ timing }) => timing === 'immediate')) return 'immediate';
  return working.length > 0 ? 'delayed' : 'none';
}

/** Sources without which the driver would vouch for nothing: see `VmGenId.check`. */
function blockedBy(sources: readonly ListedSource[]): ListedSource[] {
  const used = sources.filter(source => source.used);
  const immediate = used.filter(({ timing }) => timing === 'immediate');
  if (immediate.some(({ available }) => available)) return [];
  return (immediate.length > 0 ? immediate : used).filter(({ available }) => !available);
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map(row => row[column].length)));
  return rows.map(row =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd(),
  );
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  const bell = new Bell();
  while (!signal.aborted) await bell.wait(() => false, 2 ** 31 - 1, signal);
}
