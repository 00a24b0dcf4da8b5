import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const folder = fileURLToPath(new URL('../../examples', import.meta.url));
const programs = readdirSync(folder).filter(name => name.endsWith('.ts'));
const specifiers = (name: string) =>
  Array.from(readFileSync(join(folder, name), 'utf8').matchAll(/ from '([^']+)'/g), match => match[1]);

describe('examples', () => {
  it.each(programs)('%s imports the package by its public names alone', name => {
    for (const specifier of specifiers(name))
      expect(specifier).toMatch(/^(wireonce(\/\w+)?|node:\w+|\.\/.+\.js)$/);
  });

  it('are all in the README', () => {
    const readme = readFileSync(join(folder, 'README.md'), 'utf8');
    for (const name of programs) expect(readme).toContain(`[${name}](${name})`);
  });

  it('the web server knows vmgenid and crng, and nothing else of the package', () => {
    const ours = specifiers('web-sessions.ts').filter(specifier => !specifier.startsWith('node:'));
    expect(ours.sort()).toEqual(['wireonce/crng', 'wireonce/vmgenid']);
  });
});
