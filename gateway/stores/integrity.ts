// Whether all of a store is as it was written. Neither SQLite nor a disk looks for a bit that turned.
// Promises: a changed, lost or misplaced record or range is found, and one that would not be found by its key though it is there.
// Read on: totals.ts; tables.ts (why the order tells).

import { setImmediate as turn } from 'node:timers/promises';
import { isIntact } from './record-bytes.js';
import type { Sqlite } from './sqlite.js';
import type { Row, Table, Tables } from './tables.js';
import { NO_TOTALS, type Totals, addPeer, addRange, sameTotals } from './totals.js';

/** Rows that are looked at in one go: so long whoever writes may have to wait. */
const SLICE = 1_000;
/** So often it is begun anew because somebody wrote meanwhile, and then done in one go. */
const ATTEMPTS = 3;
/** Before the first key. */
const START = Uint8Array.of(0);

/** Looks through all of it. Throws `ERR_STORE_DAMAGED`. */
export async function requireIntact(sqlite: Sqlite, tables: Tables): Promise<void> {
  // What no row tells: a page that counts as free, and is in use.
  const [{ quick_check: said }] = sqlite.prepare('PRAGMA quick_check(1)').all() as [{ quick_check: string }];
  if (said !== 'ok') throw sqlite.damaged(said.replaceAll(/\s+/g, ' '));
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const version = tables.version();
    const found = { ...NO_TOTALS };
    for (const _ of lookThrough(sqlite, tables, found)) await turn();
    if (sameTotals(found, tables.totals())) return;
    if (tables.version() === version) throw sqlite.damaged('records are missing');
  }
  sqlite.transaction(() => {
    const found = { ...NO_TOTALS };
    for (const _ of lookThrough(sqlite, tables, found));
    if (!sameTotals(found, tables.totals())) throw sqlite.damaged('records are missing');
  });
}

/** Adds up what is there. */
function* lookThrough(sqlite: Sqlite, tables: Tables, found: Totals): Generator<void> {
  for (const rows of inOrder(sqlite, tables.peers)) {
    for (const { key, value } of rows) {
      if (!isIntact(key, value)) throw sqlite.damaged('a record has changed');
      addPeer(found, value, 1);
    }
    yield;
  }
  for (const rows of inOrder(sqlite, tables.ranges)) {
    for (const { key, value } of rows) addRange(found, key, value, 1);
    yield;
  }
}

/** Throws when a key does not follow the one before. */
function* inOrder(sqlite: Sqlite, table: Table): Generator<readonly Row[]> {
  let last: Uint8Array = START;
  for (;;) {
    const rows = table.page(last, SLICE);
    for (const { key } of rows) {
      if (Buffer.compare(last, key) >= 0) throw sqlite.damaged('its records are out of order');
      last = key;
    }
    if (rows.length > 0) yield rows;
    if (rows.length < SLICE) return;
  }
}
