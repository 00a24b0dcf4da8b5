// The Debian package: `npm run deb -- [--arch amd64|arm64] [--out FOLDER]`.
// Promises: what `npm pack` would publish, and the packages of package-lock.json that it needs on that architecture, at the
// places of Debian; the same bytes from the same sources. No script of a package runs, and nothing is installed here.
// Read on: docs/packaging.md; debian/ (its texts); Debian Policy Manual.

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { describeProgram } from './commands.js';
import { bashCompletion, fishCompletion, zshCompletion } from './completions.js';
import { manualPage } from './manual.js';

/** Debian's names of architectures, and Node's. */
const ARCHITECTURES = { amd64: 'x64', arm64: 'arm64' } as const;
type Architecture = keyof typeof ARCHITECTURES;

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..');
const LIBRARY = 'usr/lib/wireonce';
const DOC = 'usr/share/doc/wireonce';

export interface DebOptions {
  readonly architecture: Architecture;
  /** What `npm pack` wrote. */
  readonly tarball: string;
  /** Where the package is written. */
  readonly out: string;
  /** `Name <address>`. */
  readonly maintainer: string;
  /** Of every file, and in the texts. Seconds since 1970. */
  readonly epoch: number;
}

/** Makes the package and returns its path. Needs npm, tar and dpkg-deb; throws when one of them fails. */
export async function makeDeb(options: DebOptions): Promise<string> {
  const { architecture, tarball, out, epoch } = options;
  const stage = mkdtempSync(join(tmpdir(), 'wireonce-deb-'));
  const put = (path: string, text: string | Buffer, mode = 0o644) => {
    mkdirSync(join(stage, dirname(path)), { recursive: true });
    writeFileSync(join(stage, path), text, { mode });
  };
  try {
    const { version, engines } = unpackLibrary(stage, tarball, ARCHITECTURES[architecture]);
    const debian = `${version.replace('-', '~')}-1`;
    moveToTheirPlaces(stage);

    const program = await describeProgram();
    const day = new Date(epoch * 1000).toISOString().slice(0, 10);
    put('usr/share/man/man8/wireonce.8.gz', gzip(manualPage(program, version, day)));
    put('usr/share/bash-completion/completions/wireonce', bashCompletion(program));
    put('usr/share/zsh/vendor-completions/_wireonce', zshCompletion(program));
    put('usr/share/fish/vendor_completions.d/wireonce.fish', fishCompletion(program));
    put('etc/default/wireonce', text('default'));
    put('usr/share/lintian/overrides/wireonce', text('lintian-overrides'));
    put(`${DOC}/copyright`, copyright(stage));
    put(`${DOC}/changelog.Debian.gz`, gzip(changelog(debian, version, options)));

    const sums = filesIn(stage).filter(path => !path.startsWith('etc/'));
    put('DEBIAN/md5sums', execFileSync('md5sum', sums, { cwd: stage }));
    put('DEBIAN/conffiles', text('conffiles'));
    for (const script of ['postinst', 'prerm', 'postrm']) put(`DEBIAN/${script}`, text(script), 0o755);
    put('DEBIAN/control', control(debian, engines.node.replace('>=', ''), sizeOf(stage), options));
    for (const path of [stage, ...readdirSync(stage, { recursive: true, encoding: 'utf8' })])
      normalise(resolve(stage, path));

    const deb = join(out, `wireonce_${debian}_${architecture}.deb`);
    mkdirSync(out, { recursive: true });
    execFileSync('dpkg-deb', ['--root-owner-group', '-Zxz', '--build', stage, deb], {
      env: { ...process.env, SOURCE_DATE_EPOCH: String(epoch) },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return deb;
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

const text = (name: string) => readFileSync(join(ROOT, 'release/debian', name), 'utf8');
const gzip = (bytes: string | Buffer) => gzipSync(bytes, { level: 9 });

/** The library with all that it needs, and nothing for other machines. Returns its manifest. */
function unpackLibrary(stage: string, tarball: string, cpu: string): Manifest {
  const library = join(stage, LIBRARY);
  mkdirSync(library, { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '-C', library, '--strip-components=1']);
  cpSync(join(ROOT, 'package-lock.json'), join(library, 'package-lock.json'));
  const target = ['--os=linux', `--cpu=${cpu}`, '--libc=glibc'];
  const quiet = ['--no-audit', '--no-fund', '--no-update-notifier', '--prefer-offline', '--silent'];
  execFileSync('npm', ['ci', '--omit=dev', '--ignore-scripts', ...target, ...quiet], {
    cwd: library,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  for (const path of filesIn(library).filter(each => !isNeeded(each, cpu))) rmSync(join(library, path));
  for (const path of readdirSync(library, { recursive: true, encoding: 'utf8' }).toReversed())
    removeIfEmpty(join(library, path));
  return JSON.parse(readFileSync(join(library, 'package.json'), 'utf8')) as Manifest;
}

/** Whether a file of the library runs here: nothing for whoever compiles it, for another machine, libc or engine. */
function isNeeded(path: string, cpu: string): boolean {
  if (!path.startsWith('node_modules/')) return path !== 'package-lock.json';
  if (/\/prebuilds\/(.*?)\//.exec(path)?.[1].startsWith(`linux-${cpu}`) === false) return false;
  return !/^node_modules\/(\.|node-addon-api\/)|\/musl_|\.musl\.node$|\/koffi\/(vendor|doc|lib\/native|cnoke)\b|\/sqlite\/(src|scripts)\/|\.(bare|[cm]?ts|map|cc?|cpp|hh?|S|asm|inc|def|gypi?)$/.test(
    path,
  );
}

function removeIfEmpty(path: string): void {
  if (lstatSync(path).isDirectory() && readdirSync(path).length === 0) rmSync(path, { recursive: true });
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly engines: { readonly node: string };
}

/** What lies in the library for lack of a better place has one here. */
function moveToTheirPlaces(stage: string): void {
  const library = join(stage, LIBRARY);
  const doc = join(stage, DOC);
  mkdirSync(doc, { recursive: true });
  for (const name of ['README.md', 'SECURITY.md', 'docs', 'examples', 'monitoring'])
    renameSync(join(library, name), join(doc, name));
  writeFileSync(join(doc, 'changelog.gz'), gzip(readFileSync(join(library, 'CHANGELOG.md'))));
  const units = join(stage, 'usr/lib/systemd/system');
  mkdirSync(units, { recursive: true });
  for (const name of readdirSync(join(library, 'systemd'))) {
    const unit = readFileSync(join(library, 'systemd', name), 'utf8');
    writeFileSync(join(units, name), unitOfPackage(unit));
  }
  for (const name of ['systemd', 'CHANGELOG.md', 'LICENSE']) rmSync(join(library, name), { recursive: true });
  const main = join(library, 'dist/cli/main.js');
  writeFileSync(main, readFileSync(main, 'utf8').replace(/^#!.*/, '#!/usr/bin/node'));
  chmodSync(main, 0o755);
  mkdirSync(join(stage, 'usr/bin'));
  symlinkSync('../lib/wireonce/dist/cli/main.js', join(stage, 'usr/bin/wireonce'));
}

/** A unit that knows where the program lies, and need not look whether it can be reached. */
export function unitOfPackage(unit: string): string {
  return unit
    .replaceAll(/(?:^#.*\n)*^ExecStartPre=.*\n/gm, '')
    .replaceAll(/^(Exec\w+=)wireonce\b/gm, '$1/usr/bin/wireonce');
}

function control(version: string, node: string, size: number, options: DebOptions): string {
  const { architecture, maintainer } = options;
  const ipsecMb = architecture === 'amd64' ? ['libipsec-mb2 | libipsec-mb1'] : [];
  const values: Readonly<Record<string, string>> = {
    VERSION: version,
    ARCHITECTURE: architecture,
    MAINTAINER: maintainer,
    SIZE: String(Math.ceil(size / 1024)),
    NODE: node,
    RECOMMENDS: [...ipsecMb, 'wireguard-tools'].join(', '),
  };
  return text('control').replaceAll(/@(\w+)@/g, (_, name: string) => values[name]);
}

function changelog(debian: string, version: string, { maintainer, epoch }: DebOptions): string {
  const date = new Date(epoch * 1000).toUTCString().replace('GMT', '+0000');
  return `wireonce (${debian}) unstable; urgency=medium

  * Version ${version}: see changelog.gz.

 -- ${maintainer}  ${date}
`;
}

/** Ours, that of each installed package, and those of what was bundled. */
function copyright(stage: string): string {
  const library = join(stage, LIBRARY);
  const licence = (path: string) =>
    readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map(line => (line.trim() === '' ? ' .' : ` ${line}`))
      .join('\n');
  const packages = filesIn(library)
    .filter(path => /^node_modules\/(@[^/]+\/)?[^/]+\/package\.json$/.test(path))
    .map(path => {
      const { name, license } = JSON.parse(readFileSync(join(library, path), 'utf8')) as Manifest;
      const folder = dirname(path);
      const file = readdirSync(join(library, folder)).find(each => /^licen[cs]e/i.test(each));
      const own = file === undefined ? '' : licence(join(library, folder, file));
      const full =
        license === 'Apache-2.0' || own.includes('Apache License')
          ? ' On Debian systems its text is in /usr/share/common-licenses/Apache-2.0.'
          : own || ' Its package names the licence, and has no text of it.';
      return `Files: ${LIBRARY}/${folder}/*\nCopyright: the authors of ${name}\nLicense: ${license}-${name.replace(/^@/, '').replace('/', '-')}\n${full}\n`;
    });
  return [
    'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: wireonce\n',
    `Files: *\nCopyright: 2026 The wireonce authors\nLicense: Expat\n${licence(join(ROOT, 'LICENSE'))}\n`,
    ...packages,
    `Files: ${LIBRARY}/dist/bundled/*\nCopyright: the authors that LICENSES.txt names\nLicense: bundled\n Each package and its licence stand in LICENSES.txt, in that folder.\n`,
  ].join('\n');
}

/** Every file, but no link, below a folder. */
function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(path => lstatSync(join(folder, path)).isFile())
    .toSorted();
}

function sizeOf(folder: string): number {
  return filesIn(folder).reduce((sum, path) => sum + lstatSync(join(folder, path)).size, 0);
}

/** Rights as everybody's files have them, whatever the mask of whoever built. */
function normalise(path: string): void {
  const status = lstatSync(path);
  if (status.isSymbolicLink()) return;
  const runs = (status.mode & 0o100) !== 0 && !path.endsWith('.node');
  chmodSync(path, status.isDirectory() || runs ? 0o755 : 0o644);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { arch: { type: 'string' }, out: { type: 'string', default: join(ROOT, 'dist') } },
  });
  const own = Object.entries(ARCHITECTURES).find(([, cpu]) => cpu === process.arch)?.[0];
  const architecture = (values.arch ?? own) as Architecture;
  if (!Object.hasOwn(ARCHITECTURES, architecture))
    throw new Error(`--arch is one of ${Object.keys(ARCHITECTURES).join(', ')}`);
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest;
  const { SOURCE_DATE_EPOCH, DEBFULLNAME, DEBEMAIL } = process.env;
  const deb = await makeDeb({
    architecture,
    tarball: join(ROOT, `dist/wireonce-${version}.tgz`),
    out: resolve(values.out),
    maintainer: `${DEBFULLNAME ?? 'The wireonce authors'} <${DEBEMAIL ?? 'root@localhost'}>`,
    epoch: Number(SOURCE_DATE_EPOCH ?? lstatSync(join(ROOT, 'CHANGELOG.md')).mtimeMs / 1000) | 0,
  });
  process.stdout.write(`${deb}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error: Error) => {
    process.stderr.write(`deb: ${error.message}\n`);
    process.exitCode = 1;
  });
}
