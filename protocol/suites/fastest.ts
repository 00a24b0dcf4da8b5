// The fastest suite that loads here. All suites make the same bytes, so the choice is one of speed alone.

import type { Suite } from '../suite.js';
import { nobleSuite } from './noble.js';
import { loadSodiumSuite } from './sodium.js';

/** Sodium where its native code loads, else noble. Never fails. */
export async function fastestSuite(): Promise<Suite> {
  return (await loadSodiumSuite()) ?? nobleSuite;
}
