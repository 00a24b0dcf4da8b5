// The tables of a store, and each statement that is made on them.
// Promises: a table is a tree of its rows alone, in the order of its keys: who has seen all of them, in order, knows that each
// will be found.
// Read on: file.ts; sqlite.org/withoutrowid.html.

import type { Sqlite, Statement } from './sqlite.js';
import { APPLICATION_ID, FORMAT } from './place.js';
import { NO_TOTALS, type Totals, decodeTotals, encodeTotals } from './totals.js';

/** Records by key, owners by range, and one row of totals. */
const NAMES = ['peers', 'ranges', 'totals'] as const;
const schemaOf = (name: string) => `CREATE TABLE ${name} (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID`;
/** Of a length in a piece. */
const DIGITS = 8;
const TOTALS_KEY = Uint8Array.of(1);

export interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export class Table {
  readonly #sqlite: Sqlite;
  readonly #get: Statement;
  readonly #put: Statement;
  readonly #remove: Statement;
  readonly #page: Statement;

  constructor(sqlite: Sqlite, name: (typeof NAMES)[number]) {
    this.#sqlite = sqlite;
    this.#get = sqlite.prepare(`SELECT value FROM ${name} WHERE key = ?`);
    this.#put = sqlite.prepare(`INSERT OR REPLACE INTO ${name} VALUES (?, ?)`);
    this.#remove = sqlite.prepare(`DELETE FROM ${name} WHERE key = ?`);
    this.#page = sqlite.prepare(
      `SELECT min(typeof(key) = 'blob' AND typeof(value) = 'blob') AS sound,
        CAST(group_concat(printf('%08x%08x', length(key), length(value)) || key || value, '') AS BLOB) AS rows
      FROM (SELECT key, value FROM ${name} WHERE key > ? ORDER BY key LIMIT ?)`,
    );
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return (this.#get.get(key) as { value: Uint8Array } | undefined)?.value;
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#put.run(key, value);
  }

  remove(key: Uint8Array): void {
    this.#remove.run(key);
  }

  /** The next rows behind a key, in order. They come as one piece: a value of its own for each costs more than it. */
  page(after: Uint8Array, limit: number): Row[] {
    const { sound, rows } = this.#page.get(after, limit) as { sound: number | null; rows: Uint8Array | null };
    if (rows === null) return [];
    const found = sound === 1 ? cut(rows) : undefined;
    if (!found) throw this.#sqlite.damaged('a row is of no bytes');
    return found;
  }
}

/** The rows in a piece, each with the lengths of its key and value before it; `undefined` when it does not end with one. */
function cut(piece: Uint8Array): Row[] | undefined {
  const rows: Row[] = [];
  let at = 0;
  while (at + 2 * DIGITS <= piece.length) {
    const keyLength = hexadecimal(piece, at);
    const valueLength = hexadecimal(piece, at + DIGITS);
    const key = piece.subarray((at += 2 * DIGITS), (at += keyLength));
    rows.push({ key, value: piece.subarray(at, (at += valueLength)) });
  }
  return at === piece.length ? rows : undefined;
}

function hexadecimal(piece: Uint8Array, at: number): number {
  let number = 0;
  for (let i = at; i < at + DIGITS; i++)
    number = 16 * number + (piece[i] <= 0x39 ? piece[i] - 0x30 : piece[i] - 0x57);
  return number;
}

export class Tables {
  readonly peers: Table;
  readonly ranges: Table;
  readonly #totals: Table;
  readonly #sqlite: Sqlite;

  /** Makes them where there are none. Throws `ERR_STORE_DAMAGED` where they are others. */
  constructor(sqlite: Sqlite) {
    const schema = sqlite.prepare('SELECT sql FROM sqlite_schema ORDER BY rowid');
    const texts = () => schema.all().map(row => (row as { sql: unknown }).sql);
    if (texts().length === 0) {
      // Without a log: so the file is none of ours, or all of it is.
      sqlite.transaction(() => {
        // Of two that come to make them, the second finds them made.
        if (texts().length > 0) return;
        for (const name of NAMES) sqlite.exec(schemaOf(name));
        sqlite.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
        sqlite.exec(`PRAGMA user_version = ${FORMAT}`);
        new Table(sqlite, 'totals').put(TOTALS_KEY, encodeTotals(NO_TOTALS));
      });
    }
    if (texts().join() !== NAMES.map(schemaOf).join()) throw sqlite.damaged('its tables are others');
    sqlite.useLog();
    this.#sqlite = sqlite;
    this.peers = new Table(sqlite, 'peers');
    this.ranges = new Table(sqlite, 'ranges');
    this.#totals = new Table(sqlite, 'totals');
  }

  /** Throws `ERR_STORE_DAMAGED`. */
  totals(): Totals {
    const bytes = this.#totals.get(TOTALS_KEY);
    const totals = bytes && decodeTotals(bytes);
    if (!totals) throw this.#sqlite.damaged('its totals cannot be read');
    return totals;
  }

  setTotals(totals: Totals): void {
    this.#totals.put(TOTALS_KEY, encodeTotals(totals));
  }
}
