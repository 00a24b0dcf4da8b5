// What the bench knows of a WireGuard: how it is found or built, and how a daemon of it is started.
// Read on: index.ts (which there are), ../pair.ts (who starts them).

import { homedir } from 'node:os';
import { join } from 'node:path';

export interface Daemon {
  readonly command: string;
  readonly args: readonly string[];
  /** Besides the environment of this process. */
  readonly env?: NodeJS.ProcessEnv;
}

export interface Found {
  readonly version: string;
  /** The command line of a daemon that stays in the foreground. */
  daemon(interfaceName: string): Daemon;
}

export interface Missing {
  /** Why it is not measured here. */
  readonly reason: string;
}

export interface Implementation {
  /** For command lines, files and namespaces: letters, digits, dashes. */
  readonly id: string;
  readonly name: string;
  /** Finds it on this machine, or builds it where it can be. `rebuild`: even if an older build is there. */
  find(rebuild: boolean): Promise<Found | Missing>;
}

/** Where what was built for the bench stays. */
export const CACHE = process.env['WIREONCE_BENCH_CACHE'] ?? join(homedir(), '.cache', 'wireonce-bench');

/** A build from scratch on a slow machine. */
export const BUILD_TIMEOUT_MS = 1_200_000;
