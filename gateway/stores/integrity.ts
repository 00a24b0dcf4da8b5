// Whether all of a store is as it was written. Neither SQLite nor a disk looks for a bit that turned.
// Promises: a changed, lost or misplaced record or range is found, and one that would not be found by its key though it is there.
// Read on: totals.ts; tables.ts (why the order tells).

import { setImmediate as turn } from 'node:timers/promises';
import { isIntact } from './record-bytes.js';
import type { Sqlite } from './sqlite.js';
import type { Row, Table, Tables } from './tables.js';
import { NO_TOTALS, type Totals, addPeer, addRange, sameTotals } from './totals.js';

/** So many rows are looked at in one go. */
const SLICE = 1_000;
/** Before the first key. */
const START = Uint8Array.of(0);

/** Looks through all of it. Throws `ERR_STORE_DAMAGED`. */
export async function requireIntact(sqlite: Sqlite, tables: Tables): Promise<void> {
  // What no row tells: a page that counts as free, and is in use.
  const [{ quick_check: said }] = sqlite.prepare('PRAGMA quick_check(1)').all() as [{ quick_check: string }];
  if (said !== 'ok') throw sqlite.damaged(said.replaceAll(/\s+/g, ' '));
  await sqlite.snapshot(async () => {
    const found: Totals = { ...NO_TOTALS };
    await eachRow(sqlite, tables.peers, ({ key, value }) => {
      if (!isIntact(key, value)) throw sqlite.damaged('a record has changed');
      addPeer(found, value, 1);
    });
    await eachRow(sqlite, tables.ranges, ({ key, value }) => addRange(found, key, value, 1));
    if (!sameTotals(found, tables.totals())) throw sqlite.damaged('records are missing');
  });
}

/** Throws when a key does not follow the one before. */
async function eachRow(sqlite: Sqlite, table: Table, look: (row: Row) => void): Promise<void> {
  let last: Uint8Array = START;
  for (;;) {
    const rows = table.page(last, SLICE);
    for (const row of rows) {
      if (Buffer.compare(last, row.key) >= 0) throw sqlite.damaged('its records are out of order');
      look(row);
      last = row.key;
    }
    if (rows.length < SLICE) return;
    await turn();
  }
}
