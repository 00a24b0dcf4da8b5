// A Linux kernel from Debian, with the modules that a guest needs: downloaded once, unpacked, never installed.
// Promises: nothing is installed and no root is needed; what cannot be had is said with what to do about it.
// Read on: apt-get(8) `download`; CONTRIBUTING.md for what else must be installed.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { run } from './run.js';
import { VmUnavailableError } from './unavailable.js';

/** The 6.1 cloud kernel has no vmgenid driver; this one has it, and virtio, built in. */
const META_PACKAGE = 'linux-image-6.12-cloud-amd64';

/** In the order in which they are loaded: the network card, TUN, WireGuard and the ciphers under it, vsock within a guest. */
const MODULES = [
  'failover',
  'net_failover',
  'virtio_net',
  'tun',
  'udp_tunnel',
  'ip6_udp_tunnel',
  'libcurve25519-generic',
  'curve25519-x86_64',
  'libcurve25519',
  'libchacha',
  'chacha-x86_64',
  'libpoly1305',
  'poly1305-x86_64',
  'libchacha20poly1305',
  'wireguard',
  'vsock',
  'vmw_vsock_virtio_transport_common',
  'vsock_loopback',
];

export interface GuestKernel {
  readonly vmlinuz: string;
  /** Each with its content, in the order in which they are loaded. */
  readonly modules: readonly { readonly name: string; readonly data: Uint8Array }[];
}

/** The kernel, from the cache folder or from Debian. Throws `VmUnavailableError`. */
export async function guestKernel(cache: string, progress: (line: string) => void): Promise<GuestKernel> {
  const unpacked = join(cache, await kernelPackage());
  if (!existsSync(unpacked)) await download(unpacked, progress);
  const boot = join(unpacked, 'boot');
  const image = readdirSync(boot).find(name => name.startsWith('vmlinuz-'));
  if (!image) throw new VmUnavailableError(`${basename(unpacked)} holds no kernel image`);
  return { vmlinuz: join(boot, image), modules: await readModules(join(unpacked, 'lib/modules')) };
}

async function kernelPackage(): Promise<string> {
  const depends = await run('apt-cache', ['depends', META_PACKAGE]).catch(() => Buffer.of());
  const name = /Depends: (linux-image-\S+)/.exec(depends.toString())?.[1];
  if (name) return name;
  throw new VmUnavailableError(
    `no package ${META_PACKAGE} in the lists of apt: this needs Debian 12 on amd64, and "apt-get update" before`,
  );
}

async function download(target: string, progress: (line: string) => void): Promise<void> {
  const name = basename(target);
  progress(`downloading ${name} from Debian, about 34 MB`);
  mkdirSync(join(target, '..'), { recursive: true });
  const folder = mkdtempSync(`${target}-`);
  try {
    await run('apt-get', ['download', '-qq', name], { cwd: folder });
    const archive = readdirSync(folder).find(file => file.endsWith('.deb'));
    if (!archive) throw new Error('apt-get left no file');
    await run('dpkg', ['-x', join(folder, archive), join(folder, 'unpacked')]);
    // Two runs at once: whoever is second finds the folder there, and it is the same.
    if (!existsSync(target)) renameSync(join(folder, 'unpacked'), target);
  } catch (error) {
    throw new VmUnavailableError(`the guest's kernel cannot be had: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function readModules(folder: string): Promise<GuestKernel['modules']> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return Promise.all(
    MODULES.map(async name => {
      const file = files.find(path => new RegExp(`/${name}\\.ko(\\.xz)?$`).test(path));
      if (!file) throw new VmUnavailableError(`the guest's kernel has no module ${name}`);
      const path = join(folder, file);
      return { name, data: file.endsWith('.xz') ? await run('xz', ['-dc', path]) : readFileSync(path) };
    }),
  );
}
