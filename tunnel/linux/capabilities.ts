// The capabilities of this process: what its threads hold, by name.
// Promises: every thread is asked, since each has its own; without /proc the answer is that nothing is known.
// Read on: man 7 capabilities; process-rights.ts, which gives them up; Linux include/uapi/linux/capability.h.

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** By their numbers. */
export const CAPABILITIES = `
  CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
  NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
  SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
  AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
  PERFMON BPF CHECKPOINT_RESTORE
`
  .trim()
  .split(/\s+/)
  .map(name => `CAP_${name}`);

/** What a process may do, as its threads hold it. */
export interface Privileges {
  /** Permitted to any of its threads, such as `CAP_NET_ADMIN`. */
  readonly capabilities: readonly string[];
  /** Whether no program that any of its threads starts can get more. */
  readonly noNewPrivileges: boolean;
}

/** Of the whole process; null where /proc does not tell. `folder`: where its threads are. */
export function readPrivileges(folder = '/proc/self/task'): Privileges | null {
  try {
    const threads = readdirSync(folder).flatMap(thread => readThread(join(folder, thread, 'status')));
    return {
      capabilities: capabilityNames(threads.reduce((all, { permitted }) => all | permitted, 0n)),
      noNewPrivileges: threads.every(({ noNewPrivileges }) => noNewPrivileges),
    };
  } catch {
    return null;
  }
}

/** What the calling thread may do, as a mask by number. Throws without /proc. */
export function permittedToThread(): bigint {
  return readStatus('/proc/thread-self/status').permitted;
}

export function capabilityNames(mask: bigint): string[] {
  const names: string[] = [];
  for (let n = 0, rest = mask; rest > 0n; n++, rest >>= 1n) {
    // A kernel may be newer than this table.
    if ((rest & 1n) === 1n) names.push(CAPABILITIES[n] ?? `CAP_${n}`);
  }
  return names;
}

/** The mask of these. */
export function capabilityMask(names: readonly string[]): bigint {
  return names.reduce((mask, name) => mask | (1n << BigInt(CAPABILITIES.indexOf(name))), 0n);
}

/** None when it has ended meanwhile. */
function readThread(path: string) {
  try {
    return [readStatus(path)];
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return [];
    throw error;
  }
}

function readStatus(path: string): { permitted: bigint; noNewPrivileges: boolean } {
  const text = readFileSync(path, 'latin1');
  const [, permitted] = /^CapPrm:\s*([0-9a-f]+)$/m.exec(text) ?? [];
  if (permitted === undefined) throw new Error(`${path}: no CapPrm`);
  return { permitted: BigInt(`0x${permitted}`), noNewPrivileges: /^NoNewPrivs:\s*1$/m.test(text) };
}
