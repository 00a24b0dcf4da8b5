// Control, in place of crng/freshness.js: random numbers are drawn after a fork as if nothing had to part the clones.

import type * as FreshnessModule from '../../../../crng/freshness.js';

const beside: string = './freshness.original.js';
const original: typeof FreshnessModule = await import(beside);

export class FreshnessBarrier extends original.FreshnessBarrier {
  override state(): FreshnessModule.Freshness {
    return 'fresh';
  }
}
