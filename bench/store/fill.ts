// A store with very many peers, as the gateway of a large platform has.

import { createHash } from 'node:crypto';
import type { PeerRecord } from '../../gateway/store.js';
import { FilePeerStore } from '../../gateway/stores/file.js';

const AT_A_TIME = 5_000;

/** The key of one of them, the same each time, without order, as keys are. */
export function keyOfPeer(n: number): Uint8Array {
  return new Uint8Array(createHash('sha256').update(`peer ${n}`).digest());
}

export function peerOf(n: number): PeerRecord {
  const publicKey = keyOfPeer(n);
  const ip = Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 1, ...publicKey.subarray(0, 8));
  const at = 1_700_000_000_000 + n;
  const latestTimestamp = publicKey.slice(20);
  return {
    publicKey,
    allowedIps: [{ ip, prefix: 128 }],
    enrolledUnder: '0123456789abcdef',
    admittedAt: at,
    lastSeenAt: at,
    latestTimestamp,
  };
}

export async function fillStore(path: string, peers: number): Promise<void> {
  const store = await FilePeerStore.open(path);
  try {
    for (let at = 0; at < peers; at += AT_A_TIME) {
      const numbers = Array.from({ length: Math.min(AT_A_TIME, peers - at) }, (_, i) => at + i);
      await Promise.all(numbers.map(n => store.update(keyOfPeer(n), () => peerOf(n))));
    }
  } finally {
    await store.close();
  }
}
