// Memory for the keys of a device in this process: locked where the system lets us, plain elsewhere, and which it is.

import type { KeyMemory } from '../../sessions/ports.js';
import { type KeyMemoryReport, LockedKeyMemory } from '../linux/key-memory.js';
import { loadLibc } from '../linux/libc.js';

export type { KeyMemoryReport } from '../linux/key-memory.js';

/** Memory for keys, and how well it is kept. */
export interface OpenedKeyMemory {
  /** For `DeviceOptions`. Undefined: plain memory. */
  readonly keyMemory: KeyMemory | undefined;
  /** How much there is, how much of it is locked, and why no more. */
  report(): KeyMemoryReport;
}

/** Never throws: where nothing can be locked, `report` says why. */
export function openKeyMemory(): OpenedKeyMemory {
  const { libc, reason } = loadLibc();
  if (!libc) {
    return { keyMemory: undefined, report: () => ({ bytes: 0, lockedBytes: 0, refused: reason }) };
  }
  const keyMemory = new LockedKeyMemory(libc);
  return { keyMemory, report: () => keyMemory.report };
}
