// `wireonce vmgenid`: what this machine has to learn of a fork with, and the commands that tell of each one.
// Promises: `status` starts and changes nothing.
// Read on: vmgenid/detect.ts; vmgenid-watch.ts, vmgenid-serve.ts.

import type { Command } from 'commander';
import { loadKoffi } from '../native/koffi.js';
import type { Protection } from '../vmgenid/index.js';
import { type CliIo, type Finish, printJson, printLine } from './io.js';
import { describeProtection } from '../tunnel/daemon/protection.js';
import { KERNEL_OPTIONS, type MachineFacts, readMachine } from './vmgenid-machine.js';
import { nextStep } from './vmgenid-next-step.js';
import { registerServe } from './vmgenid-serve.js';
import {
  type ListedSource,
  type VmgenidOptions,
  listSources,
  sourceOptions,
  withHookToken,
} from './vmgenid-sources.js';
import { vmgenidWatch } from './vmgenid-watch.js';

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
  sourceOptions(group.command('status'))
    .description(
      'print every source of fork notices, whether it works here, the protection that results, and what to do next',
    )
    .action(options => finish(vmgenidStatus(io, withHookToken(options, io))));
  sourceOptions(group.command('watch'))
    .description('print a line for each fork, until interrupted')
    .action(async options => finish(await vmgenidWatch(io, withHookToken(options, io))));
  registerServe(group, io, finish);
}

/** Prints the sources, the protection and the next step. Throws `ERR_SOURCE_OPTION` for an option without sense. */
export function vmgenidStatus(io: CliIo, options: VmgenidOptions = {}): number {
  const machine = readMachine();
  const sources = listSources(options);
  const protection = protectionOf(sources);
  const blocked = blockedBy(sources);
  const next = nextStep(machine, protection, loadKoffi().reason);
  if (options.json) {
    const { kernel } = machine;
    printJson(io.stdout, { protection, maySend: blocked.length === 0, sources, kernel, nextStep: next });
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
  printLine(io.stdout, `kernel: ${describeKernel(machine)}`);
  printLine(io.stdout, `next step: ${next}`);
  return 0;
}

function describeKernel({ kernel: { release, options, lockdown } }: MachineFacts): string {
  const all = options && KERNEL_OPTIONS.map(name => `${name}=${options[name]}`);
  return `${release}, lockdown ${lockdown ?? 'not shown'}, ${all?.join(' ') ?? 'configuration not shown'}`;
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
