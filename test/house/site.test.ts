// The site of the documents, built as `npm run docs` does: every document is in it, and every link of it leads somewhere in it.
// Read on: test/system/browser/documents.test.ts (the same in a browser).

import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import MiniSearch from 'minisearch';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Page } from '../../release/site/pages.js';
import { render } from '../../release/site/render.js';
import { type Entry, SEARCH } from '../../release/site/search-index.js';
import { buildSite } from '../../release/site/site.js';
import { DOCUMENTS } from './documents.js';

const out = mkdtempSync(join(tmpdir(), 'wireonce-site-'));
let pages: readonly Page[];
let files: Map<string, string>;

beforeAll(async () => {
  pages = await buildSite(fileURLToPath(new URL('../..', import.meta.url)), out);
  const html = readdirSync(out, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.html'));
  files = new Map(html.map(file => [file, readFileSync(join(out, file), 'utf8')]));
});
afterAll(() => rmSync(out, { recursive: true, force: true }));

/** What a page loads or links to, as files of the site with what stands behind the `#`. */
function linksOf(file: string, html: string): (readonly [target: string, anchor: string | undefined])[] {
  return [...html.matchAll(/\s(?:href|src|srcset)="([^"]*)"/g)]
    .filter(([, href]) => !href.startsWith('https://'))
    .map(([, href]) => {
      const [path, anchor] = href.split('#');
      return [path === '' ? file : normalize(join(dirname(file), path)), anchor] as const;
    });
}

function brokenLinks(of: ReadonlyMap<string, string>): string[] {
  return [...of].flatMap(([file, html]) =>
    linksOf(file, html)
      .filter(
        ([target, anchor]) =>
          !existsSync(join(out, target)) || (anchor && !files.get(target)?.includes(` id="${anchor}"`)),
      )
      .map(link => `${file}: ${link.join('#')}`),
  );
}

it('has every document', () => {
  expect(pages.map(({ source }) => source)).toEqual(expect.arrayContaining(DOCUMENTS));
  expect(new Set(pages.map(({ target }) => target)).size).toBe(pages.length);
  for (const { target } of pages) expect([...files.keys()]).toContain(target);
});

it('a question finds what its telling words find', () => {
  const [, text] = /= (".*");\n$/.exec(readFileSync(join(out, 'search-index.js'), 'utf8')) ?? [];
  const index = MiniSearch.loadJSON<Entry>(JSON.parse(text) as string, SEARCH);
  const find = (words: string) => index.search(words, { combineWith: 'AND' }).map(({ id }) => id as string);
  const found = find('How do I set up a tunnel between two namespaces?');
  expect(found).toEqual(find('set up tunnel between namespaces'));
  expect(found[0]).toMatch(/^docs\/first-tunnel\.html#/);
});

it('has no link to nothing, inside it', () => {
  expect([...files].flatMap(([file, html]) => linksOf(file, html)).length).toBeGreaterThan(500);
  expect(brokenLinks(files)).toEqual([]);
});

it('control: a page that is not there, and a heading that is not, are found', () => {
  const html = '<a href="nowhere.html">a</a><a href="index.html#nowhere">b</a><img srcset="no.png">';
  expect(brokenLinks(new Map([['index.html', html]]))).toHaveLength(3);
});

it('loads scripts, styles and pictures of its own folder alone, and no module', () => {
  for (const [file, html] of files) {
    expect(html, file).not.toMatch(/\ssrc(?:set)?="(?:https?:)?\/\/|<link[^>]*href="https?:|type="module"/);
  }
  expect(readFileSync(join(out, 'site.css'), 'utf8')).not.toMatch(/@import|url\(/);
});

it('gives two headings of one name two anchors, as GitHub does', () => {
  const { html, parts } = render('# `A` [b](c.md)\n\n## Same: it\n\nx\n\n## Same it\n\ny', href => href);
  expect(parts.map(({ anchor, title }) => [anchor, title])).toEqual([
    ['a-b', 'A b'],
    ['same-it', 'Same: it'],
    ['same-it-1', 'Same it'],
  ]);
  expect(html).toContain('<h2 id="same-it-1">');
});
