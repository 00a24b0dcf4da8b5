// How a suite over a native library is offered: loaded through koffi, tested, and left out where any of it fails.
// Promises: never throws. Runs everywhere: where there is no koffi there is no suite.

import type { Koffi, LoadedKoffi } from '../../native/koffi.js';
import type { Suite } from '../suite.js';
import { passesSelfTest } from './self-test.js';

let bridge: Promise<LoadedKoffi> | undefined;

/** Resolves to what `make` makes, or `undefined` where koffi does not load, `make` throws or the self-test fails. */
export async function offerNativeSuite(make: (koffi: Koffi) => Suite): Promise<Suite | undefined> {
  try {
    bridge ??= loadBridge();
    const { koffi } = await bridge;
    if (!koffi) return undefined;
    const suite = make(koffi);
    return passesSelfTest(suite) ? suite : undefined;
  } catch {
    return undefined;
  }
}

async function loadBridge(): Promise<LoadedKoffi> {
  // A name that compilers and bundlers do not follow: what it loads is there in Node alone.
  const name: string = '../../native/koffi.js';
  const module = (await import(/* @vite-ignore */ name)) as { loadKoffi(): LoadedKoffi };
  return module.loadKoffi();
}
