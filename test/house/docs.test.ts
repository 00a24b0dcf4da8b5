// What the documents claim, held against the code.

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { DROP_REASONS } from '../../sessions/index.js';
import { publicKeyOf } from '../../protocol/suite.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { TRANSPORT_DROPS } from '../../tunnel/index.js';
import { encodeKey } from '../../tunnel/keys.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DOCS = ['.', 'docs', 'examples', 'test/vm'].flatMap(folder =>
  readdirSync(join(ROOT, folder))
    .filter(file => file.endsWith('.md'))
    .map(file => join(folder, file)),
);
const FOLDERS = ['vmgenid', 'crng', 'protocol', 'sessions', 'tunnel', 'cli'];
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

describe('docs/errors.md', () => {
  it('has a heading for every code of every folder, and for no other', () => {
    const codes = FOLDERS.flatMap(folder => read(`${folder}/errors.ts`).match(/'ERR_[A-Z_0-9]+'/g) ?? []);
    const declared = [...new Set(codes.map(code => code.slice(1, -1)))].toSorted();
    const headings = (read('docs/errors.md').match(/^### ERR_\w+/gm) ?? [])
      .map(line => line.slice(4))
      .toSorted();
    expect(declared.length).toBeGreaterThan(40);
    expect(headings).toEqual(declared);
  });

  it('has a row for every drop reason, and for no other', () => {
    const parts = read('docs/errors.md').split(/^## /m);
    const part = (title: string) => parts.find(text => text.startsWith(title)) ?? '';
    const rows = (title: string) =>
      [...part(title).matchAll(/^\| `(\w+)` \|/gm)].map(([, reason]) => reason).toSorted();
    expect(rows('Drop reasons of a device')).toEqual([...DROP_REASONS].toSorted());
    expect(rows('Drop reasons of a transport')).toEqual([...TRANSPORT_DROPS].toSorted());
  });
});

it('all documents are held against the code', () => {
  expect(DOCS).toEqual(expect.arrayContaining(['README.md', 'docs/proof.md', 'examples/README.md']));
  expect(DOCS.length).toBeGreaterThan(10);
});

describe.each(DOCS)('%s', path => {
  const text = read(path);

  it('links only to what exists', () => {
    for (const [, target] of text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (/^https?:/.test(target)) continue;
      expect(existsSync(join(ROOT, dirname(path), target)), `${path} links to ${target}`).toBe(true);
    }
  });

  it('names only scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    for (const [, script] of text.matchAll(/npm run ([\w:]+)/g))
      expect(Object.keys(scripts)).toContain(script);
  });

  it('names only files of the sources and tests that exist', () => {
    for (const [, file] of text.matchAll(
      /`((?:vmgenid|crng|protocol|sessions|tunnel|cli|test|examples|bench|systemd|docs)\/[\w/.-]+)`/g,
    )) {
      expect(existsSync(join(ROOT, file)), `${path} names ${file}`).toBe(true);
    }
  });
});

it('the README stays short, and begins with two commands that need nothing else', () => {
  const readme = read('README.md');
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  expect(readme.split('\n').length).toBeLessThanOrEqual(130);
  const [, first] = /```\w*\n([\s\S]*?)```/.exec(readme) ?? [];
  const commands = first.trim().split('\n');
  expect(commands.map(line => line.replace(/ *#.*/, ''))).toEqual([
    'npm ci && npm start',
    'npm ci && npm test',
  ]);
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining(['start', 'test']));
});

it('the README’s block of code runs, and says what its comments say', async () => {
  const [, block] = /```ts\n([\s\S]*?)```/.exec(read('README.md')) ?? [];
  const [, names] = /import \{ ([\w, ]+) \} from 'wireonce'/.exec(block) ?? [];
  const library: Record<string, unknown> = { ...(await import('../../index.js')) };
  const [a, b] = [1, 2].map(byte => encodeKey(publicKeyOf(nobleSuite, new Uint8Array(32).fill(byte))));
  const config = `[Interface]\nPrivateKey = ${a}\n[Peer]\nPublicKey = ${b}\nEndpoint = 127.0.0.1:9\nAllowedIPs = 10.0.0.2/32\n`;
  const said: unknown[] = [];
  const given: Record<string, unknown> = {
    ...Object.fromEntries(names.split(', ').map(name => [name, library[name]])),
    readFileSync: () => config,
    console: { log: (line: unknown) => said.push(line) },
  };
  const body = block.replaceAll(/^import .*$/gm, '');
  // oxlint-disable-next-line typescript/no-implied-eval -- the code is of our own page
  const run = new Function(...Object.keys(given), `return (async () => {${body}})()`);
  await run(...Object.values(given));
  expect(said).toContainEqual(expect.stringMatching(/^a fork of this machine would be seen: \w+/));
  expect(said).toContain('staged');
});

it('the README’s commands are those of the program', async () => {
  const { runCli } = await import('../../cli/program.js');
  let help = '';
  const sink = { write: (chunk: string) => (help += chunk) } as unknown as NodeJS.WritableStream;
  const io = { stdin: [], stdout: sink, stderr: sink, signal: new AbortController().signal, env: {} };
  await runCli(['--help'], io as never);
  const listed = [...help.split('Commands:')[1].matchAll(/^ {2}([a-z]+) /gm)]
    .map(([, name]) => name)
    .filter(name => name !== 'help');
  const table = read('README.md').split('## The command')[1].split('## ')[0];
  const named = new Set([...table.matchAll(/`([a-z]+)[ `]/g)].map(([, name]) => name));
  expect(listed.length).toBeGreaterThan(4);
  for (const name of listed) expect([...named]).toContain(name);
});
