// Peers that have enrolled and were not seen for long leave the store, so that they do not count for ever. Revocations stay.

import { manyAtOnce } from './at-once.js';
import type { PeerRecord, PeerStore } from './store.js';

/** So many are removed with one wait for the disk. */
const AT_ONCE = 1_000;

/** Who goes. */
export interface ExpireOptions {
  /** Wall-clock milliseconds: who was last seen before, or admitted when never seen. */
  readonly before: number;
  /** True for one that stays, such as one that is connected now. */
  readonly spare?: (record: PeerRecord) => boolean;
  /** Those too that an operator added. */
  readonly added?: boolean;
}

/** Removes them and returns their public keys. Fails as the store does. */
export async function expirePeers(store: PeerStore, options: ExpireOptions): Promise<Uint8Array[]> {
  const { before, spare, added = false } = options;
  const isOver = (record: PeerRecord) =>
    record.revokedAt === undefined &&
    (added || record.enrolledUnder !== undefined) &&
    Math.max(record.admittedAt, record.lastSeenAt) < before &&
    !spare?.(record);
  const removed: Uint8Array[] = [];
  await manyAtOnce(store.list(), AT_ONCE, async record => {
    if (!isOver(record)) return;
    const { publicKey } = record;
    // Looked at again: it may have been seen since.
    const left = await store.update(publicKey, known => (known && isOver(known) ? undefined : known));
    if (!left) removed.push(publicKey);
  });
  return removed;
}
