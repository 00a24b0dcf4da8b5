// `wireonce vmgenid watch`, and the part of it that `serve` has too: sources opened, and a line for each event.
// Promises: it says at once what it watches; without anything to watch, or without all that it was asked to, it fails.
// Read on: vmgenid/driver.ts.

import { type VmGenId, type VmGenIdEvent, formatGuid, openVmGenId } from '../vmgenid/index.js';
import { HookSource } from '../vmgenid/sources/hook.js';
import { isOpenToUsers } from '../vmgenid/sources/hook-address.js';
import type { HookReporter } from '../vmgenid/sources/hook-readiness.js';
import { Bell } from './bell.js';
import { CliError } from './errors.js';
import { type CliIo, printJson, printLine } from './io.js';
import { type VmgenidOptions, listSources, requireAll } from './vmgenid-sources.js';

export interface WatchOptions extends VmgenidOptions {
  /** Stands in for the sources of this machine: opens a driver that reports to `onEvent`. */
  readonly open?: (onEvent: (event: VmGenIdEvent) => void) => Promise<VmGenId>;
}

const POLL_MS = 100;

/**
 * Watches until the signal and resolves with 0. Throws `ERR_CLI_NOTHING_TO_WATCH` when no source works,
 * `ERR_SOURCE_UNREADABLE` when one that was asked for does not, and `ERR_SOURCE_OPTION` for an option without sense.
 */
export async function vmgenidWatch(io: CliIo, options: WatchOptions = {}): Promise<number> {
  return watchForks(io, options, { pollMs: POLL_MS });
}

export interface WatchParts {
  /** Milliseconds between looks at sources that only answer when asked; the others wake the driver by themselves. */
  readonly pollMs: number;
  /** Is asked by the hook how far the program behind it is. */
  readonly reporter?: HookReporter;
  /** Is put on the driver when it watches, and is closed before it. */
  readonly attach?: (vmgenid: VmGenId, print: Print) => Promise<{ close(): Promise<void> }>;
}

/** Prints what it watches, then each event, until the signal. Throws as `vmgenidWatch` does, and what `attach` throws. */
export async function watchForks(io: CliIo, options: WatchOptions, parts: WatchParts): Promise<number> {
  const print: Print = (event, fields, text) => {
    const time = new Date().toISOString();
    if (options.json) printJson(io.stdout, { time, event, ...fields });
    else printLine(io.stdout, `${time} ${text}`);
  };
  // What fails at the start is said as an error.
  let started = false;
  const onEvent = (event: VmGenIdEvent) => started && report(event, print);
  const open =
    options.open ??
    (onEvent => openVmGenId({ ...options, hook: withReport(options.hook, parts.reporter), onEvent }));
  const vmgenid = await open(onEvent);
  try {
    const { sources, protection, epoch } = vmgenid;
    requireAll(sources);
    if (sources.length === 0) throw nothingToWatch(options);
    const names = sources.map(({ name }) => name);
    const fields = { sources: names, protection, epoch };
    print('watching', fields, `watching ${names.join(', ')}; protection: ${protection}, epoch ${epoch}`);
    warnOfOpenPort(io, options);
    started = true;

    const told = new Set<string>();
    vmgenid.onEvidence(() => reportEvidence(vmgenid, told, print));
    const attached = await parts.attach?.(vmgenid, print);
    const timer = setInterval(() => vmgenid.poll(), parts.pollMs);
    try {
      await untilAborted(io.signal);
    } finally {
      clearInterval(timer);
      await attached?.close();
    }
    return 0;
  } finally {
    started = false;
    await vmgenid.close();
  }
}

/** Prints one event: as JSON with its fields, or as text. */
export type Print = (event: string, fields: object, text: string) => void;

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

function withReport(hook: WatchOptions['hook'], report: HookReporter | undefined): WatchOptions['hook'] {
  if (hook === undefined || hook instanceof HookSource) return hook;
  return typeof hook === 'string' ? { listen: hook, report } : { ...hook, report };
}

function warnOfOpenPort(io: CliIo, { hook }: WatchOptions): void {
  // With a token it is an object: `withHookToken`.
  if (typeof hook !== 'string' || !isOpenToUsers(hook)) return;
  const who = 'every user of this machine may tell of forks';
  printLine(io.stderr, `wireonce: warning: hook ${hook} has no token, and ${who}: set WIREONCE_HOOK_TOKEN`);
}

function nothingToWatch(options: WatchOptions): CliError {
  const hints = options.open ? [] : listSources(options).map(({ name, reason }) => `${name}: ${reason}`);
  return new CliError('ERR_CLI_NOTHING_TO_WATCH', 'nothing to watch: no source of fork notices works here', {
    hints,
  });
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  const bell = new Bell();
  while (!signal.aborted) await bell.wait(() => false, 2 ** 31 - 1, signal);
}
