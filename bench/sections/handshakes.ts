// Handshakes between two devices in memory, both sides in one thread, against the X25519 that is in them.
// Promises: whole handshakes, from initiateHandshake to the confirmed session; six shared secrets and two public keys
// each (the static one is computed once per peer). Time runs by hand, past the limits on how often one may call.
// Read on: WireGuard paper 5.4; sessions/handshakes.ts.

import type { Suite } from '../../protocol/suite.js';
import { Pair } from '../machine.js';
import { type Candidate, type Effort, measure } from '../measure.js';
import { type Row, ratioRow } from '../row.js';

/** Above REKEY_TIMEOUT. Milliseconds. */
const STEP_MS = 6_000;
const SHARED_SECRETS = 6;
const PUBLIC_KEYS = 2;

export async function handshakeSection(suite: Suite, effort: Effort): Promise<Row[]> {
  let now = 0;
  const clock = { now: () => now, wallClock: () => 1_700_000_000_000 + now };
  const pair = new Pair(suite, { clock });
  const ours: Candidate = {
    run(times) {
      for (let i = 0; i < times; i++) {
        now += STEP_MS;
        pair.handshake();
      }
    },
  };
  const privateKey = new Uint8Array(32).fill(0x42);
  const publicKey = new Uint8Array(32);
  const out = new Uint8Array(32);
  suite.publicKey(privateKey, publicKey);
  const keyAgreement: Candidate = {
    run(times) {
      for (let i = 0; i < times; i++) {
        for (let n = 0; n < PUBLIC_KEYS; n++) suite.publicKey(privateKey, out);
        for (let n = 0; n < SHARED_SECRETS; n++) suite.sharedSecret(privateKey, publicKey, out);
      }
    },
  };
  const samples = measure([ours, keyAgreement], effort);
  await pair.close();
  return [
    ratioRow(
      {
        section: 'handshakes',
        name: 'one handshake, both sides',
        suite: suite.name,
        note: `${Math.round(1e9 / median(samples[0]))} per second`,
      },
      samples[0],
      { name: 'its X25519 alone', samples: samples[1] },
    ),
  ];
}

function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[samples.length >> 1];
}
