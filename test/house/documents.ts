// The documents and the sources, as the tests of this folder read them.
// Promises: what is built or installed is no source. Read on: docs.test.ts, reader.test.ts.

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NOT_OURS = new Set(['node_modules', 'dist', 'coverage', 'reports']);

/** The folders of sources, tests and documents. */
export const FOLDERS = readdirSync(ROOT, { withFileTypes: true })
  .filter(entry => entry.isDirectory() && !entry.name.startsWith('.') && !NOT_OURS.has(entry.name))
  .map(entry => entry.name);

/** Every document, by its path. */
export const DOCUMENTS = ['.', 'docs', 'examples', 'test/vm'].flatMap(folder =>
  readdirSync(join(ROOT, folder))
    .filter(file => file.endsWith('.md'))
    .map(file => join(folder, file)),
);

/** Every file in TypeScript, by its path. */
export const SOURCES = [
  ...readdirSync(ROOT),
  ...FOLDERS.flatMap(folder =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map(file => join(folder, file)),
  ),
].filter(file => file.endsWith('.ts'));

export function exists(path: string): boolean {
  return existsSync(join(ROOT, path));
}

export function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

export function scripts(): Record<string, string> {
  return (JSON.parse(read('package.json')) as { scripts: Record<string, string> }).scripts;
}

/** The titles of a document's parts. */
export function headings(path: string): string[] {
  const text = read(path).replaceAll(/^```[\s\S]*?^```/gm, '');
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) => title);
}

/** What a link to a heading ends with. */
export function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\w\s-]/g, '')
    .replaceAll(' ', '-');
}
