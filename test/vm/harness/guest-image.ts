// The guest's first file system: busybox, this machine's Node, the package as it is built now, and what WireGuards
// there are to compare with. Promises: named by the hash of what is in it, so that an unchanged guest is built once.
// Read on: ../guest/init (what runs first in it).

import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundlePackages } from '../../../release/bundle.js';
import { type CpioEntry, writeCpio } from './cpio.js';
import { arm64Parts } from './arm64-parts.js';
import { type GuestKernel, type KernelName, guestKernel } from './debian.js';
import { run, which } from './run.js';
import { VmUnavailableError } from './unavailable.js';

export interface GuestImage {
  readonly vmlinuz: string;
  readonly initrd: string;
  /** Of everything in the guest, the kernel included. */
  readonly hash: string;
}

/** What the guest cannot do without, and where it comes from. */
const PROGRAMS: Readonly<Record<string, string>> = {
  '/usr/bin/wireguard-go': 'wireguard-go',
  '/usr/bin/wg': 'wireguard-tools',
};

/** What is not linked with, but loaded when it is there: by their names, of which the first that is installed is taken. */
const IPSEC_MB = ['libIPSec_MB.so.2', 'libIPSec_MB.so.1'];

/** Parts of packages that are for other systems. */
const OTHER_SYSTEMS = {
  amd64: /\/prebuilds\/(?!linux-x64(\/|$))/,
  arm64: /\/prebuilds\/(?!linux-arm64(\/|$))|-linux-x64\//,
};

/** The image, from the cache folder or built into it. Throws `VmUnavailableError`. */
export async function guestImage(
  cache: string,
  progress: (line: string) => void,
  name: KernelName = 'Linux 6.12',
): Promise<GuestImage> {
  const kernel = await guestKernel(name, cache, progress);
  const entries = await guestEntries(kernel, cache, progress);
  const hash = hashOf(entries, kernel);
  const initrd = join(cache, `guest-${hash}.cpio`);
  if (!existsSync(initrd)) {
    progress(`building the guest ${hash}`);
    const unfinished = `${initrd}.${process.pid}`;
    try {
      writeCpio(unfinished, entries);
      renameSync(unfinished, initrd);
    } finally {
      rmSync(unfinished, { force: true });
    }
  }
  utimesSync(initrd, new Date(), new Date());
  return { vmlinuz: kernel.vmlinuz, initrd, hash };
}

async function guestEntries(
  kernel: GuestKernel,
  cache: string,
  progress: (line: string) => void,
): Promise<CpioEntry[]> {
  const root = packageRoot();
  const files = new FileSet(OTHER_SYSTEMS[kernel.architecture]);
  files.add('init', readFileSync(join(root, 'test/vm/guest/init')), true);
  if (kernel.architecture === 'arm64') {
    for (const [path, source] of Object.entries(await arm64Parts(root, cache, progress))) {
      if (statSync(source).isDirectory()) files.addTree(source, path);
      else files.add(path, readFileSync(source), true);
    }
  } else {
    await addOwnPrograms(files);
  }
  for (const { name, data } of kernel.modules) files.add(`modules/${name}.ko`, data);
  files.add('modules/order', Buffer.from(kernel.modules.map(({ name }) => `${name}\n`).join('')));
  await addPackage(files, root);
  return files.entries();
}

/** What this machine has itself: its Node, and what there is to compare with. */
async function addOwnPrograms(files: FileSet): Promise<void> {
  const busybox = await which('busybox');
  if (!busybox) throw new VmUnavailableError('busybox is missing: apt-get install busybox-static');
  files.add('bin/busybox', readFileSync(busybox), true);
  await addProgram(files, '/usr/bin/node', realpathSync(process.execPath));
  for (const [path, name] of Object.entries(PROGRAMS)) {
    if (!existsSync(path)) throw new VmUnavailableError(`${path} is missing: apt-get install ${name}`);
    await addProgram(files, path, realpathSync(path));
  }
  await addLibrary(files, IPSEC_MB, 'libipsec-mb1 (Debian 13: libipsec-mb2)');
}

/** The first of these that is installed, where this machine's linker finds it. */
async function addLibrary(files: FileSet, names: readonly string[], packages: string): Promise<void> {
  const known = (await run('/sbin/ldconfig', ['-p'])).toString();
  for (const name of names) {
    const line = known.split('\n').find(candidate => candidate.trim().startsWith(`${name} `));
    const path = line?.slice(line.indexOf('=> ') + 3);
    if (path) return addProgram(files, path, realpathSync(path));
  }
  throw new VmUnavailableError(`${names.join(' or ')} is missing: apt-get install ${packages}`);
}

/** A program or a library, and the libraries that it is linked with, where they lie here. */
async function addProgram(files: FileSet, path: string, source: string): Promise<void> {
  files.add(path.slice(1), readFileSync(source), true);
  // Says "not a dynamic executable", and fails, for one that is linked statically.
  const linked = await run('ldd', [source]).catch(() => Buffer.of());
  for (const [, library] of linked.toString().matchAll(/(\/\S+) \(0x/g)) {
    files.add(library.slice(1), readFileSync(library), true);
  }
}

/** The package as a user would install it, compiled from the sources as they are now, and the guest's own programs. */
async function addPackage(files: FileSet, root: string): Promise<void> {
  const built = mkdtempSync(join(tmpdir(), 'wireonce-guest-'));
  try {
    const compiler = join(root, 'node_modules/typescript/bin/tsc');
    await run(process.execPath, [compiler, '-p', join(root, 'tsconfig.guest.json'), '--outDir', built]);
    await bundlePackages(built, root);
    files.addTree(built, 'app/dist');
  } finally {
    rmSync(built, { recursive: true, force: true });
  }
  files.add('app/package.json', readFileSync(join(root, 'package.json')));
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean }>;
  };
  for (const [path, { dev = false }] of Object.entries(lock.packages)) {
    // Packages for other systems are in the lockfile, and not here.
    if (path.startsWith('node_modules/') && !dev && existsSync(join(root, path))) {
      files.addTree(join(root, path), join('app', path));
    }
  }
}

/** Files by their path in the guest; the folders above them come by themselves. */
class FileSet {
  readonly #entries = new Map<string, CpioEntry>();
  readonly #leftOut: RegExp;

  constructor(leftOut: RegExp) {
    this.#leftOut = leftOut;
  }

  add(path: string, data: Uint8Array, executable = false): void {
    this.#addFolders(dirname(path));
    this.#entries.set(path, { path, kind: 'file', executable, data });
  }

  addTree(source: string, target: string): void {
    for (const entry of readdirSync(source, { recursive: true, withFileTypes: true })) {
      const file = join(entry.parentPath, entry.name);
      if (!entry.isFile() || this.#leftOut.test(file)) continue;
      this.add(join(target, relative(source, file)), readFileSync(file));
    }
  }

  entries(): CpioEntry[] {
    return [...this.#entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  #addFolders(path: string): void {
    if (path === '.' || this.#entries.has(path)) return;
    this.#addFolders(dirname(path));
    this.#entries.set(path, { path, kind: 'folder' });
  }
}

function hashOf(entries: readonly CpioEntry[], kernel: GuestKernel): string {
  const hash = createHash('sha256').update(readFileSync(kernel.vmlinuz));
  for (const { path, executable, data } of entries) {
    hash
      .update(`\0${path}\0${executable ?? false}\0${data?.length ?? 0}\0`)
      .update(data ?? new Uint8Array(0));
  }
  return hash.digest('hex').slice(0, 16);
}

/** The folder of the package: this file runs from the sources and compiled, at different depths. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}
