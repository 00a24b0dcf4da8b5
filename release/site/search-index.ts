// The index of the search, as a script: a page that was opened as a file may run one, and may not fetch.
// Promises: the page reads it with the options that it was made with.
// Read on: browser/search.ts (who reads it).

import MiniSearch, { type Options } from 'minisearch';
import type { Part } from './render.js';

/** What is found: one part of a page. */
export interface Entry {
  /** Its address, from the root of the site. */
  readonly id: string;
  readonly page: string;
  readonly title: string;
  readonly text: string;
}

/** Of a question that is typed as it is asked: these are in every part, or in none. */
const SAY_NOTHING = new Set(
  'a an and are can do does for how i if in is it me my of on or that the there to two use what when where which who why with you your'.split(
    ' ',
  ),
);

export const SEARCH: Options<Entry> = {
  processTerm: term => {
    const word = term.toLowerCase();
    return SAY_NOTHING.has(word) ? null : word;
  },
  fields: ['title', 'page', 'text'],
  storeFields: ['title', 'page', 'text'],
};

export function entriesOf(target: string, page: string, parts: readonly Part[]): Entry[] {
  return parts.map(({ anchor, title, text }) => ({ id: `${target}#${anchor}`, page, title, text }));
}

export function searchIndex(entries: readonly Entry[]): string {
  const search = new MiniSearch<Entry>(SEARCH);
  search.addAll(entries);
  return `globalThis.wireonceSearch = ${JSON.stringify(JSON.stringify(search))};\n`;
}
