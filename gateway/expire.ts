// Peers that were not seen for long leave the store, so that they do not count for ever. Revocations stay.

import type { PeerRecord, PeerStore } from './store.js';

/** So many are removed with one wait for the disk. */
const AT_ONCE = 1_000;

export interface ExpireOptions {
  /** Wall-clock milliseconds: who was last seen before, or admitted when never seen. */
  readonly before: number;
  /** True for one that stays, such as one that is connected now. */
  readonly spare?: (record: PeerRecord) => boolean;
}

/** Removes them and returns their public keys. Fails as the store does. */
export async function expirePeers(store: PeerStore, options: ExpireOptions): Promise<Uint8Array[]> {
  const { before, spare } = options;
  const isOver = (record: PeerRecord) =>
    record.revokedAt === undefined &&
    Math.max(record.admittedAt, record.lastSeenAt) < before &&
    !spare?.(record);
  const removed: Uint8Array[] = [];
  let removals: Promise<void>[] = [];
  for await (const { publicKey } of over(store, isOver)) {
    removals.push(
      // Looked at again: it may have been seen since.
      store
        .update(publicKey, known => (known && isOver(known) ? undefined : known))
        .then(left => {
          if (!left) removed.push(publicKey);
        }),
    );
    if (removals.length < AT_ONCE) continue;
    await Promise.all(removals);
    removals = [];
  }
  await Promise.all(removals);
  return removed;
}

async function* over(store: PeerStore, isOver: (record: PeerRecord) => boolean): AsyncGenerator<PeerRecord> {
  for await (const record of store.list()) if (isOver(record)) yield record;
}
