// Interfaces and network namespaces for tests: named after this process, and removed whatever happens.

import { spawnSync } from 'node:child_process';
import { afterAll, afterEach } from 'vitest';
import { requireLibc } from '../../../tunnel/linux/libc.js';
import { LinuxTun, type TunOptions } from '../../../tunnel/linux/tun/tun.js';

let count = 0;
const closers: (() => void)[] = [];

export const libc = requireLibc();

function cleanUp(): void {
  for (const close of closers.splice(0).toReversed()) close();
}
afterEach(cleanUp);
afterAll(cleanUp);

/** Called at the end of the test, last first. */
export function atEnd(close: () => void): void {
  closers.push(close);
}

/** Runs `ip`. Throws with its complaint. */
export function ip(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr.trim()}`);
  return stdout;
}

/** A name that nobody else has: 15 characters at most. */
export function freshName(): string {
  return `wo${process.pid}n${++count}`;
}

export function namespace(): string {
  const name = `${freshName()}s`;
  ip('netns', 'add', name);
  atEnd(() => spawnSync('ip', ['netns', 'del', name]));
  return name;
}

/** A TUN device that is closed at the end of the test. */
export function tun(options: Partial<TunOptions> = {}): LinuxTun {
  const made = LinuxTun.create(libc, { name: freshName(), ...options });
  atEnd(() => made.close());
  return made;
}
