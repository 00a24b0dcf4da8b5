// The pictures of the documents: made by release/pictures, shown by a page, with words for whoever does not see them.

import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { DRAWINGS } from '../../release/pictures/drawings.js';
import { COLOURS, svg } from '../../release/pictures/drawing.js';
import { FILES, SIZE } from '../../release/pictures/screenshots.js';
import { DOCUMENTS, exists, read } from './documents.js';
import { sizeOf } from './webp.js';

const STORY = read('docs/how-a-fork-breaks-a-vpn.md');

it('each drawing is as its source makes it: after a change, npm run docs:pictures', () => {
  for (const drawing of DRAWINGS) expect(read(`docs/pictures/${drawing.name}.svg`)).toBe(svg(drawing));
});

const filesOf = (folder: string) =>
  readdirSync(fileURLToPath(new URL(`../../docs/${folder}`, import.meta.url)));

it('there is no picture that nobody shows', () => {
  const texts = DOCUMENTS.map(read).join('\n');
  for (const folder of ['pictures', 'screenshots'])
    expect(filesOf(folder).filter(file => !texts.includes(`${folder}/${file}`))).toEqual([]);
});

it('the screenshots are those that the script takes, in one size, and small', () => {
  expect(filesOf('screenshots').toSorted()).toEqual(FILES.toSorted());
  for (const file of FILES) {
    const bytes = readFileSync(new URL(`../../docs/screenshots/${file}`, import.meta.url));
    expect(sizeOf(bytes), file).toEqual(SIZE);
    expect(bytes.length, file).toBeLessThan(60_000);
  }
});

it('every picture of every document is there, and has words for whoever does not see it', () => {
  const shown = DOCUMENTS.flatMap(path => [
    ...[...read(path).matchAll(/!\[(.*?)\]\((.*?)\)/g)].map(([, alt, file]) => ({
      path,
      alt,
      files: [file],
    })),
    ...[...read(path).matchAll(/<picture>.*srcset="(.*?)".* src="(.*?)".* alt="(.*?)".*<\/picture>/g)].map(
      ([, dark, light, alt]) => ({ path, alt, files: [dark, light] }),
    ),
  ]);
  expect(shown.length).toBeGreaterThan(DRAWINGS.length + FILES.length / 2);
  expect(shown.filter(({ alt }) => alt.split(' ').length < 5)).toEqual([]);
  for (const { path, files } of shown)
    for (const file of files) expect(exists(join(dirname(path), file)), `${path}: ${file}`).toBe(true);
});

it('the page shows the drawings in their order, each with the words that are in it', () => {
  const shown = [...STORY.matchAll(/^!\[(.*)\]\(pictures\/([\w-]+)\.svg\)$/gm)];
  expect(shown.map(([, alt, name]) => [name, alt])).toEqual(DRAWINGS.map(({ name, alt }) => [name, alt]));
});

it('a drawing is readable in light and dark: every colour of the one has its twin in the other', () => {
  for (const drawing of DRAWINGS) {
    const [light, dark] = svg(drawing).split('@media (prefers-color-scheme: dark)');
    const named = (style: string) =>
      style.match(/[\w.,# ]+ \{ (?:fill|stroke): #\w+/g)?.map(rule => rule.replace(/#\w+$/, ''));
    expect(named(dark)?.map(rule => rule.trim())).toEqual(named(light)?.map(rule => rule.trim()));
    expect(named(dark)?.length).toBeGreaterThan(10);
  }
});

it('a drawing has the colours of the pages', () => {
  const theme = read('web/ui/theme.css').matchAll(/^ {2}--([\w-]+): light-dark\((#\w+), (#\w+)\);$/gm);
  const ofPages = Object.fromEntries([...theme].map(([, name, ...pair]) => [name, pair]));
  for (const [name, pair] of Object.entries(COLOURS)) expect(pair, name).toEqual(ofPages[name]);
});

it('each step of the argument is a step of the architecture’s table, done and held where that says', () => {
  const rows = [...read('docs/architecture.md').matchAll(/^\| (\d)\. .* \| (.*) \| (.*) \| .* \|$/gm)];
  expect(rows.length).toBeGreaterThan(7);
  for (const [, number, where, held] of rows) {
    const [, step] = new RegExp(`^### Step ${number}: .*\\n([\\s\\S]*?)^### `, 'm').exec(STORY) ?? [];
    for (const [, name] of where.matchAll(/`(\S+)`/g))
      expect(step, `step ${number}`).toContain(`\`${name}\``);
    const [first] = /test\/[\w/.-]+/.exec(held) ?? [];
    expect(step, `step ${number}`).toContain(first);
  }
});
