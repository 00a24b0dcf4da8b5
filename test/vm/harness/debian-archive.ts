// Packages of Debian that this machine does not have: of another suite, of another architecture.
// Promises: nothing is installed, and what apt knows of this machine is not touched; the archive is the one that this machine
// is set up for.
// Read on: apt.conf(5) (`Dir::State`, `APT::Architecture`), apt-get(8) `indextargets`.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { run } from './run.js';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
/** Lists that are older are fetched again. */
const FRESH_MS = 24 * 3_600_000;

/** What is looked for elsewhere than in the lists of this machine. */
export interface Elsewhere {
  readonly architecture: string;
  readonly suite: string;
}

export class DebianArchive {
  readonly #cache: string;
  readonly #settings: readonly string[];

  private constructor(cache: string, settings: Readonly<Record<string, string>>) {
    this.#cache = cache;
    this.#settings = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  }

  /** With lists of today, or those of this machine as they are. Lists and packages are kept in `cache`. */
  static async open(cache: string, elsewhere?: Elsewhere): Promise<DebianArchive> {
    if (!elsewhere) return new DebianArchive(cache, {});
    const { architecture, suite } = elsewhere;
    const folder = join(cache, `apt-${suite}-${architecture}`);
    const archive = new DebianArchive(cache, {
      'APT::Architecture': architecture,
      'APT::Architectures': architecture,
      'Dir::Etc::SourceList': join(folder, 'sources.list'),
      'Dir::Etc::SourceParts': '-',
      'Dir::State': folder,
      'Dir::State::status': join(folder, 'status'),
      'Dir::Cache': folder,
      'Acquire::Languages': 'none',
      'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled': 'false',
      'APT::Sandbox::User': 'root',
    });
    const lists = join(folder, 'sources.list');
    if (existsSync(lists) && Date.now() - statSync(lists).mtimeMs < FRESH_MS) return archive;
    for (const part of ['lists/partial', 'archives/partial'])
      mkdirSync(join(folder, part), { recursive: true });
    writeFileSync(join(folder, 'status'), '');
    const signed = existsSync(KEYRING) ? `[signed-by=${KEYRING}] ` : '';
    writeFileSync(lists, `deb ${signed}${await archiveOfThisMachine()} ${suite} main\n`);
    try {
      await run('apt-get', [...archive.#settings, '-qq', '--error-on=any', 'update']);
    } catch (error) {
      rmSync(lists);
      throw error;
    }
    return archive;
  }

  /** What a package depends on. */
  async depends(name: string): Promise<string[]> {
    const text = (await run('apt-cache', [...this.#settings, 'depends', name])).toString();
    return Array.from(text.matchAll(/^ +Depends: (\S+)$/gm), ([, dependency]) => dependency);
  }

  /** A folder with what is in these packages, from the cache or from the archive. */
  async unpacked(
    name: string,
    packages: readonly string[],
    progress: (line: string) => void,
  ): Promise<string> {
    const target = join(this.#cache, name);
    if (existsSync(target)) return target;
    progress(`downloading ${packages.join(', ')} from Debian`);
    const folder = mkdtempSync(`${target}-`);
    try {
      await run('apt-get', [...this.#settings, 'download', '-qq', ...packages], { cwd: folder });
      const archives = readdirSync(folder).filter(file => file.endsWith('.deb'));
      if (archives.length !== packages.length) throw new Error('apt-get left no file');
      for (const archive of archives)
        await run('dpkg', ['-x', join(folder, archive), join(folder, 'unpacked')]);
      // Two runs at once: whoever is second finds the folder there, and it is the same.
      if (!existsSync(target)) renameSync(join(folder, 'unpacked'), target);
      return target;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

async function archiveOfThisMachine(): Promise<string> {
  const format = '$(ORIGIN) $(LABEL) $(REPO_URI)';
  const targets = await run('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']);
  const uri = /^Debian Debian (\S+)$/m.exec(targets.toString())?.[1];
  if (uri === undefined) throw new Error('apt has no lists of Debian: apt-get update');
  return uri;
}
