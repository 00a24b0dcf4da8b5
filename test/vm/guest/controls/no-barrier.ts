// Control, in place of crng/freshness.js: random numbers are drawn after a fork as if nothing had to part the clones.

import type * as FreshnessModule from '../../../../crng/freshness.js';

const beside: string = './freshness.original.js';
const original: typeof FreshnessModule = await import(beside);

export const { FRESHNESS_TIMEOUT_MS, HARDWARE_FACT_BYTES, HARDWARE_RETRY_MS } = original;

export class FreshnessBarrier extends original.FreshnessBarrier {
  override state(): FreshnessModule.Freshness {
    return 'fresh';
  }
}
