// What protects this machine against a clone of itself, in one phrase.

import type { Protection, SourceStatus } from '../../vmgenid/index.js';

/** Such as `delayed (kmsg)` or `none`. Names the sources that the protection stands on. */
export function describeProtection(
  protection: Protection,
  sources: readonly Pick<SourceStatus, 'name' | 'timing' | 'readable'>[],
): string {
  const names = sources.filter(({ timing, readable }) => readable && timing === protection).map(s => s.name);
  return names.length === 0 ? protection : `${protection} (${names.join(', ')})`;
}
