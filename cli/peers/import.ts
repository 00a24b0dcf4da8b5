// `wireonce peers import`: peers from another place, such as a million that a database knows.
// Promises: memory is bounded however long the input is; each line is taken whole or not at all, and the bad ones are named; to
// import again what was imported changes nothing, so that what was broken off can be repeated.
// Read on: tunnel/peer-store/record-text.ts (what a peer is in JSON); docs/configuration.md "Peers of a gateway".

import { createReadStream } from 'node:fs';
import { equalBytes } from '../../native/bytes.js';
import { manyAtOnce } from '../../gateway/at-once.js';
import { encodeRecord } from '../../gateway/stores/record-bytes.js';
import { ownRecord } from '../../gateway/stores/record.js';
import type { PeerStore } from '../../gateway/store.js';
import { BadValue, words } from '../../tunnel/config/config-values.js';
import { LineReader } from '../../tunnel/daemon/uapi/lines.js';
import { type SaidOfPeer, readNamedPeer } from '../../tunnel/peer-store/record-text.js';
import { CliError } from '../errors.js';
import { plural } from '../../tunnel/daemon/human.js';
import { type CliIo, printLine } from '../io.js';
import { unreadable } from '../trouble.js';
import { type PlaceOptions, peerProblem, tellDaemon, withStore } from './place.js';

/** With all that a record may hold. */
const MAX_LINE_BYTES = 256 * 1024;
/** So many lines share a wait for the disk: the daemon, which may want to write too, waits no longer than for these. */
const AT_ONCE = 5_000;
/** Of more bad lines only the number is said. */
const SHOWN = 10;
/** Columns that are numbers. */
const TIMES = new Set(['admittedAt', 'lastSeenAt', 'revokedAt']);

interface Line {
  /** From 1. */
  readonly number: number;
  readonly text: string;
}

/** What has become of the lines. */
interface Tally {
  added: number;
  changed: number;
  same: number;
  bad: number;
}

/** Takes in what a file says, or standard input. Throws `ERR_CLI_INPUT` when a line was bad; the others are in. */
export async function importPeers(
  io: CliIo,
  name: string,
  file: string | undefined,
  options: PlaceOptions,
): Promise<number> {
  const source = file === undefined || file === '-' ? undefined : file;
  const tally: Tally = { added: 0, changed: 0, same: 0, bad: 0 };
  const changed: Uint8Array[] = [];
  const complain = ({ number }: Line, error: unknown) => {
    const problem = problemOf(error);
    if (tally.bad++ < SHOWN)
      printLine(io.stderr, `wireonce: ${source ?? 'standard input'}, line ${number}: ${problem}`);
  };
  await withStore(name, options, true, async store => {
    const parse = newParser();
    const now = (options.now ?? Date.now)();
    await manyAtOnce(linesOf(io, source), AT_ONCE, async line => {
      try {
        const said = parse(line.text);
        if (!said) return;
        const what = await take(store, said, now);
        tally[what]++;
        if (what === 'changed') changed.push(said.publicKey);
      } catch (error) {
        complain(line, error);
      }
    });
  });
  await tellDaemon(name, options, changed);
  printLine(
    io.stdout,
    `${plural(tally.added, 'peer')} added, ${tally.changed} changed, ${tally.same} as before`,
  );
  if (io.signal.aborted) throw new CliError('ERR_CLI_INTERRUPTED', 'interrupted');
  if (tally.bad === 0) return 0;
  throw new CliError('ERR_CLI_INPUT', `${plural(tally.bad, 'line')} could not be taken`, {
    hints: ['mend them and import again: what is in already stays as it is'],
  });
}

/** What a line says is taken over; of what was seen of the peer the later stays. */
async function take(store: PeerStore, said: SaidOfPeer, now: number): Promise<Exclude<keyof Tally, 'bad'>> {
  let what: Exclude<keyof Tally, 'bad'> = 'added';
  await store.update(said.publicKey, known => {
    if (!known) return { admittedAt: now, lastSeenAt: 0, ...said };
    const merged = ownRecord(said.publicKey, {
      admittedAt: known.admittedAt,
      ...said,
      lastSeenAt: Math.max(known.lastSeenAt, said.lastSeenAt ?? 0),
      latestTimestamp: later(known.latestTimestamp, said.latestTimestamp),
    });
    what = equalBytes(encodeRecord(merged), encodeRecord(known)) ? 'same' : 'changed';
    return what === 'same' ? known : merged;
  });
  return what;
}

/** Of two timestamps: they are numbers, the high bytes first. */
function later(a: Uint8Array | undefined, b: Uint8Array | undefined): Uint8Array | undefined {
  return a && b ? (Buffer.compare(a, b) > 0 ? a : b) : (a ?? b);
}

/** The problem with a line. What is none of a line's is thrown. */
function problemOf(error: unknown): string {
  if (error instanceof BadValue) return error.message;
  if (error instanceof SyntaxError) return 'no JSON';
  const problem = peerProblem(error);
  if (problem === undefined) throw error;
  return problem;
}

/** Reads one line after the other: JSON when the first is, else values by commas, whose first line names the columns. */
function newParser(): (text: string) => SaidOfPeer | undefined {
  let columns: readonly string[] | undefined;
  let isJson: boolean | undefined;
  return text => {
    if (text.trim() === '' || text.startsWith('#')) return undefined;
    isJson ??= text.trimStart().startsWith('{');
    if (!isJson && !columns) requireColumns(text);
    if (isJson) return readNamedPeer(JSON.parse(text));
    const cells = cellsOf(text);
    if (columns) return readNamedPeer(fromCells(columns, cells));
    columns = cells;
    return undefined;
  };
}

/** Else a file of another form would be taken for one without peers. */
function requireColumns(text: string): void {
  const cells = cellsOf(text);
  if (['publicKey', 'allowedIps'].every(name => cells.includes(name))) return;
  throw new CliError(
    'ERR_CLI_INPUT',
    'line 1 names no columns: a file begins with publicKey,allowedIps or with {',
    {
      hints: ['a line for each: KEY,10.0.0.2/32 or {"publicKey":"KEY","allowedIps":["10.0.0.2/32"]}'],
    },
  );
}

function fromCells(columns: readonly string[], cells: readonly string[]): object {
  if (cells.length > columns.length)
    throw new BadValue(`${cells.length} values for ${columns.length} columns`);
  const values = columns.flatMap((name, i): [string, unknown][] => {
    const text = cells[i] ?? '';
    if (name === 'allowedIps') return [[name, words(text)]];
    if (text === '') return [];
    return [[name, TIMES.has(name) ? Number(text) : text]];
  });
  return Object.fromEntries(values);
}

/** RFC 4180, but that no value has a line break. */
function cellsOf(text: string): string[] {
  const cells = `,${text}`.matchAll(/,\s*(?:"((?:[^"]|"")*)"\s*|([^,]*))/g);
  return Array.from(cells, ([, quoted, bare]) => quoted?.replaceAll('""', '"') ?? bare.trim());
}

async function* linesOf(io: CliIo, file: string | undefined): AsyncGenerator<Line> {
  const reader = new LineReader(MAX_LINE_BYTES);
  let number = 0;
  const take = function* (): Generator<Line> {
    for (let line = reader.next(); line !== undefined; line = reader.next()) {
      number++;
      if (line === 'tooLong')
        throw new CliError(
          'ERR_CLI_INPUT',
          `line ${number} is longer than ${MAX_LINE_BYTES} bytes: these are no peers`,
        );
      yield { number, text: line.toString('utf8') };
    }
  };
  for await (const chunk of file === undefined ? io.stdin : readFile(file)) {
    if (io.signal.aborted) return;
    reader.push(Buffer.from(chunk as Uint8Array));
    yield* take();
  }
  if (reader.waiting === 0) return;
  reader.push(Buffer.from('\n'));
  yield* take();
}

async function* readFile(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path) as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw unreadable(path, error);
  }
}
