// Initiations as strangers send them, who know the public key of a daemon and nothing else.
// Read on: sender.ts, who sends them; test/system/daemon/gateway-flood.test.ts.

import { randomFillSync } from 'node:crypto';
import { HANDSHAKE_INITIATION, INITIATION_BYTES } from '../../../protocol/constants.js';
import { mac1Key, writeMac1 } from '../../../protocol/cookie.js';
import { createInitiation } from '../../../protocol/handshake.js';
import { KEY_BYTES, MAC_BYTES, type Suite } from '../../../protocol/suite.js';
import { tai64n } from '../../../protocol/tai64n.js';

/**
 * `refused`: with a mac1 that is wrong, which costs least. `made-up`: with a true one, and nothing true behind it. `strangers`:
 * true in all, each of a static key of its own, which nobody knows: a gateway has to look it up.
 */
export const FLOODS = ['refused', 'made-up', 'strangers'] as const;
export type Flood = (typeof FLOODS)[number];

/** To a daemon with this public key (32 bytes); 148 bytes each. Of strangers one takes a tenth of a millisecond. */
export function makeInitiations(
  flood: Flood,
  suite: Suite,
  publicKey: Uint8Array,
  count: number,
): Uint8Array[] {
  const key = mac1Key(suite, publicKey);
  return Array.from({ length: count }, () => {
    const message = flood === 'strangers' ? initiationOfStranger(suite, publicKey) : madeUp();
    writeMac1(suite, key, message);
    if (flood === 'refused') message[INITIATION_BYTES - MAC_BYTES - 1] ^= 1;
    return message;
  });
}

function madeUp(): Uint8Array {
  const message = randomFillSync(new Uint8Array(INITIATION_BYTES));
  message.set([HANDSHAKE_INITIATION, 0, 0, 0]);
  return message.fill(0, INITIATION_BYTES - MAC_BYTES);
}

function initiationOfStranger(suite: Suite, publicKey: Uint8Array): Uint8Array {
  const message = new Uint8Array(INITIATION_BYTES);
  const local = {
    privateKey: randomFillSync(new Uint8Array(KEY_BYTES)),
    publicKey: new Uint8Array(KEY_BYTES),
  };
  suite.publicKey(local.privateKey, local.publicKey);
  const staticShared = new Uint8Array(KEY_BYTES);
  suite.sharedSecret(local.privateKey, publicKey, staticShared);
  const input = {
    ephemeralPrivate: randomFillSync(new Uint8Array(KEY_BYTES)),
    senderIndex: randomFillSync(new Uint32Array(1))[0],
    timestamp: tai64n(Date.now()),
  };
  const remote = { publicKey, staticShared, presharedKey: new Uint8Array(KEY_BYTES) };
  createInitiation(suite, local, remote, input, message);
  return message;
}
