// What the documents claim, held against the code.

import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DROP_REASONS } from '../../sessions/index.js';
import { publicKeyOf } from '../../protocol/suite.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { INTERFACE_DROPS } from '../../tunnel/daemon/status.js';
import { TRANSPORT_DROPS } from '../../tunnel/index.js';
import { encodeKey } from '../../tunnel/keys.js';
import { DOCUMENTS, FOLDERS, SOURCES, anchor, exists, headings, read, scripts } from './documents.js';

const CODED = ['vmgenid', 'crng', 'protocol', 'sessions', 'gateway', 'tunnel', 'cli'];

describe('docs/errors.md', () => {
  it('has a heading for every code of every folder, and for no other', () => {
    const codes = CODED.flatMap(folder => read(`${folder}/errors.ts`).match(/'ERR_[A-Z_0-9]+'/g) ?? []);
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
    expect(rows('Drop reasons at the interface')).toEqual([...INTERFACE_DROPS].toSorted());
  });
});

it('all documents and sources are held against each other', () => {
  expect(DOCUMENTS).toEqual(expect.arrayContaining(['README.md', 'docs/proof.md', 'examples/README.md']));
  expect(DOCUMENTS.length).toBeGreaterThan(10);
  expect(FOLDERS).toEqual(expect.arrayContaining([...CODED, 'native', 'test', 'docs']));
  expect(SOURCES.length).toBeGreaterThan(300);
});

describe.each(DOCUMENTS)('%s', path => {
  const text = read(path);

  it('links only to what exists, and to headings that do', () => {
    for (const [, target, heading] of text.matchAll(/\]\(([^)#\s]*)(?:#([^)\s]*))?\)/g)) {
      if (/^https?:/.test(target)) continue;
      const file = target === '' ? path : normalize(join(dirname(path), target));
      expect(exists(file), `${path} links to ${target}`).toBe(true);
      if (heading) expect(headings(file).map(anchor), `${path} links to ${target}`).toContain(heading);
    }
  });

  it('names only scripts that exist', () => {
    for (const [, script] of text.matchAll(/npm run ([\w:]+)/g)) {
      expect(Object.keys(scripts())).toContain(script);
    }
  });

  it('names only files that exist, and behind a file only what is in it', () => {
    for (const [, file, words] of text.matchAll(/`([\w-]+\/[\w/.-]*)`((?:,?\s`#?\w+`)*)/g)) {
      if (!FOLDERS.includes(file.split('/')[0])) continue;
      // Made by a script, and in no checkout.
      if (
        read('.gitignore')
          .split('\n')
          .includes(`${file.replace(/\/$/, '')}/`)
      )
        continue;
      expect(exists(file), `${path} names ${file}`).toBe(true);
      for (const [, word] of words.matchAll(/`(#?\w+)`/g)) {
        expect(read(file).includes(word), `${path} names ${word} in ${file}`).toBe(true);
      }
    }
  });

  it('names no file without its folder that is in none', () => {
    const names = SOURCES.map(file => file.split('/').at(-1));
    for (const [, file] of text.matchAll(/`([\w.-]+\.ts)`/g)) expect(names).toContain(file);
  });
});

it('what sends a reader to a heading of a document names one that exists', () => {
  const sent = SOURCES.flatMap(file =>
    [...read(file).matchAll(/(docs\/\w+\.md) "([^"\n]+)"/g)].map(([, document, title]) => [
      file,
      document,
      title,
    ]),
  );
  expect(sent.length).toBeGreaterThan(10);
  for (const [file, document, title] of sent) expect(headings(document), file).toContain(title);
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
