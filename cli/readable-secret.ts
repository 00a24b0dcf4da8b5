// A file with a secret that every user of the machine may get at: said once, with the command that mends it.
// Promises: one rule for all files that a command reads; no file without a secret is spoken of.
// Read on: wireguard-tools src/wg-quick/linux.bash parse_options() (the same rule for its files).

import { fstatSync, readlinkSync, type Stats, statSync } from 'node:fs';
import type { ConfigEndpoint } from '../tunnel/config/config-values.js';

const OTHERS_MAY_ACCESS = 0o007;

/** The warning, or nothing. `secret` is what the file holds, such as `a HookToken`. */
export function readableSecret(path: string, secret: string): string | undefined {
  return warningOf(path, () => statSync(path), secret);
}

/** The same of standard input, where it is a file. */
export function readableInput(stdin: unknown, secret: string): string | undefined {
  const { fd } = stdin as { readonly fd?: unknown };
  if (typeof fd !== 'number') return undefined;
  return warningOf(nameOf(fd), () => fstatSync(fd), secret);
}

/** Whether an endpoint says more than where it is: a name and password, or a query, which is where tokens stand. */
export function holdsPassword(endpoint: ConfigEndpoint | undefined): boolean {
  if (!endpoint || !('url' in endpoint)) return false;
  const { username, password, search } = new URL(endpoint.url);
  return username !== '' || password !== '' || search !== '';
}

function warningOf(path: string, stat: () => Stats, secret: string): string | undefined {
  try {
    const stats = stat();
    if (!stats.isFile() || (stats.mode & OTHERS_MAY_ACCESS) === 0) return undefined;
  } catch {
    return undefined;
  }
  return `${path} holds ${secret} and is world accessible: chmod 600 ${shellWord(path)}`;
}

function nameOf(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return 'standard input';
  }
}

function shellWord(text: string): string {
  return /^[\w./@%+=:,-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
