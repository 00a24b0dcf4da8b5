// Reads files in the manner of `wg` and `wg-quick`: sections [Interface] and [Peer], and others of ours, each with lines
// `Key = value`.
// Promises: a mistake names file, line and field; a line that may hold a secret is not repeated. Which keys there are,
// and what they mean, says the caller.
// Read on: config.ts and daemon-config.ts (the two kinds of file); wireguard-tools src/config.c, wg-quick(8).

import { BadValue } from './config-values.js';
import { type ConfigPlace, TunnelError } from '../errors.js';

/** A key that stands twice is read twice: what the reader sets is set again, what it adds is added. */
export interface Field<D> {
  readonly name: string;
  /**
   * Read as `wg-quick` does: blanks inside the value belong to it, and the section's name must be written without any.
   * `wg` takes every blank out of a line before it looks at it.
   */
  readonly verbatim?: boolean;
  readonly mayBeEmpty?: boolean;
  /** Of several in a file the last is read, and the others are not looked at. */
  readonly lastAlone?: boolean;
  /** Throws `BadValue`, or `TunnelError` from a key. */
  read(value: string, draft: D): void;
}

export type Fields<D> = ReadonlyMap<string, Field<D>>;

export function fields<D>(...list: Field<D>[]): Fields<D> {
  return new Map(list.map(field => [field.name.toLowerCase(), field]));
}

/** A kind of file: its keys, and what a section holds while it is read. */
export interface Dialect<I, P> {
  readonly interface: Fields<I>;
  readonly peer: Fields<P>;
  newInterface(): I;
  newPeer(line: number): P;
  /** Of our own, by their titles as `[Title]`. They say more of what [Interface] is read into. */
  readonly others?: Readonly<Record<string, Fields<I>>>;
  /** What to say of a key, in lower case, that belongs in another file. */
  readonly elsewhere?: ReadonlyMap<string, string>;
}

/** A dialect for whoever asks for nothing but its keys. */
interface Names {
  readonly interface: Fields<never>;
  readonly peer: Fields<never>;
  readonly others?: Readonly<Record<string, Fields<never>>>;
  readonly elsewhere?: ReadonlyMap<string, string>;
}

/** What a section holds, and the line of its name. */
export interface Section<D> {
  readonly line: number;
  readonly draft: D;
}

export interface Sections<I, P> {
  /** All [Interface] sections together. */
  readonly own: Section<I> | undefined;
  readonly peers: readonly Section<P>[];
  readonly fail: Fail;
}

/** Where a setting stands. */
export interface Place extends ConfigPlace {
  /** In words: file, line and field, or a variable or flag. */
  readonly shown: string;
}

/** Hears of each title that is read, as `[Title]`, and of each field of it. */
export type Listener = (title: string, field: string | undefined, place: Place) => void;

/** Throws `ERR_CONFIG` with the place of a mistake that only shows when the sections are put together. */
export type Fail = (line: number, field: string | undefined, problem: string) => never;

const NO_KEY_AND_VALUE = "not a line of the form 'Key = value'";
const WORD = /^[A-Za-z]{1,24}$/;
/** What isspace(3) takes for a blank. Of those of Unicode neither program knows any. */
const BLANK = ' \t\n\v\f\r';
const BLANKS = /[ \t\n\v\f\r]+/g;
const BYTE_ORDER_MARK = '\uFEFF';

/** Cuts a file into sections. `file` is for messages, and for `listener`. Throws `ERR_CONFIG` for the first mistake. */
export function readSections<I, P>(
  text: string,
  file: string | undefined,
  dialect: Dialect<I, P>,
  listener?: Listener,
): Sections<I, P> {
  const fail: Fail = (line, field, problem) => {
    const place = `${file ?? 'config'}:${line}: ${field === undefined ? '' : `${field}: `}`;
    throw new TunnelError('ERR_CONFIG', place + problem, { file, line, field });
  };
  const note = (title: string, line: number, field?: string) =>
    listener?.(title, field, { file, line, field, shown: `${file ?? 'config'}:${line}: ${field ?? title}` });
  const others = Object.entries(dialect.others ?? {});
  if (text.startsWith(BYTE_ORDER_MARK)) {
    fail(
      1,
      undefined,
      'the file begins with a byte order mark, which wg cannot read: save it as plain UTF-8',
    );
  }
  let own: Section<I> | undefined;
  const peers: Section<P>[] = [];
  let read: ((content: string, line: number) => void) | undefined;
  const atEnd = new Map<unknown, () => void>();

  // The shell that reads the file for `wg-quick` passes over NUL.
  for (const [index, raw] of text.replaceAll('\0', '').split('\n').entries()) {
    const line = index + 1;
    const content = trimBlanks(raw.split('#', 1)[0]);
    if (content === '') continue;
    if (!content.startsWith('[')) {
      if (read) read(content, line);
      else refuseBeforeSections(content, line, fail);
      continue;
    }
    const name = removeBlanks(content).toLowerCase();
    const isVerbatim = name === content.toLowerCase();
    const [title, known] = [['[Interface]', dialect.interface] as const, ...others].find(
      ([each]) => each.toLowerCase() === name,
    ) ?? [undefined];
    if (title !== undefined) {
      note(title, line);
      const { draft } = (own ??= { line, draft: dialect.newInterface() });
      const here = { title, known, isVerbatim, atEnd };
      read = (...at) => note(title, at[1], readLine(here, draft, dialect, at, fail));
    } else if (name === '[peer]') {
      const draft = dialect.newPeer(line);
      peers.push({ line, draft });
      const here = { title: '[Peer]', known: dialect.peer, isVerbatim, atEnd };
      read = (...at) => readLine(here, draft, dialect, at, fail);
    } else {
      const titles = ['[Interface]', ...others.map(([each]) => each), '[Peer]']
        .join(', ')
        .replace(/,(?= \[Peer)/, ' or');
      fail(line, undefined, `not a section: ${titles} was expected`);
    }
  }
  for (const readLast of atEnd.values()) readLast();
  return { own, peers, fail };
}

/** Without the blanks at its ends. */
function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && BLANK.includes(text[start])) start++;
  while (end > start && BLANK.includes(text[end - 1])) end--;
  return text.slice(start, end);
}

function removeBlanks(text: string): string {
  return text.replace(BLANKS, '');
}

/** The key and its value as they stand there. Whatever is no plain word may be a secret in the wrong place. */
function cut(content: string): { key: string; value: string | undefined } {
  const equals = content.indexOf('=');
  const key = trimBlanks(content.slice(0, Math.max(equals, 0)));
  return WORD.test(removeBlanks(key))
    ? { key, value: trimBlanks(content.slice(equals + 1)) }
    : { key: '', value: undefined };
}

function refuseBeforeSections(content: string, line: number, fail: Fail): never {
  const { key, value } = cut(content);
  // The tail of a key that an editor has wrapped ends like this.
  if (!value) return fail(line, undefined, NO_KEY_AND_VALUE);
  return fail(line, removeBlanks(key), 'stands before any section, where [Interface] must come first');
}

/** A section that lines are read into. */
interface OpenSection<D> {
  readonly title: string;
  readonly known: Fields<D>;
  /** Its name has no blanks inside. */
  readonly isVerbatim: boolean;
  /** What is left to do when the file has ended, by field. */
  readonly atEnd: Map<unknown, () => void>;
}

/** Returns the name of the field. */
function readLine<D>(
  here: OpenSection<D>,
  draft: D,
  dialect: Names,
  [content, line]: [content: string, line: number],
  fail: Fail,
): string {
  const { key, value } = cut(content);
  const name = removeBlanks(key).toLowerCase();
  const field = here.known.get(name);
  if (value === undefined) return fail(line, undefined, NO_KEY_AND_VALUE);
  if (!field) {
    const isKnown = [dialect.interface, dialect.peer, ...Object.values(dialect.others ?? {})].some(each =>
      each.has(name),
    );
    if (value === '' && !isKnown) fail(line, undefined, NO_KEY_AND_VALUE);
    const problem = isKnown ? `does not belong in ${here.title}` : `is no key of ${here.title}`;
    return fail(line, removeBlanks(key), dialect.elsewhere?.get(name) ?? problem);
  }
  if (field.verbatim && key.length > name.length) fail(line, field.name, 'has a blank inside its name');
  if (field.verbatim && !here.isVerbatim)
    fail(line, field.name, `needs ${here.title} without blanks before it`);
  if (value === '' && !field.mayBeEmpty) fail(line, field.name, 'needs a value');
  const read = () => {
    try {
      field.read(field.verbatim ? value : removeBlanks(value), draft);
    } catch (error) {
      if (error instanceof BadValue || error instanceof TunnelError) fail(line, field.name, error.message);
      throw error;
    }
  };
  if (field.lastAlone) here.atEnd.set(field, read);
  else read();
  return field.name;
}

/**
 * Takes the required key out of each [Peer]. Sections with one key are one peer: what the later one says counts, and
 * what it does not name stays.
 */
export function finishPeers<P extends { publicKey?: Uint8Array }>(
  sections: readonly Section<P>[],
  fail: Fail,
): (P & { publicKey: Uint8Array })[] {
  const peers = new Map<string, P & { publicKey: Uint8Array }>();
  for (const { draft, line } of sections) {
    const { publicKey } = draft;
    if (!publicKey) return fail(line, 'PublicKey', 'is missing from this [Peer]');
    const id = publicKey.join();
    peers.set(id, { ...peers.get(id), ...draft, publicKey });
  }
  return [...peers.values()];
}
