// Drawing randomness where "not yet" is an answer: a fork may be noticed between the look and the draw.

import type { Randomness } from '../crng/randomness.js';

/** Fills `into` from the CRNG. False, with `into` zeroed, when it has to wait for entropy of this clone's own. */
export function draw(crng: Randomness, into: Uint8Array): boolean {
  try {
    crng.fill(into);
    return true;
  } catch {
    // The CRNG has said why, in its own events. Whatever the cause: without randomness there is no handshake.
    into.fill(0);
    return false;
  }
}

const four = new Uint8Array(4);

/** A number in [0, bound), not for secrets: 0 where the CRNG has to wait. */
export function drawJitter(crng: Randomness, bound: number): number {
  if (!draw(crng, four)) return 0;
  const word = new DataView(four.buffer).getUint32(0, true);
  return Math.floor((word / 2 ** 32) * bound);
}
