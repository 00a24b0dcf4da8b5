// Which interfaces of this machine are the kernel's WireGuard: it does not notice a fork, and wg-quick prefers it.
// Read on: docs/configuration.md, With wg-quick.

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Where Linux shows the interfaces of this network namespace, a folder each. */
export const LINKS = '/sys/class/net';

export type LinkKind = 'none' | 'wireguard' | 'other';

/** What Linux says of an interface by this name. One that a daemon of ours serves is `other`: a TUN device. */
export function linkKind(name: string, links = LINKS): LinkKind {
  try {
    return /^DEVTYPE=wireguard$/m.test(readFileSync(join(links, name, 'uevent'), 'utf8'))
      ? 'wireguard'
      : 'other';
  } catch {
    return 'none';
  }
}

/** Where there are no such folders (another system, a container without them), none. */
export function kernelWireGuards(links = LINKS): string[] {
  try {
    return readdirSync(links).filter(name => linkKind(name, links) === 'wireguard');
  } catch {
    return [];
  }
}

/** What to do, for who meant one of ours. */
export const KEEP_FROM_KERNEL =
  "wg-quick starts wireonce where it can load no WireGuard of the kernel's: wg-quick down each, then " +
  "echo 'blacklist wireguard' >/etc/modprobe.d/wireonce.conf; modprobe -r wireguard";
