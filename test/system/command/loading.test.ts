// What each command loads of the program: no more than it needs, however fast the machine is.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PROGRAM } from '../daemon/support/machine.js';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-loading-'));
  writeFileSync(
    join(folder, 'hooks.mjs'),
    `import { appendFileSync } from 'node:fs';
    export async function load(url, context, next) {
      appendFileSync(process.env.LOADED, url + '\\n');
      return next(url, context);
    }`,
  );
  writeFileSync(
    join(folder, 'record.mjs'),
    "import { register } from 'node:module'; register('./hooks.mjs', import.meta.url);",
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The modules that a command loads: ours by their paths, packages and built-in ones by their names. */
function loadedBy(argv: readonly string[], input = ''): string[] {
  const LOADED = join(folder, 'loaded');
  writeFileSync(LOADED, '');
  const done = spawnSync(process.execPath, ['--import', join(folder, 'record.mjs'), PROGRAM, ...argv], {
    env: { ...process.env, LOADED },
    input,
    encoding: 'utf8',
  });
  expect(done.stderr).not.toContain('cannot be loaded');
  const root = PROGRAM.replace(/cli\/main\.js$/, '');
  return readFileSync(LOADED, 'utf8')
    .trim()
    .split('\n')
    .map(url => url.replace(/^file:\/\//, ''))
    .map(path => path.replace(/^.*node_modules\/((?:@[^/]+\/)?[^/]+).*$/, 'package:$1').replace(root, ''))
    .map(path => path.replace(/^bundled\/(?!chunk-)(.*)\.js$/, 'package:$1'));
}

const packages = (loaded: readonly string[]) =>
  [...new Set(loaded.filter(path => path.startsWith('package:')).map(path => path.slice(8)))].toSorted();

describe.each([
  ['genkey', ''],
  ['genpsk', ''],
])('%s', (word, input) => {
  test('loads the generator, and neither a parser of the command line nor sockets, suites or logs', () => {
    const loaded = loadedBy([word], input);
    expect(packages(loaded)).toEqual(['@noble/ciphers', '@noble/hashes']);
    expect(loaded.length, loaded.join(' ')).toBeLessThan(45);
    expect(loaded.filter(path => /^(tunnel\/(uapi|linux|websocket)|sessions|protocol)\//.test(path))).toEqual(
      [],
    );
  });
});

test('pubkey loads one curve beside', () => {
  const loaded = loadedBy(['pubkey'], `${'A'.repeat(43)}=`);
  for (const name of packages(loaded)) expect(name).toMatch(/^@noble\//);
});

test('status loads the client of the UAPI and a parser, and no device', () => {
  const loaded = loadedBy(['status', 'wo-nobody']);
  expect(packages(loaded)).toEqual(expect.arrayContaining(['commander']));
  for (const name of packages(loaded)) expect(['commander', 'ipaddr.js']).toContain(name);
  expect(loaded.filter(path => /^(crng|protocol|sessions)\//.test(path))).toEqual([]);
});

test('peers loads the store, and neither a device nor logs', () => {
  const loaded = loadedBy(['peers', 'list', 'wo-nobody', '--store', join(folder, 'none')]);
  expect(loaded).toContain('gateway/stores/file.js');
  expect(loaded.filter(path => /^(crng|sessions|tunnel\/linux)\//.test(path))).toEqual([]);
  for (const name of ['pino', 'prom-client', 'ws', 'koffi', 'sodium-native'])
    expect(packages(loaded)).not.toContain(name);
});

test('the start of a daemon loads neither logs nor metrics nor a device: that is for the process in the background', () => {
  // A setting that is wrong ends it when all of this is loaded.
  const loaded = loadedBy(['--fork-policy', 'perhaps', 'wo-nobody']);
  const found = packages(loaded);
  expect(found).toContain('commander');
  for (const name of [
    'pino',
    'pino-pretty',
    'prom-client',
    'ws',
    'koffi',
    'sodium-native',
    '@photostructure/sqlite',
  ])
    expect(found).not.toContain(name);
  expect(found.filter(name => name.startsWith('@noble/'))).toEqual([]);
});
