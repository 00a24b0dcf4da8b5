// What a daemon may do for life, and how it gets rid of the rest.
// Promises: it keeps CAP_NET_ADMIN and CAP_NET_BIND_SERVICE, in all its threads, and gets no more by any program that it
// starts; what needs more is opened before, and handed on; what must stay longer is kept, and `wireonce status` says so.
// Read on: docs/architecture.md "Rights"; tunnel/linux/process-rights.ts.

import { closeSync, constants, openSync } from 'node:fs';
import { constants as os } from 'node:os';
import type { DaemonSettings } from '../../tunnel/config/daemon-config.js';
import { capabilityMask } from '../../tunnel/linux/capabilities.js';
import { type ProcessRights, RLIMIT_CORE, RLIMIT_MEMLOCK } from '../../tunnel/linux/process-rights.js';
import { detectSources } from '../../vmgenid/detect.js';
import { MEMORY_PATH } from '../../vmgenid/physical-memory.js';
import { openBpf } from '../../vmgenid/sources/bpf.js';
import { KMSG_PATH } from '../../vmgenid/sources/kmsg.js';
import type { CliIo } from '../io.js';
import { ENDING, NODE_FLAGS } from '../signals.js';
import { INHERITED } from './environment.js';
import { HANDOVER_FD, type Handover, type OpenedDevices, writeHandover } from './handover.js';

/*
 * Capabilities are a thread's own, and Node has made threads before our first line runs. So what is given up is given up
 * by the thread that starts the process anew, from which all others are born: by execve, in the same process, or by the
 * start of another one in the background.
 */

/** The TUN device, marks and buffers of sockets; ports below 1024, which `wg set` may ask for at any time. */
const KEPT = ['CAP_NET_ADMIN', 'CAP_NET_BIND_SERVICE'];
/** Where the limit for locked memory cannot be lifted. */
const TO_LOCK_MEMORY = 'CAP_IPC_LOCK';
/** Where the program lies in a folder that root may not enter by its permissions, such as somebody's home. */
const TO_READ_THE_PROGRAM = 'CAP_DAC_READ_SEARCH';

/** Opens what the sources of a daemon need rights for. What cannot be opened is left out: the source will say why. */
export function openDevices(settings: DaemonSettings): OpenedDevices {
  const { acpi, devicetree, vmclock, kmsg } = settings;
  const wantsMemory = [acpi, devicetree, vmclock].some(choice => choice !== false);
  const memory = wantsMemory ? tryOpen(MEMORY_PATH, constants.O_RDONLY) : undefined;
  const log = kmsg === false ? undefined : (kmsg ?? KMSG_PATH);
  const openLog = () => log && tryOpen(log, constants.O_RDONLY | constants.O_NONBLOCK);
  const [own, ofThread] = [openLog(), openLog()];
  return {
    ...(memory !== undefined && { memory }),
    ...openProgram(settings),
    ...(own && { kmsg: own }),
    ...(ofThread && { kmsgOfThread: ofThread }),
  };
}

/**
 * Leaves this thread, and what it starts from here on, what a daemon needs. `files`: those that the daemon reads when it
 * has started. Returns what could not be done, one line each.
 */
export function giveUpRights(rights: ProcessRights, files: readonly string[]): string[] {
  rights.forbid(RLIMIT_CORE);
  const kept = [...KEPT];
  if (!rights.liftLimit(RLIMIT_MEMLOCK)) kept.push(TO_LOCK_MEMORY);
  const closed = rights.withEffective(capabilityMask(kept), () => files.some(isClosed)) ?? true;
  if (closed) kept.push(TO_READ_THE_PROGRAM);
  return rights.limit(capabilityMask(kept));
}

/** Starts this program anew in this process. Does not return, but when a signal asked to end meanwhile. */
export async function startAnew(io: CliIo, rights: ProcessRights, handover: Handover): Promise<void> {
  // What has come is heard now; what comes later ends the process, which holds nothing yet.
  rights.defaultSignals(ENDING.map(name => os.signals[name]));
  await new Promise(heard => setImmediate(heard));
  if (io.signal.aborted) return;
  const fd = writeHandover(rights, handover);
  process.env[HANDOVER_FD] = String(fd);
  const inherited = INHERITED.flatMap(name => io.env[name] || []);
  const passed = [fd, ...Object.values(handover.opened), ...inherited.map(Number)];
  const argv = [process.argv0, ...NODE_FLAGS, ...process.argv.slice(1)];
  rights.replaceProcess(process.execPath, argv, passed);
}

/** What is loaded into the kernel only where it is asked for, or no page can be mapped. */
function openProgram({ acpi, devicetree, vmclock, bpf }: DaemonSettings) {
  const isWanted = detectSources({ acpi, devicetree, vmclock, bpf, kmsg: false }).some(
    ({ kind, available }) => kind === 'bpf' && available,
  );
  if (!isWanted) return {};
  try {
    const { program, device } = openBpf();
    return { bpfProgram: program, bpfDevice: device };
  } catch {
    return {};
  }
}

function tryOpen(path: string, flags: number): number | undefined {
  try {
    return openSync(path, flags);
  } catch {
    return undefined;
  }
}

function isClosed(path: string): boolean {
  try {
    closeSync(openSync(path, 'r'));
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES';
  }
}
