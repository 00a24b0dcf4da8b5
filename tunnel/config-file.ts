// Reads files in the manner of `wg`: sections [Interface] and [Peer], each with lines `Key = value`.
// Promises: a mistake names file, line and field; a line that may hold a secret is not repeated. Which keys there are,
// and what they mean, says the caller.
// Read on: config.ts and daemon-config.ts (the two kinds of file); wireguard-tools src/config.c.

import { BadValue } from './config-values.js';
import { TunnelError } from './errors.js';

export interface Field<D> {
  readonly name: string;
  /** May stand on several lines, which add up. */
  readonly repeats?: boolean;
  readonly mayBeEmpty?: boolean;
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
  newPeer(): P;
  /** What to say of a key, in lower case, that belongs in another file. */
  readonly elsewhere?: ReadonlyMap<string, string>;
}

/** A dialect for whoever asks for nothing but its keys. */
interface Names {
  readonly interface: ReadonlyMap<string, unknown>;
  readonly peer: ReadonlyMap<string, unknown>;
  readonly elsewhere?: ReadonlyMap<string, string>;
}

/** A section of the file, with the line of each key that stood in it. */
export interface Section<D> {
  readonly line: number;
  readonly seen: Map<string, number>;
  readonly draft: D;
}

export interface Sections<I, P> {
  readonly own: Section<I> | undefined;
  readonly peers: readonly Section<P>[];
  readonly fail: Fail;
}

/** Throws `ERR_CONFIG` with the place of a mistake that only shows when the sections are put together. */
export type Fail = (line: number, field: string | undefined, problem: string) => never;

const NO_KEY_AND_VALUE = "not a line of the form 'Key = value'";
const WORD = /^[A-Za-z]{1,24}$/;
// oxlint-disable-next-line no-control-regex -- they are what is looked for.
export const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028\u2029]/;

/** Cuts a file into sections. `file` is for messages. Throws `ERR_CONFIG` for the first mistake. */
export function readSections<I, P>(
  text: string,
  file: string | undefined,
  dialect: Dialect<I, P>,
): Sections<I, P> {
  const fail: Fail = (line, field, problem) => {
    const place = `${file ?? 'config'}:${line}: ${field === undefined ? '' : `${field}: `}`;
    throw new TunnelError('ERR_CONFIG', place + problem, { file, line, field });
  };
  let own: Section<I> | undefined;
  const peers: Section<P>[] = [];
  let read: ((key: string, value: string, line: number) => void) | undefined;

  // The byte order mark of a Windows editor is no part of the text.
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/);
  for (const [index, raw] of lines.entries()) {
    const line = index + 1;
    const content = raw.split('#', 1)[0].trim();
    if (content === '') continue;
    if (CONTROL.test(content)) fail(line, undefined, 'a control character');

    if (content.startsWith('[')) {
      const name = content.toLowerCase();
      if (name === '[interface]') {
        if (own) fail(line, undefined, `a second [Interface], after the one in line ${own.line}`);
        const section = (own = newSection(line, dialect.newInterface()));
        read = (...at) => readLine(section, dialect.interface, '[Interface]', dialect, at, fail);
      } else if (name === '[peer]') {
        const section = newSection(line, dialect.newPeer());
        peers.push(section);
        read = (...at) => readLine(section, dialect.peer, '[Peer]', dialect, at, fail);
      } else {
        fail(line, undefined, 'not a section: [Interface] or [Peer] was expected');
      }
      continue;
    }

    const equals = content.indexOf('=');
    const key = content.slice(0, Math.max(equals, 0)).trim();
    // Whatever is no plain word may be a key pasted in the wrong place: it is not repeated.
    if (!WORD.test(key)) fail(line, undefined, NO_KEY_AND_VALUE);
    const value = content.slice(equals + 1).trim();
    // The tail of a key that an editor has wrapped ends like this.
    if (value === '' && !isKnown(dialect, key)) fail(line, undefined, NO_KEY_AND_VALUE);
    if (!read) return fail(line, key, 'stands before any section, where [Interface] must come first');
    read(key, value, line);
  }
  return { own, peers, fail };
}

function newSection<D>(line: number, draft: D): Section<D> {
  return { line, seen: new Map(), draft };
}

function isKnown(dialect: Names, key: string): boolean {
  return dialect.interface.has(key.toLowerCase()) || dialect.peer.has(key.toLowerCase());
}

function readLine<D>(
  section: Section<D>,
  known: Fields<D>,
  here: string,
  dialect: Names,
  [key, value, line]: [key: string, value: string, line: number],
  fail: Fail,
): void {
  const field = known.get(key.toLowerCase());
  if (!field) {
    const elsewhere = dialect.elsewhere?.get(key.toLowerCase());
    const problem = isKnown(dialect, key) ? `does not belong in ${here}` : `is no key of ${here}`;
    return fail(line, key, elsewhere ?? problem);
  }
  const before = section.seen.get(field.name);
  if (before !== undefined && !field.repeats) fail(line, field.name, `stands in line ${before} already`);
  section.seen.set(field.name, line);
  if (value === '' && !field.mayBeEmpty) fail(line, field.name, 'needs a value');
  try {
    field.read(value, section.draft);
  } catch (error) {
    if (error instanceof BadValue || error instanceof TunnelError) fail(line, field.name, error.message);
    throw error;
  }
}

/** Takes the required key out of each [Peer], and refuses two peers with one. */
export function finishPeers<P extends { publicKey?: Uint8Array }>(
  sections: readonly Section<P>[],
  fail: Fail,
): (P & { publicKey: Uint8Array })[] {
  const lineOf = new Map<string, number>();
  return sections.map(({ draft, line, seen }) => {
    const { publicKey } = draft;
    if (!publicKey) return fail(line, 'PublicKey', 'is missing from this [Peer]');
    const at = seen.get('PublicKey') ?? line;
    const id = publicKey.join();
    const before = lineOf.get(id);
    if (before !== undefined) fail(at, 'PublicKey', `the same peer stands in line ${before} already`);
    lineOf.set(id, at);
    return { ...draft, publicKey };
  });
}
