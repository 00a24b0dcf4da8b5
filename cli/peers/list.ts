// `wireonce peers list`: who may be a peer of a gateway, one line each, however many.
// Promises: no preshared key is shown that was not asked for; a slow reader costs no memory.
// Read on: tunnel/peer-store/record-text.ts.

import { once } from 'node:events';
import type { PeerRecord } from '../../gateway/store.js';
import { peerText, rangeText } from '../../tunnel/peer-store/record-text.js';
import { encodeKey } from '../../tunnel/keys.js';
import type { CliIo } from '../io.js';
import { type PlaceOptions, withStore } from './place.js';

export interface ListOptions extends PlaceOptions {
  readonly json?: boolean;
  /** Print them too, which `import` takes. */
  readonly presharedKeys?: boolean;
}

export async function listPeers(io: CliIo, name: string, options: ListOptions): Promise<number> {
  const { json = false, presharedKeys = false } = options;
  await withStore(name, options, false, async store => {
    const line = (record: PeerRecord) =>
      json ? JSON.stringify(peerText(record, presharedKeys)) : tableLine(record);
    if (!json) io.stdout.write(`${HEADER}\n`);
    for await (const record of store.list()) {
      if (io.signal.aborted) return;
      if (!io.stdout.write(`${line(record)}\n`)) await once(io.stdout, 'drain', { signal: io.signal });
    }
  });
  return 0;
}

const COLUMNS = [44, 8, 16];
const row = (cells: readonly string[]) => cells.map((cell, i) => cell.padEnd(COLUMNS[i] ?? 0)).join('  ');
const HEADER = row(['PEER', 'STATE', 'LAST SEEN (UTC)', 'ALLOWED IPS']);

function tableLine(record: PeerRecord): string {
  const { publicKey, enrolledUnder, revokedAt, lastSeenAt, allowedIps } = record;
  const state = revokedAt !== undefined ? 'revoked' : enrolledUnder === undefined ? 'added' : 'enrolled';
  const seen = lastSeenAt === 0 ? 'never' : new Date(lastSeenAt).toISOString().slice(0, 16).replace('T', ' ');
  return row([encodeKey(publicKey), state, seen, allowedIps.map(rangeText).join(', ')]).trimEnd();
}
