// The package as `npm publish` would send it, made in a copy of this tree as it is now, and projects that install it.
// Promises: nothing is built or left in the tree itself; what is made here is removed by `close`.

import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const QUIET = ['--no-audit', '--no-fund', '--no-update-notifier', '--prefer-offline'];

/** What a command printed. Throws, with what it complained of, when it fails. */
export async function run(cwd: string, command: string, ...args: string[]): Promise<string> {
  // npm tells its children by these what it was called with.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)));
  const { stdout } = await promisify(execFile)(command, args, { cwd, env, maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

/** A file of a package, as `npm pack --json` tells. */
interface PackedFile {
  readonly path: string;
  readonly size: number;
}

export class Packed {
  /** A copy of the tree, a repository of its own, with one commit. */
  readonly repository: string;
  readonly tarball: string;
  /** Bytes of the tarball, and of all that is in it. */
  readonly size: number;
  readonly unpackedSize: number;
  readonly files: readonly PackedFile[];
  readonly #folder: string;

  private constructor(folder: string, repository: string, packed: string) {
    this.#folder = folder;
    this.repository = repository;
    const [{ filename, size, unpackedSize, files }] = JSON.parse(packed) as [
      { filename: string; size: number; unpackedSize: number; files: PackedFile[] },
    ];
    this.tarball = join(folder, filename);
    this.size = size;
    this.unpackedSize = unpackedSize;
    this.files = files;
  }

  /** Packs as from a fresh clone: nothing is built, and all that builds is installed. */
  static async make(): Promise<Packed> {
    const folder = mkdtempSync(join(tmpdir(), 'wireonce-packed-'));
    try {
      return await Packed.#makeIn(folder);
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  static async #makeIn(folder: string): Promise<Packed> {
    const repository = join(folder, 'repository');
    const listed = await run(ROOT, 'git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard');
    const deleted = new Set((await run(ROOT, 'git', 'ls-files', '-z', '--deleted')).split('\0'));
    for (const path of listed.split('\0').filter(name => name !== '' && !deleted.has(name))) {
      mkdirSync(join(repository, dirname(path)), { recursive: true });
      cpSync(join(ROOT, path), join(repository, path));
    }
    const git = ['-c', 'user.name=test', '-c', 'user.email=test', '-c', 'commit.gpgsign=false'];
    await run(repository, 'git', 'init', '--quiet');
    await run(repository, 'git', 'add', '--all');
    await run(repository, 'git', ...git, 'commit', '--quiet', '--message', 'as it is');
    symlinkSync(join(ROOT, 'node_modules'), join(repository, 'node_modules'));
    const said = await run(repository, 'npm', 'pack', '--json', '--pack-destination', folder);
    // The scripts that build say who they are, before.
    return new Packed(folder, repository, said.slice(said.search(/^\[/m)));
  }

  /** An empty folder in which these packages are installed; without the optional ones unless they are asked for. */
  async install(name: string, packages: readonly string[], flags: readonly string[] = []): Promise<string> {
    const project = join(this.#folder, name);
    mkdirSync(project);
    writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true }));
    await run(project, 'npm', 'install', ...QUIET, ...flags, ...packages);
    return project;
  }

  /** A file of the package, as it is packed. */
  read(path: string): string {
    return readFileSync(join(this.repository, path), 'utf8');
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
