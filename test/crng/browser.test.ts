import * as fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** Every module that loading `file` loads, by what its import and export statements say. Types are erased. */
function loadedBy(file: URL, seen = new Map<string, string[]>()): Map<string, string[]> {
  const text = fs.readFileSync(fileURLToPath(file), 'utf8');
  const statements = text.matchAll(/^(?:import|export)(?! type\b)[^;]*?from '([^']+)'|^import '([^']+)'/gms);
  const names = Array.from(statements, ([, named, bare]) => named ?? bare);
  seen.set(file.href, names);
  for (const name of names.filter(name => name.startsWith('.'))) {
    const next = new URL(name.replace(/\.js$/, '.ts'), file);
    if (!seen.has(next.href)) loadedBy(next, seen);
  }
  return seen;
}

test('nothing of node is loaded with the generator, so that a browser can load it', () => {
  const loaded = loadedBy(new URL('../../crng/index.ts', import.meta.url));
  expect([...loaded.keys()].filter(name => name.includes('/crng/')).length).toBeGreaterThan(5);
  expect([...loaded.values()].flat().filter(name => name.startsWith('node:'))).toEqual([]);
  // The control: the folder of the sources does load it.
  const sources = loadedBy(new URL('../../vmgenid/index.ts', import.meta.url));
  expect([...sources.values()].flat()).toContain('node:fs');
});
