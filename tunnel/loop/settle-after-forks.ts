// Has a generator from which nobody draws find out, after a fork, what parts this clone.
// Promises: it looks until the generator is fresh, often at first; it keeps no process alive.
// Read on: crng/crng.ts `isFresh`; docs/architecture.md "The freshness barrier".

import type { Crng } from '../../crng/crng.js';
import { HARDWARE_RETRY_MS } from '../../crng/freshness.js';
import type { VmGenId } from '../../vmgenid/driver.js';

/** Once draws are refused, or go on without, nobody waits by the millisecond. */
const REFUSED_RETRY_MS = 1_000;

/**
 * A hardware generator gives a few bytes at a time and calls nobody: `crng` reads it when it is asked. Call where it has one;
 * returns the function that ends it.
 */
export function settleAfterForks(
  vmgenid: Pick<VmGenId, 'register'>,
  crng: Pick<Crng, 'isFresh' | 'freshness'>,
): () => void {
  let timer: NodeJS.Timeout | undefined;
  const look = () => {
    clearTimeout(timer);
    // Proceeding it is not: what draws give then may repeat in a sibling.
    if (crng.isFresh() && crng.freshness === 'fresh') return;
    timer = setTimeout(look, crng.freshness === 'waiting' ? HARDWARE_RETRY_MS : REFUSED_RETRY_MS).unref();
  };
  const unregister = vmgenid.register('application', look, { name: 'settle' });
  return () => {
    unregister();
    clearTimeout(timer);
  };
}
