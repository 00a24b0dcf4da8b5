// Intel's multi-buffer library, where Debian's libipsec-mb1 or libipsec-mb2 is installed: many messages by one call, the
// fastest cipher found so far on processors with AVX-512. It has the cipher alone; all else stays with noble.
// Promises: offered only after it has passed the self-test, alone and in batches; it keeps no key beyond a batch.
// Read on: ipsec-mb/engine.ts; docs/performance.md.

import type { Koffi } from '../../native/koffi.js';
import type { Suite } from '../suite.js';
import { ArrayAddresses, MemoryAddresses } from './addresses.js';
import { BurstOpener, BurstSealer } from './ipsec-mb/batches.js';
import { Engine } from './ipsec-mb/engine.js';
import { bindIpsecMb } from './ipsec-mb/library.js';
import { offerNativeSuite } from './native-suite.js';
import { nobleSuite } from './noble.js';

let loaded: Promise<Suite | undefined> | undefined;

/** One suite, with managers of its own, for each thread. Resolves to `undefined` where there is no such library. */
export function loadIpsecMbSuite(): Promise<Suite | undefined> {
  loaded ??= offerNativeSuite(ipsecMbSuite);
  return loaded;
}

function ipsecMbSuite(koffi: Koffi): Suite {
  const library = bindIpsecMb(koffi);
  const sealing = new Engine(koffi, library, true);
  const opening = new Engine(koffi, library, false);
  const addresses = { buffers: new ArrayAddresses(koffi), memory: new MemoryAddresses(koffi) };
  const one = {
    sealer: new BurstSealer(sealing, addresses),
    opener: new BurstOpener(opening, addresses),
  };
  return {
    ...nobleSuite,
    name: 'ipsec-mb',
    seal(key, low, high, buffer, offset, length, aad) {
      one.sealer.seal(key, low, high, buffer, offset, length, aad);
      one.sealer.settle();
    },
    open(key, low, high, buffer, offset, length, aad) {
      const place = one.opener.open(key, low, high, buffer, offset, length, aad);
      one.opener.settle();
      return one.opener.isOpened(place);
    },
    sealer: () => new BurstSealer(sealing, addresses),
    opener: () => new BurstOpener(opening, addresses),
    forget() {
      sealing.settle();
      opening.settle();
    },
  };
}
