// The house: a file imports from its own folder and from floors below. What runs in a browser loads nothing of Node.

import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Which folders each folder may import from, besides itself. */
const BELOW: Record<string, readonly string[]> = {
  native: [],
  vmgenid: ['native'],
  crng: ['native', 'vmgenid'],
  protocol: ['native', 'vmgenid'],
  sessions: ['native', 'vmgenid', 'crng', 'protocol'],
  gateway: ['native', 'vmgenid', 'crng', 'protocol', 'sessions'],
  tunnel: ['native', 'vmgenid', 'crng', 'protocol', 'sessions', 'gateway'],
  demo: ['native', 'vmgenid', 'crng', 'protocol', 'sessions', 'gateway', 'tunnel'],
  web: ['native', 'vmgenid', 'crng', 'protocol', 'sessions', 'gateway', 'tunnel', 'demo'],
  cli: ['native', 'vmgenid', 'crng', 'protocol', 'sessions', 'gateway', 'tunnel', 'demo', 'web'],
};

/** What release/bundle.ts puts into the package, for the command alone. */
const BUNDLED = ['commander', 'pino', 'pino-pretty', 'prom-client'];
/** What Vite puts into the pages. */
const BUNDLED_IN_PAGES = ['preact', '@preact/signals'];

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
}

const STATEMENT = /^(?:import|export)\s+(type\s)?([^'";]*?from\s+)?'([^']+)'/gm;
const DYNAMIC = /\bimport\(\s*'([^']+)'\s*\)|\brequire\(\s*'([^']+)'\s*\)/g;

/** All imports of a source text. An import whose every name is inline `type` is erased too, as the compiler does. */
function importsOf(text: string): Import[] {
  const found: Import[] = [];
  for (const [, type, clause, specifier] of text.matchAll(STATEMENT)) {
    const names = /\{([^}]*)\}/
      .exec(clause ?? '')?.[1]
      .split(',')
      .map(name => name.trim())
      .filter(Boolean);
    const onlyTypes =
      names !== undefined && names.length > 0 && names.every(name => name.startsWith('type '));
    // With verbatimModuleSyntax a statement of inline types alone still loads the module.
    found.push({ specifier, typeOnly: type !== undefined && !onlyTypes });
  }
  for (const [, dynamic, required] of text.matchAll(DYNAMIC)) {
    found.push({ specifier: dynamic ?? required, typeOnly: false });
  }
  return found;
}

function filesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter(name => /\.tsx?$/.test(name))
    .map(name => join(folder, name));
}

function resolve(from: string, specifier: string): string {
  return relative(ROOT, join(ROOT, dirname(from), specifier)).replace(/\.js$/, '.ts');
}

/** Everything that is loaded, at run time, by importing a file: our own files, packages, built-in modules. */
function loadedBy(entry: string): { readonly files: Set<string>; readonly outside: Set<string> } {
  const outside = new Set<string>();
  const files = new Set<string>();
  const visit = (file: string) => {
    if (files.has(file)) return;
    files.add(file);
    for (const { specifier, typeOnly } of importsOf(readFileSync(join(ROOT, file), 'utf8'))) {
      if (typeOnly) continue;
      if (specifier.startsWith('.')) visit(resolve(file, specifier));
      else outside.add(specifier);
    }
  };
  visit(entry);
  return { files, outside };
}

describe.each(Object.keys(BELOW))('%s/', folder => {
  it('imports only from its own folder and from floors below', () => {
    const files = filesIn(folder);
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) {
      for (const { specifier } of importsOf(readFileSync(join(ROOT, file), 'utf8'))) {
        // Data is on no floor.
        if (!specifier.startsWith('.') || specifier.endsWith('.json')) continue;
        const target = resolve(file, specifier).split('/')[0];
        expect([folder, ...BELOW[folder]], `${file} imports ${specifier}`).toContain(target);
      }
    }
  });
});

describe.each([
  ['protocol/index.ts', []],
  ['protocol/in-page.ts', []],
  ['sessions/index.ts', []],
  ['crng/index.ts', []],
  ['browser.ts', ['ipaddr.js']],
  ['demo/fork-story.ts', ['ipaddr.js']],
])('%s', (entry, others) => {
  it('loads noble and next to nothing else, so that it runs in a browser', () => {
    const loaded = [...loadedBy(entry).outside];
    expect(loaded.length).toBeGreaterThan(0);
    expect(loaded.filter(specifier => !specifier.startsWith('@noble/'))).toEqual(others);
  });
});

describe('the attacker of the demonstration', () => {
  const reached = (entry: string) => [...loadedBy(entry).files];
  const KNOWS_A_KEY = /^(?:sessions|crng|vmgenid|gateway|tunnel)\/|^protocol\/(?!constants|messages|suite\.)/;

  it('loads nothing that has ever known a key', () => {
    const files = filesIn('demo/attack').flatMap(reached);
    expect(files).toContain('demo/public-knowledge.ts');
    expect(files.filter(file => KNOWS_A_KEY.test(file))).toEqual([]);
  });

  it('control: the story that he is in loads all of it', () => {
    const files = reached('demo/fork-story.ts').filter(file => KNOWS_A_KEY.test(file));
    expect(files).toEqual(
      expect.arrayContaining(['sessions/device.ts', 'protocol/keypair.ts', 'crng/crng.ts']),
    );
  });
});

describe('every folder that is published', () => {
  it('has no path of a machine, and no module outside the declared dependencies and what is bundled', () => {
    const declared = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
      optionalDependencies: Record<string, string>;
    };
    const installed = [...Object.keys(declared.dependencies), ...Object.keys(declared.optionalDependencies)];
    for (const file of Object.keys(BELOW).flatMap(filesIn)) {
      const isOfTheCommand = file.startsWith('cli/') || file === 'tunnel/daemon/metrics-format.ts';
      const isOfPages = file.startsWith('web/') && !file.startsWith('web/server/');
      const known = [
        ...installed,
        ...(isOfTheCommand ? BUNDLED : []),
        ...(isOfPages ? BUNDLED_IN_PAGES : []),
      ];
      const text = readFileSync(join(ROOT, file), 'utf8');
      expect(text, file).not.toMatch(/\/work\/|\/home\/\w|\/root\//);
      for (const { specifier } of importsOf(text)) {
        if (specifier.startsWith('.') || specifier.startsWith('node:')) continue;
        const name = specifier
          .split('/')
          .slice(0, specifier.startsWith('@') ? 2 : 1)
          .join('/');
        expect(known, `${file} imports ${specifier}`).toContain(name);
      }
    }
  });
});

it('the check itself sees imports of every form', () => {
  const text = [
    "import a from './a.js';",
    "import type { B } from '../b.js';",
    "import { type C, d } from './c.js';",
    "export * from './e.js';",
    "const f = await import('./f.js');",
    "import {\n  g,\n} from 'g';",
    "import 'h';",
  ].join('\n');
  const seen = importsOf(text).map(({ specifier, typeOnly }) => `${specifier}${typeOnly ? ' (type)' : ''}`);
  expect(seen).toEqual(['./a.js', '../b.js (type)', './c.js', './e.js', 'g', 'h', './f.js']);
});
