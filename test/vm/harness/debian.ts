// Linux kernels from Debian, with the modules that a guest needs: downloaded once, unpacked, never installed.
// Promises: nothing is installed and no root is needed; what cannot be had is said with what to do about it.
// Read on: debian-archive.ts; CONTRIBUTING.md for what else must be installed.

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DebianArchive } from './debian-archive.js';
import { run } from './run.js';
import { VmUnavailableError } from './unavailable.js';

/** In the order in which they are loaded. */
const NETWORK = ['failover', 'net_failover', 'virtio_net'];
const WIREGUARD = [
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
];
/** Within one guest. */
const VSOCK = ['vsock', 'vmw_vsock_virtio_transport_common', 'vsock_loopback'];
/** A generator of the host's. */
const GENERATOR = ['virtio-rng'];

interface KernelRecipe {
  readonly architecture: 'amd64' | 'arm64';
  /** Where it is not among the packages that this machine knows. */
  readonly suite?: string;
  /** Depends on the kernel that is meant. */
  readonly meta: string;
  readonly modules: readonly string[];
}

/** That the release of this machine has may be older; a backport has the vmclock driver, which 7.0 lets one wait for. */
const BACKPORTS = 'trixie-backports';

const KERNELS = {
  /** The 6.1 cloud kernel has no vmgenid driver; this one has it, and virtio, built in. */
  'Linux 6.12': {
    architecture: 'amd64',
    meta: 'linux-image-6.12-cloud-amd64',
    modules: [...NETWORK, 'tun', ...WIREGUARD, ...VSOCK, ...GENERATOR],
  },
  newest: {
    architecture: 'amd64',
    suite: BACKPORTS,
    meta: 'linux-image-cloud-amd64',
    modules: [...NETWORK, 'tun', ...GENERATOR, 'ptp_vmclock'],
  },
  'newest, arm64': {
    architecture: 'arm64',
    suite: BACKPORTS,
    meta: 'linux-image-cloud-arm64',
    modules: [...NETWORK, 'tun', ...GENERATOR],
  },
} satisfies Readonly<Record<string, KernelRecipe>>;

export type KernelName = keyof typeof KERNELS;

export interface GuestKernel {
  readonly architecture: KernelRecipe['architecture'];
  readonly vmlinuz: string;
  /** Each with its content, in the order in which they are loaded. */
  readonly modules: readonly { readonly name: string; readonly data: Uint8Array }[];
}

/** The kernel, from the cache folder or from Debian. Throws `VmUnavailableError`. */
export async function guestKernel(
  name: KernelName,
  cache: string,
  progress: (line: string) => void,
): Promise<GuestKernel> {
  const recipe: KernelRecipe = KERNELS[name];
  const unpacked = await kernelFolder(recipe, cache, progress).catch((error: unknown) => {
    const reason = `the guest's kernel cannot be had: ${(error as Error).message}`;
    throw new VmUnavailableError(reason, { cause: error });
  });
  // Where it is, and whether in one package or three, differs with its age.
  const modules = ['lib/modules', 'usr/lib/modules'].map(path => join(unpacked, path)).find(existsSync);
  const images = [
    join(unpacked, 'boot'),
    ...(modules ? readdirSync(modules).map(it => join(modules, it)) : []),
  ];
  const vmlinuz = images.filter(existsSync).flatMap(folder =>
    readdirSync(folder)
      .filter(file => /^vmlinuz(-|$)/.test(file))
      .map(file => join(folder, file)),
  )[0];
  if (!vmlinuz || !modules) throw new VmUnavailableError(`${basename(unpacked)} holds no kernel image`);
  const { architecture } = recipe;
  return { architecture, vmlinuz, modules: await readModules(modules, recipe.modules) };
}

async function kernelFolder(
  { architecture, suite, meta }: KernelRecipe,
  cache: string,
  progress: (line: string) => void,
): Promise<string> {
  const archive = await DebianArchive.open(cache, suite === undefined ? undefined : { architecture, suite });
  const image = (await archive.depends(meta)).find(name => name.startsWith('linux-image-'));
  if (image === undefined)
    throw new Error(
      `no package ${meta}: this needs Debian 12 or later on amd64, and "apt-get update" before`,
    );
  const parts = (await archive.depends(image)).filter(name => /^linux-(binary|modules)-/.test(name));
  return archive.unpacked(image, parts.length > 0 ? parts : [image], progress);
}

async function readModules(folder: string, names: readonly string[]): Promise<GuestKernel['modules']> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return Promise.all(
    names.map(async name => {
      const file = files.find(path => new RegExp(`/${name}\\.ko(\\.xz)?$`).test(path));
      if (!file) throw new VmUnavailableError(`the guest's kernel has no module ${name}`);
      const path = join(folder, file);
      return { name, data: file.endsWith('.xz') ? await run('xz', ['-dc', path]) : readFileSync(path) };
    }),
  );
}
