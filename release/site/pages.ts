// Which documents are pages of the site, in the order of its navigation, and where a link between them leads.
// Promises: every document of these folders is a page, named in a group or not; the folders stay as they are,
// so that a link that holds in the repository holds in the site.
// Read on: render.ts (what becomes of a text), main.ts.

import { readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

/** The groups of the navigation; what is in none comes last. */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  Begin: ['README.md', 'docs/how-a-fork-breaks-a-vpn.md', 'examples/README.md'],
  Run: [
    'first-tunnel',
    'sandbox-platforms',
    'clones',
    'services',
    'configuration',
    'monitoring',
    'errors',
    'sources',
    'portability',
    'packaging',
  ].map(name => `docs/${name}.md`),
  Understand: ['docs/architecture.md', 'docs/map.md', 'docs/glossary.md', 'SECURITY.md'],
  Measured: ['docs/proof.md', 'docs/performance.md'],
};

const FOLDERS = ['.', 'docs', 'examples', 'examples/*', 'test/vm'];

export interface Page {
  /** In the repository. */
  readonly source: string;
  /** In the site. */
  readonly target: string;
  readonly title: string;
  readonly group: string;
  readonly text: string;
}

/** Every page, in the order of the navigation. */
export function findPages(root: string): Page[] {
  const folders = FOLDERS.flatMap(folder =>
    folder.endsWith('/*')
      ? readdirSync(join(root, dirname(folder)), { withFileTypes: true })
          .filter(entry => entry.isDirectory())
          .map(entry => join(dirname(folder), entry.name))
      : [folder],
  );
  const found = folders.flatMap(folder =>
    readdirSync(join(root, folder))
      .filter(file => file.endsWith('.md'))
      .map(file => join(folder, file)),
  );
  const named = Object.entries(GROUPS).flatMap(([group, sources]) => sources.map(source => [source, group]));
  const order = new Map(named as [string, string][]);
  const rest = found.filter(source => !order.has(source)).toSorted();
  return [...order, ...rest.map(source => [source, 'More'] as const)].map(([source, group]) => {
    const text = readFileSync(join(root, source), 'utf8');
    const title = /^# (.*)$/m.exec(text)?.[1].replaceAll('`', '') ?? source;
    return { source, target: targetOf(source), title, group, text };
  });
}

function targetOf(source: string): string {
  return source.replace(/README\.md$/, 'index.md').replace(/\.md$/, '.html');
}

/** Files that pages link to, and are none themselves: pictures are copied, all else is shown as code. */
export interface Linked {
  readonly pictures: Set<string>;
  readonly code: Set<string>;
}

/**
 * Where a link of a document leads in the site. Remembers files that have to be there. Throws for one to
 * nothing.
 */
export function rewrite(root: string, source: string, href: string, linked: Linked): string {
  if (/^(?:https?:|mailto:|#)/.test(href)) return href;
  const [path, heading] = href.split('#');
  const file = normalize(join(dirname(source), path)).replace(/\/$/, '');
  const after = heading === undefined ? '' : `#${heading}`;
  if (statSync(join(root, file)).isDirectory()) return `${path.replace(/\/$/, '')}/index.html${after}`;
  if (path.endsWith('.md')) return targetOf(path) + after;
  if (/\.(?:svg|png|webp)$/.test(path)) {
    linked.pictures.add(file);
    return path;
  }
  linked.code.add(file);
  return `${path}.html`;
}
