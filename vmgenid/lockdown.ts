// How far the kernel is locked down against its own administrator, as it says itself.
// Read on: man 7 kernel_lockdown.

import { readFileSync } from 'node:fs';

/** Needs securityfs to be mounted, as it is on every distribution. */
const LOCKDOWN = '/sys/kernel/security/lockdown';

/** `none`, `integrity`, `confidentiality`; undefined where the kernel does not say. */
export function lockdownMode(file: string = LOCKDOWN): string | undefined {
  try {
    return /\[(\w+)\]/.exec(readFileSync(file, 'latin1'))?.[1];
  } catch {
    return undefined;
  }
}
