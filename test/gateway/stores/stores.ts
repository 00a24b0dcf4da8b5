// Stores to test, each empty at first, and the peers that are put there.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PeerRecord, PeerStore } from '../../../gateway/store.js';
import { FilePeerStore } from '../../../gateway/stores/file.js';
import { MemoryPeerStore } from '../../../gateway/stores/memory.js';

export interface StoreKind {
  readonly name: string;
  /** Whether it is there again when it was closed. */
  readonly lasts: boolean;
  /** `place` is a file of the test's own. */
  readonly open: (place: string) => Promise<PeerStore>;
}

export const STORES: readonly StoreKind[] = [
  { name: 'in memory', lasts: false, open: async () => new MemoryPeerStore() },
  { name: 'in a file', lasts: true, open: place => FilePeerStore.open(place) },
];

/** Runs with a folder that is removed afterwards. */
export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'wireonce-store-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A key that is told from others by a number below 2^32. */
export function keyOf(n: number): Uint8Array {
  const key = new Uint8Array(32);
  new DataView(key.buffer).setUint32(0, Math.imul(n, 2_654_435_761));
  return key;
}

/** `fd00::n`, which no other has. */
export function addressOf(n: number): { readonly ip: Uint8Array; readonly prefix: number } {
  const ip = new Uint8Array(16);
  ip[0] = 0xfd;
  new DataView(ip.buffer).setUint32(12, n);
  return { ip, prefix: 128 };
}

export function peer(n: number, more: Partial<PeerRecord> = {}): PeerRecord {
  return {
    publicKey: keyOf(n),
    allowedIps: [addressOf(n)],
    admittedAt: 1_700_000_000_000 + n,
    lastSeenAt: 0,
    ...more,
  };
}

export function put(store: PeerStore, record: PeerRecord): Promise<PeerRecord | undefined> {
  return store.update(record.publicKey, () => record);
}

export async function listed(store: PeerStore): Promise<PeerRecord[]> {
  const records: PeerRecord[] = [];
  for await (const record of store.list()) records.push(record);
  return records.toSorted((a, b) => Buffer.compare(a.publicKey, b.publicKey));
}
