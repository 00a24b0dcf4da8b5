// What a release is told: `npm run release -- URL [TAG]`. Writes where the project lives into package.json, and into
// the links of README.md.
// Promises: nothing is written unless the version has its heading in CHANGELOG.md, and is that of the tag, if one is given.
// Read on: docs/packaging.md.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Texts {
  /** package.json. */
  readonly manifest: string;
  readonly changelog: string;
  readonly readme: string;
}

/**
 * package.json and README.md of a release from the repository at a URL: what says where it lives, and links that lead
 * there from wherever the page is shown. Throws for what is not to be released.
 */
export function stamp(
  { manifest, changelog, readme }: Texts,
  url: string,
  tag?: string,
): Omit<Texts, 'changelog'> {
  const parsed = JSON.parse(manifest) as { version: string };
  const { version } = parsed;
  if (!/^https:\/\/[^/]+\/.*[^/]$/.test(url)) throw new Error(`not the URL of a repository: ${url}`);
  const home = url.replace(/\.git$/, '');
  if (tag !== undefined && tag !== `v${version}`)
    throw new Error(`the tag is ${tag}, and the version ${version}`);
  const headings = Array.from(changelog.matchAll(/^## (\S+)/gm), ([, heading]) => heading);
  if (!headings.includes(version)) throw new Error(`CHANGELOG.md has no heading for ${version}`);
  const stamped = {
    ...parsed,
    repository: { type: 'git', url: `git+${home}.git` },
    homepage: `${home}#readme`,
    bugs: { url: `${home}/issues` },
  };
  const at = (folder: string) => `${home}/${folder}/v${version}/`;
  return {
    manifest: `${JSON.stringify(stamped, null, 2)}\n`,
    readme: readme.replaceAll(/(!?)(\[[^\]]*\]\()(?!https?:|#)/g, (_, image: string, text: string) =>
      [image, text, at(image === '' ? 'blob' : 'raw')].join(''),
    ),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = join(fileURLToPath(import.meta.url), '../../..');
  const read = (name: string) => readFileSync(join(root, name), 'utf8');
  const [url = '', tag] = process.argv.slice(2);
  try {
    const texts = {
      manifest: read('package.json'),
      changelog: read('CHANGELOG.md'),
      readme: read('README.md'),
    };
    const { manifest, readme } = stamp(texts, url, tag);
    writeFileSync(join(root, 'package.json'), manifest);
    writeFileSync(join(root, 'README.md'), readme);
  } catch (error) {
    process.stderr.write(`release: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
