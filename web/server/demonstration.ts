// `wireonce demo --web`: the page, and the peer that it talks to, in one process.
// Promises: everything is closed when the signal comes, or when the server fails.

import { Crng } from '../../crng/crng.js';
import { kernelEntropy } from '../../crng/entropy.js';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import { systemClock } from '../../tunnel/clock.js';
import { VmGenId } from '../../vmgenid/driver.js';
import { Laboratory } from './laboratory.js';
import { type PageServer, type PageServerOptions, servePage } from './serve.js';

export interface Demonstration {
  readonly url: string;
  close(): Promise<void>;
}

/** Resolves when the page can be opened. Rejects as `servePage`. */
export async function serveDemonstration(
  options: Pick<PageServerOptions, 'port' | 'folder'> = {},
): Promise<Demonstration> {
  const entropy = kernelEntropy();
  const vmgenid = new VmGenId([]);
  const crng = new Crng({ entropy, vmgenid, now: systemClock.now });
  const laboratory = new Laboratory({ crng, vmgenid, suite: await fastestSuite() });
  let page: PageServer | undefined;
  const close = async () => {
    // First nobody comes any more; it resolves when the laboratory has closed what was open.
    const stopped = page?.close();
    await laboratory.close();
    await stopped;
    crng.close();
    entropy.close();
    await vmgenid.close();
  };
  try {
    page = await servePage({
      ...options,
      page: 'demo',
      upgrade: (request, socket, head) => laboratory.upgrade(request, socket, head),
    });
    return { url: page.url, close };
  } catch (error) {
    await close();
    throw error;
  }
}
