// What a release is made by: what it is told, what it refuses, and that nobody invented a home for the project.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { stamp } from '../../release/stamp.js';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const TEXTS = {
  manifest: '{ "name": "x", "version": "1.2.3-rc.1" }',
  changelog: '# Changelog\n\n## 1.2.3-rc.1\n\n## 1.2.2\n',
  readme: '[a](docs/a.md#b) ![c](d.svg) [e](#f) [g](https://h.example/) [i]\n',
};
const HOME = 'https://code.example/us/x';

describe('a release', () => {
  it('says where the project lives, and links there', () => {
    for (const url of [HOME, `${HOME}.git`]) {
      const { manifest, readme } = stamp(TEXTS, url, 'v1.2.3-rc.1');
      expect(JSON.parse(manifest)).toEqual({
        name: 'x',
        version: '1.2.3-rc.1',
        repository: { type: 'git', url: `git+${HOME}.git` },
        homepage: `${HOME}#readme`,
        bugs: { url: `${HOME}/issues` },
      });
      const [blob, raw] = ['blob', 'raw'].map(folder => `${HOME}/${folder}/v1.2.3-rc.1`);
      expect(readme).toBe(
        `[a](${blob}/docs/a.md#b) ![c](${raw}/d.svg) [e](#f) [g](https://h.example/) [i]\n`,
      );
    }
  });

  it.each([
    ['a tag of another version', TEXTS, HOME, 'v1.2.3', 'the tag is v1.2.3, and the version 1.2.3-rc.1'],
    ['no address', TEXTS, '', undefined, 'not the URL of a repository'],
    ['an address without a name', TEXTS, 'https://code.example/', undefined, 'not the URL of a repository'],
    [
      'a version that the changelog does not know',
      { ...TEXTS, changelog: '## 1.2.3' },
      HOME,
      undefined,
      'CHANGELOG.md has no heading for 1.2.3-rc.1',
    ],
  ])('refuses %s', (_, texts, url, tag, reason) => {
    expect(() => stamp(texts, url, tag)).toThrow(reason);
  });

  it('could be made of this tree, which names no home of its own', () => {
    const [manifest, changelog, readme] = ['package.json', 'CHANGELOG.md', 'README.md'].map(read);
    const before = JSON.parse(manifest) as object;
    for (const field of ['repository', 'homepage', 'bugs']) expect(before).not.toHaveProperty(field);
    const after = stamp({ manifest, changelog, readme }, HOME);
    expect(JSON.parse(after.manifest)).toMatchObject(before);
    expect(after.readme).toContain(`](${HOME}/blob/`);
    expect(after.readme.match(/\]\((?!https?:|#)/g) ?? []).toEqual([]);
  });

  it('runs scripts that there are', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = Array.from(
      read('.github/workflows/release.yml').matchAll(/npm run (\S+)/g),
      ([, name]) => name,
    );
    expect(named).toEqual(['release', 'docs:api']);
    for (const name of named) expect(scripts).toHaveProperty(name);
  });
});
