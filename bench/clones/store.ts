// A store with very many peers, as a gateway of a large platform has.

import { createHash } from 'node:crypto';
import { deriveAddress } from '../../gateway/derive.js';
import type { PeerStore } from '../../gateway/store.js';
import { openPeerStore } from '../../tunnel/peer-store/open.js';

const AT_A_TIME = 20_000;
/** Another than that of the clones: a store knows nothing of who will call. */
const PREFIX = Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 1);

export async function fill(path: string, count: number): Promise<void> {
  const store = (await openPeerStore(path)) as PeerStore;
  try {
    for (let at = 0; at < count; at += AT_A_TIME) {
      const batch = Array.from({ length: Math.min(AT_A_TIME, count - at) }, (_, i) => {
        const publicKey = new Uint8Array(
          createHash('sha256')
            .update(`peer ${at + i}`)
            .digest(),
        );
        const record = {
          publicKey,
          allowedIps: [{ ip: deriveAddress(PREFIX, publicKey), prefix: 128 }],
          enrolledUnder: '0123456789abcdef',
          admittedAt: Date.now(),
          lastSeenAt: Date.now(),
        };
        return store.update(publicKey, () => record);
      });
      await Promise.all(batch);
    }
  } finally {
    await store.close();
  }
}
