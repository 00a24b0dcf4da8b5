// The package itself, as strangers get it: packed, installed where nothing else is, type-checked and run by each Node.

import { execFile } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Packed, ROOT, run } from './packed.js';

/** Node's oldest supported version, and the newest of each line since. npm has each as a package of its own. */
const NODES = ['20.19.0', '22', '24', '26'];

const CONSUMER = join(ROOT, 'test/system/package/consumer.mjs');

let packed: Packed;
/** A project that has the package and nothing else, optional packages left out. */
let project: string;
beforeAll(async () => {
  packed = await Packed.make();
  project = await packed.install('project', [packed.tarball], ['--omit=optional']);
});
afterAll(() => packed?.close());

interface Manifest {
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly bin: Readonly<Record<string, string>>;
}
const manifest = () => JSON.parse(packed.read('package.json')) as Manifest;

describe('what is packed', () => {
  it('is all that it names, and what its own pages link to', () => {
    const paths = packed.files.map(({ path }) => path);
    const { exports, bin } = manifest();
    const targets = Object.values(exports).flatMap(target =>
      typeof target === 'string' ? target : Object.values(target),
    );
    const modules = [...targets, ...Object.values(bin)].map(path => path.replace('./', ''));
    expect(paths).toEqual(expect.arrayContaining(modules));
    const types = targets.filter(path => path.endsWith('.js'));
    expect(paths).toEqual(expect.arrayContaining(types.map(path => path.slice(2).replace(/js$/, 'd.ts'))));
    expect(paths).toEqual(expect.arrayContaining(['README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md']));
    expect(paths.filter(path => path.startsWith('docs/')).length).toBeGreaterThan(4);
  });

  it('is no test, no tool of ours, no map without its sources', () => {
    const paths = packed.files.map(({ path }) => path);
    expect(paths.filter(path => /^(dist\/)?(test|bench|release)\/|\.map$|\.test\./.test(path))).toEqual([]);
    for (const path of paths.filter(name => name.endsWith('.js')))
      expect(packed.read(path), path).not.toMatch(/^\/\/# sourceMappingURL=(?!data:)/m);
  });

  it('is as large as docs/packaging.md says', () => {
    const [, kb, unpackedKb] = (
      /(\d+) kB packed, ([\d,]+) kB unpacked/.exec(packed.read('docs/packaging.md')) ?? []
    ).map(text => Number(text.replace(',', '')));
    expect(packed.size / 1000).toBeLessThan(kb);
    expect(packed.unpackedSize / 1000).toBeLessThan(unpackedKb);
    // And no page that claims far too much hides what was added.
    expect(packed.size / 1000).toBeGreaterThan(kb * 0.8);
  });

  it('has nothing for publint to say', async () => {
    const bytes = readFileSync(packed.tarball);
    const tarball = new Uint8Array(bytes).buffer;
    const { messages, pkg } = await publint({ pack: { tarball }, level: 'suggestion', strict: true });
    expect(messages.map(message => formatMessage(message, pkg))).toEqual([]);
  });

  it('has types that are right for every module system that can load it', async () => {
    const result = await checkPackage(createPackageFromTarballData(readFileSync(packed.tarball)));
    if (!result.types) throw new Error('the package has no types');
    // It is of ES modules alone: these two say so of resolutions that know none.
    const expected = new Set(['NoResolution node10', 'CJSResolvesToESM node16-cjs']);
    const problems = result.problems.map(({ kind, ...at }) =>
      'resolutionKind' in at ? `${kind} ${at.resolutionKind}` : kind,
    );
    expect(problems.filter(problem => !expected.has(problem))).toEqual([]);
  });
});

describe('in a project of its own', () => {
  it('brings what the library needs, and nothing of the command', () => {
    const installed = readdirSync(join(project, 'node_modules'), { recursive: true, encoding: 'utf8' })
      .filter(path => /(^|\/)package\.json$/.test(path))
      .map(
        path => JSON.parse(readFileSync(join(project, 'node_modules', path), 'utf8')) as { name?: string },
      );
    const names = [...new Set(installed.flatMap(({ name }) => name ?? []))].toSorted();
    expect(names).toEqual([
      '@noble/ciphers',
      '@noble/curves',
      '@noble/hashes',
      'ipaddr.js',
      'wireonce',
      'ws',
    ]);
  });

  it.each([
    ['nodenext', { module: 'nodenext' }],
    ['bundler', { module: 'esnext', moduleResolution: 'bundler' }],
  ])(
    'is type-checked by %s resolution, its declarations too, without types of anybody else',
    async (name, options) => {
      const folder = join(project, `types-${name}`);
      mkdirSync(folder);
      const subpaths = Object.keys(manifest().exports).filter(path => !path.endsWith('.json'));
      expect(subpaths.length).toBeGreaterThan(5);
      const imports = subpaths.map((path, i) => `import * as m${i} from '${path.replace('.', 'wireonce')}';`);
      const use = `export const used = [${subpaths.map((_, i) => `m${i}`).join(', ')}];`;
      const code = `${imports.join('\n')}\n${use}\nexport const wrong: string = m0.NO_EPOCH;\n`;
      writeFileSync(join(folder, 'all.ts'), code);
      const compilerOptions = {
        ...options,
        target: 'es2022',
        lib: ['es2023'],
        types: [],
        strict: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: false,
        noEmit: true,
      };
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['all.ts'] }));
      const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
      const failed = await run(folder, process.execPath, tsc).catch(
        (error: { stdout: string }) => error.stdout,
      );
      // The one line that is wrong shows that types were looked at: a module without any would let it pass.
      const errors = failed.trim().split('\n');
      expect(errors).toEqual([expect.stringContaining("Type 'number' is not assignable to type 'string'")]);
    },
  );

  it('has two peers that talk, three commands from an empty folder', async () => {
    const page = packed.read('docs/packaging.md');
    const [, path] = /^node (node_modules\/wireonce\/\S+)$/m.exec(page) ?? [];
    // Of a folder npm installs a link.
    const linked = join(project, 'linked');
    mkdirSync(join(linked, 'node_modules'), { recursive: true });
    symlinkSync(join(project, 'node_modules/wireonce'), join(linked, 'node_modules/wireonce'));
    for (const place of [project, linked]) {
      const said = await run(place, process.execPath, path);
      expect(said).toMatch(/bob heard: +hello, Bob\nalice heard: hello, Alice\n/);
    }
  });

  it.concurrent.each(NODES)(
    'runs by Node %s: every subpath, two peers that talk, the command',
    async version => {
      const node = await nodeOf(version);
      const program = join(project, `consumer-${version}.mjs`);
      copyFileSync(CONSUMER, program);
      const said = await run(project, node, program);
      expect(said).toMatch(new RegExp(`^heard 20 bytes by v${version.replaceAll('.', '\\.')}`));
      const required = await run(project, node, '-p', "typeof require('wireonce/sessions').Device");
      expect(required).toMatch(/^function$/m);
      const command = join(project, 'node_modules/.bin/wireonce');
      expect(await run(project, node, command, '--version')).toBe(`${versionOf(project)}\n`);
      const demo = JSON.parse(await run(project, node, command, 'demo', '--json', '--forks', '1')) as {
        guarded: { reusedNonces: number };
      };
      expect(demo.guarded.reusedNonces).toBe(0);
    },
  );
});

describe('the store of peers', () => {
  it.concurrent.each(NODES)('is kept in a file by Node %s, without a word more', async version => {
    const node = await nodeOf(version);
    const full = await packed.install(`full-${version}`, [packed.tarball]);
    const peers = async (at: string, ...args: string[]) => {
      const store = ['--store', join(at, `${version}.peers`)];
      const command = [join(at, 'node_modules/.bin/wireonce'), 'peers', ...args, ...store];
      const { stdout, stderr } = await promisify(execFile)(node, command);
      return stdout + stderr;
    };
    const key = `${'A'.repeat(43)}=`;
    const isInNode = Number.parseInt(version, 10) >= 24;
    for (const at of isInNode ? [full, project] : [full]) {
      expect(await peers(at, 'add', 'wo-nobody', key, '--allowed-ips', '10.0.0.2')).toBe(`added ${key}\n`);
      const [said] = (await peers(at, 'list', 'wo-nobody', '--json')).split('\n');
      expect(JSON.parse(said)).toMatchObject({ publicKey: key, allowedIps: ['10.0.0.2/32'] });
    }
    if (isInNode) return;
    const refused = peers(project, 'add', 'wo-nobody', key, '--allowed-ips', '10.0.0.2');
    await expect(refused).rejects.toThrow(
      'a store in a file needs Node 24, or npm install @photostructure/sqlite: ',
    );
  });
});

const nodes = new Map<string, Promise<string>>();

/** The program of a Node, installed once. */
function nodeOf(version: string): Promise<string> {
  const known = nodes.get(version);
  if (known) return known;
  const binary = `node-${process.platform}-${process.arch}`;
  const installed = packed
    .install(`node-${version}`, [`${binary}@${version}`])
    .then(at => join(at, 'node_modules', binary, 'bin/node'));
  nodes.set(version, installed);
  return installed;
}

function versionOf(at: string): string {
  const text = readFileSync(join(at, 'node_modules/wireonce/package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

it.concurrent('installs for everybody on a machine, with all of the command', async () => {
  const prefix = await packed.install('prefix', [packed.tarball], ['--global', '--prefix', '.']);
  const command = join(prefix, 'bin/wireonce');
  expect(await run(prefix, command, '--help')).toContain('Usage: wireonce');
  const key = await run(prefix, command, 'genkey');
  expect(key).toMatch(/^[A-Za-z0-9+/]{43}=\n$/);
  // What was bundled: the parser of the command line, the log, the metrics.
  const bundled = join(prefix, 'lib/node_modules/wireonce/dist/bundled');
  for (const name of ['commander', 'pino', 'pino-pretty', 'prom-client']) {
    const module = (await import(join(bundled, `${name}.js`))) as object;
    expect(Object.keys(module).length, name).toBeGreaterThan(0);
    expect(readFileSync(join(bundled, 'LICENSES.txt'), 'utf8')).toMatch(new RegExp(`^${name} \\d`, 'm'));
  }
});

it.concurrent('installs from a repository, where nothing is built', async () => {
  const cloned = await packed.install('cloned', [`git+file://${packed.repository}`], ['--omit=optional']);
  const main = join(cloned, 'node_modules/wireonce/dist/cli/main.js');
  expect(existsSync(join(dirname(main), '../bundled/commander.js'))).toBe(true);
  expect(await run(cloned, process.execPath, main, '--version')).toMatch(/^\d/);
});
