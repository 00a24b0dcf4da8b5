// Builds the site: every document a page, every file that one links to beside it, the search, the style.
// Promises: the folders are those of the repository.
// Read on: pages.ts, render.ts, template.ts, search-index.ts, browser/search.ts.

import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { build } from 'esbuild';
import { type Linked, type Page, findPages, rewrite } from './pages.js';
import { codeBlock, escaped, render } from './render.js';
import { type Entry, entriesOf, searchIndex } from './search-index.js';
import { pageOf } from './template.js';

/**
 * Resolves with the pages of the navigation.
 *
 * @param root of the repository
 * @param out a folder, which is emptied before
 */
export async function buildSite(root: string, out: string): Promise<readonly Page[]> {
  rmSync(out, { recursive: true, force: true });
  const write = (target: string, text: string) => {
    mkdirSync(dirname(join(out, target)), { recursive: true });
    writeFileSync(join(out, target), text);
  };
  const pages = findPages(root);
  const linked: Linked = { pictures: new Set(), code: new Set() };
  const entries: Entry[] = [];
  for (const { source, target, title, text } of pages) {
    const { html, parts } = render(text, href => rewrite(root, source, href, linked));
    write(target, pageOf({ title, target, html, parts, pages }));
    entries.push(...entriesOf(target, title, parts));
  }
  for (const file of linked.code) {
    const text = readFileSync(join(root, file), 'utf8');
    const html = `<h1>${escaped(file)}</h1>\n${codeBlock(text, extname(file).slice(1))}`;
    write(`${file}.html`, pageOf({ title: file, target: `${file}.html`, html, parts: [], pages }));
  }
  for (const file of linked.pictures) {
    mkdirSync(dirname(join(out, file)), { recursive: true });
    copyFileSync(join(root, file), join(out, file));
  }
  write('search-index.js', searchIndex(entries));
  copyFileSync(join(root, 'node_modules/minisearch/LICENSE.txt'), join(out, 'search.LICENSE.txt'));
  copyFileSync(join(root, 'web/ui/icon.svg'), join(out, 'icon.svg'));
  await build({
    entryPoints: [join(root, 'release/site/browser/search.ts'), join(root, 'release/site/site.css')],
    entryNames: '[name]',
    outdir: out,
    bundle: true,
    minify: true,
    format: 'iife',
    target: 'es2022',
    logLevel: 'warning',
  });
  return pages;
}
