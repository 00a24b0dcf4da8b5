// The search of a page: what is typed is looked for in every part of every document, in the browser alone.
// Promises: asks nobody; works by keyboard (/ goes there, Enter to the first that was found, Escape away);
// what is found is shown as text, never as markup.
// Read on: ../search-index.ts (what it looks in).

import MiniSearch, { type SearchResult } from 'minisearch';
import { type Entry, SEARCH } from '../search-index.js';

type Found = SearchResult & Entry;

const MOST = 12;
/** Characters of text shown before and after the first word that was found. */
const AROUND = 70;

const { wireonceSearch } = globalThis as unknown as { wireonceSearch: string };
const index = MiniSearch.loadJSON<Entry>(wireonceSearch, SEARCH);
const root = document.documentElement.dataset['root'] ?? '';

function find(query: string): Found[] {
  return index.search(query, {
    prefix: true,
    fuzzy: term => (term.length > 5 ? 0.2 : false),
    boost: { title: 4, page: 2 },
    combineWith: 'AND',
  }) as Found[];
}

/** The words around the first that was found, which is marked. */
function excerpt({ text, terms }: Found): (string | Node)[] {
  const lower = text.toLowerCase();
  const [at, length] = terms
    .map(term => [lower.indexOf(term), term.length] as const)
    .filter(([place]) => place >= 0)
    .reduce((first, each) => (each[0] < first[0] ? each : first), [Number.POSITIVE_INFINITY, 0]);
  if (length === 0) return [text.slice(0, 2 * AROUND)];
  const mark = document.createElement('mark');
  mark.textContent = text.slice(at, at + length);
  const start = Math.max(0, at - AROUND);
  return [
    start > 0 ? '…' : '',
    text.slice(start, at),
    mark,
    text.slice(at + length, at + length + AROUND),
    '…',
  ];
}

function itemOf(found: Found): HTMLLIElement {
  const link = document.createElement('a');
  link.href = root + String(found.id);
  const title = document.createElement('strong');
  title.textContent = found.title;
  const page = document.createElement('small');
  page.textContent = found.page === found.title ? '' : found.page;
  const text = document.createElement('span');
  text.append(...excerpt(found));
  link.append(title, ' ', page, text);
  const item = document.createElement('li');
  item.append(link);
  return item;
}

function countOf(found: number): string {
  if (found === 0) return 'Nothing found';
  return found > MOST ? `the first ${MOST} of ${found}` : `${found} found`;
}

function start(box: HTMLInputElement, list: HTMLElement, says: HTMLElement): void {
  const show = () => {
    const query = box.value.trim();
    const found = query === '' ? [] : find(query);
    list.replaceChildren(...found.slice(0, MOST).map(itemOf));
    list.hidden = found.length === 0;
    says.textContent = query === '' ? '' : countOf(found.length);
  };
  const clear = () => {
    box.value = '';
    show();
  };
  box.addEventListener('input', show);
  box.form?.addEventListener('submit', event => {
    event.preventDefault();
    list.querySelector('a')?.click();
  });
  list.addEventListener('click', clear);
  document.addEventListener('keydown', event => {
    if (event.key === 'Escape') clear();
    if (event.key !== '/' || event.target === box || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    box.focus();
  });
  box.form?.removeAttribute('hidden');
}

const box = document.querySelector<HTMLInputElement>('#search');
const list = document.querySelector<HTMLElement>('#found');
const says = document.querySelector<HTMLElement>('#found-count');
if (box && list && says) start(box, list, says);
