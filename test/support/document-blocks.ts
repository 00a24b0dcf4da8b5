// The blocks of code of a document, by the comment that they open with: what a test runs, and what it puts into files.

import { readFileSync } from 'node:fs';

/** The blocks, without their fences, in the order of the page. `path` is from the root of the tree. */
export function documentBlocks(path: string): string[] {
  const text = readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
  return [...text.matchAll(/^```\w*\n(.*?)^```$/gms)].map(([, block]) => block);
}

/** The block that is the file at this path of a machine, as its first lines say. Throws where there is none. */
export function documentedFile(document: string, path: string): string {
  const found = documentBlocks(document).find(block => block.split('\n', 2).includes(`# ${path}`));
  if (found === undefined) throw new Error(`${document} does not show ${path}`);
  return found;
}
