// What is there for whoever reads this code for the first time: a short README, files to begin with, words, and a map.

import { expect, it } from 'vitest';
import { headings, read, scripts, SOURCES } from './documents.js';

it('the README stays short, and begins with two commands that need nothing else', () => {
  const readme = read('README.md');
  expect(readme.split('\n').length).toBeLessThanOrEqual(140);
  const [, first] = /```\w*\n([\s\S]*?)```/.exec(readme) ?? [];
  const commands = first.trim().split('\n');
  expect(commands.map(line => line.replace(/ *#.*/, ''))).toEqual([
    'npm ci && npm start',
    'npm ci && npm test',
  ]);
  expect(Object.keys(scripts())).toEqual(expect.arrayContaining(['start', 'test']));
});

it('the seven files to read first are seven, and each says at its head what it is for', () => {
  const [, part] = /^## Seven files, in this order\n([\s\S]*?)^## /m.exec(read('docs/architecture.md')) ?? [];
  const files = [...part.matchAll(/^\d\. `([\w/.-]+)`/gm)].map(([, file]) => file);
  expect(new Set(files).size).toBe(7);
  for (const file of files) expect(read(file), file).toMatch(/^(\/\/ .*\n)+\/\/ Read on: /);
});

it('the architecture answers why no nonce is used twice before it speaks of threads and offloads', () => {
  const order = headings('docs/architecture.md');
  const at = (title: string) => order.indexOf(title);
  expect(at('Why no nonce is used twice')).toBeGreaterThan(0);
  expect(at('One device, two drivers')).toBeGreaterThan(at('Why no nonce is used twice'));
  expect(at('Offloads')).toBeGreaterThan(at('Why no nonce is used twice'));
});

it('each step of why no nonce is used twice names a control that there is', () => {
  const rows = [...read('docs/architecture.md').matchAll(/^\| \d\. .* \| (.*) \|$/gm)].map(
    ([, last]) => last,
  );
  expect(rows.length).toBeGreaterThan(7);
  const controls = SOURCES.filter(file => file.endsWith('.test.ts')).flatMap(
    file => read(file).match(/(?:it|test)\('(?:negative )?control: .*'/g) ?? [],
  );
  const named = rows.filter(last => last !== '-').map(last => /^"(.+)"$/.exec(last)?.[1] ?? last);
  expect(named.length).toBeGreaterThan(5);
  for (const words of named) expect(controls.join('\n')).toContain(words);
});

it('every word of the glossary is used in the file beside it', () => {
  const rows = [...read('docs/glossary.md').matchAll(/^\| (.+?) \| .+ \| `([\w/.-]+)` \|$/gm)];
  expect(rows.length).toBeGreaterThan(40);
  for (const [, words, file] of rows) {
    for (const word of words.replaceAll(/ \(.*?\)/g, '').split(', ')) {
      const stem = word.replace(/^to /, '').replaceAll(' ', '[ -]?');
      const isUsed = new RegExp(`\\b${stem}`, 'i').test(read(file).replaceAll(/(?<=[a-z])(?=[A-Z])/g, ' '));
      expect(isUsed, `“${word}” in ${file}`).toBe(true);
    }
  }
});

it('the map has every section of the paper that a file of the protocol or of a device sends to', () => {
  const rows = [...read('docs/map.md').matchAll(/^\| (\d[\d., ]*)/gm)].flatMap(([, list]) =>
    list.trim().split(', '),
  );
  const named = SOURCES.filter(file => /^(?:protocol|sessions)\//.test(file)).flatMap(file =>
    [...read(file).matchAll(/WireGuard paper ([\d., ]*\d)/g)].flatMap(([, list]) => list.split(', ')),
  );
  expect(named.length).toBeGreaterThan(20);
  expect([...new Set(named)].filter(section => !rows.includes(section) && /\./.test(section))).toEqual([]);
});
