// How much memory this process holds, once what is garbage is gone.
// Promises: true figures where the engine was started with --expose-gc, as main.ts does; else garbage is counted too.

/** Enough for the engine's helper threads to sweep half a gigabyte. */
const SWEEP_MS = 500;

export async function collectGarbage(): Promise<void> {
  // Twice: what buffers held is accounted for only in the round after the one that found them dead.
  for (let round = 0; round < 2; round++) {
    globalThis.gc?.();
    await new Promise(resolve => setTimeout(resolve, SWEEP_MS));
  }
}

export function memory(): { resident: number; heapAndBuffers: number } {
  // Shared memory is counted among what is external.
  const { rss, heapUsed, external } = process.memoryUsage();
  return { resident: rss, heapAndBuffers: heapUsed + external };
}
