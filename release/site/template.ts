// The HTML around a page: its head, the search, the navigation, what is on it.
// Promises: all it loads lies beside it; without scripts everything can be read but the search.
// Read on: site.css, browser/search.ts.

import type { Page } from './pages.js';
import { type Part, escaped } from './render.js';

interface Frame {
  readonly title: string;
  /** In the site. */
  readonly target: string;
  readonly html: string;
  readonly parts: readonly Part[];
  readonly pages: readonly Page[];
}

export function pageOf({ title, target, html, parts, pages }: Frame): string {
  const root = '../'.repeat(target.split('/').length - 1);
  const below = parts.filter(({ depth }) => depth === 2);
  return `<!doctype html>
<html lang="en" data-root="${root}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}${title === 'wireonce' ? '' : ' · wireonce'}</title>
<link rel="icon" href="${root}icon.svg">
<link rel="stylesheet" href="${root}site.css">
<script defer src="${root}search-index.js"></script>
<script defer src="${root}search.js"></script>
</head>
<body>
<a class="skip" href="#main">To the text</a>
<header class="masthead">
<a class="name" href="${root}index.html">wireonce</a>
<a class="to-pages" href="#pages">All pages</a>
<form role="search" hidden>
<label class="unseen" for="search">Search the documents</label>
<input id="search" type="search" placeholder="Search ( / )" autocomplete="off" spellcheck="false">
<p id="found-count" class="note" role="status"></p>
<ul id="found" hidden></ul>
</form>
</header>
<div class="frame">
<main id="main" tabindex="-1">
${html}</main>
${below.length > 2 ? contents(below) : ''}<nav id="pages" class="pages" aria-label="Pages">
${navigation(pages, target, root)}
</nav>
</div>
</body>
</html>
`;
}

function navigation(pages: readonly Page[], current: string, root: string): string {
  const groups = [...new Set(pages.map(({ group }) => group))];
  const item = ({ target, title }: Page) =>
    `<li><a href="${root}${target}"${target === current ? ' aria-current="page"' : ''}>${escaped(title)}</a></li>`;
  return groups
    .map(group => {
      const items = pages.filter(page => page.group === group).map(item);
      return `<p class="group">${group}</p>\n<ul>\n${items.join('\n')}\n</ul>`;
    })
    .join('\n');
}

function contents(parts: readonly Part[]): string {
  const items = parts.map(({ anchor, title }) => `<li><a href="#${anchor}">${escaped(title)}</a></li>`);
  return `<nav class="contents" aria-label="On this page">\n<p class="group">On this page</p>\n<ul>\n${items.join('\n')}\n</ul>\n</nav>\n`;
}
