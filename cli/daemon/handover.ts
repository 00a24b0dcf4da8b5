// What a daemon's first start leaves to its second, which has fewer rights: its settings, and what was opened for it.
// Promises: no secret stands in the environment or on disk; it is read once, and gone.
// Read on: rights.ts (why there are two starts).

import { closeSync, fstatSync, ftruncateSync, readSync, writeSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
import type { ProcessRights } from '../../tunnel/linux/process-rights.js';
import { CliError } from '../errors.js';
import type { DaemonOptions } from './options.js';

/** In the environment of the second start: the descriptor at which this lies. */
export const HANDOVER_FD = 'WIREONCE_HANDOVER_FD';

/** Descriptors of what only a privileged process may open. Each is whose it is named for. */
export interface OpenedDevices {
  /** Physical memory, for the generation-ID page; needed until that is mapped. */
  readonly memory?: number;
  /** The program in the kernel that reads this page where it cannot be mapped, and the device that it sets out from. */
  readonly bpfProgram?: number;
  readonly bpfDevice?: number;
  /** The kernel's log, for its source and for the device's thread: each reads all of it. */
  readonly kmsg?: number;
  readonly kmsgOfThread?: number;
}

export interface Handover {
  readonly options: DaemonOptions;
  readonly opened: OpenedDevices;
}

/** A descriptor to start the daemon with. */
export function writeHandover(rights: ProcessRights, handover: Handover): number {
  const fd = rights.namelessFile();
  const bytes = serialize(handover);
  writeSync(fd, bytes, 0, bytes.length, 0);
  bytes.fill(0);
  return fd;
}

/** Undefined in a first start. Throws `ERR_CLI_INPUT` for a descriptor that is none of ours. */
export function takeHandover(env: Readonly<Record<string, string | undefined>>): Handover | undefined {
  const value = env[HANDOVER_FD];
  if (value === undefined || value === '') return undefined;
  try {
    const fd = Number(value);
    const bytes = Buffer.alloc(fstatSync(fd).size);
    readSync(fd, bytes, 0, bytes.length, 0);
    // Its arrays lie in `bytes`.
    const handover = deserialize(bytes) as Handover;
    writeSync(fd, Buffer.alloc(bytes.length), 0, bytes.length, 0);
    ftruncateSync(fd);
    closeSync(fd);
    return handover;
  } catch (error) {
    const message = `${HANDOVER_FD} is for this program alone: leave it out of its environment`;
    throw new CliError('ERR_CLI_INPUT', message, { cause: error });
  }
}
