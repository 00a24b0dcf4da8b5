// A generator for this machine, with everything under it: sources of generations, the kernel's entropy, a clock. And what
// else in this process draws random numbers, TLS connections among it, healed along with it after a fork.

import { Crng, type CrngEvent } from '../../crng/crng.js';
import { hardwareEntropy, kernelEntropy } from '../../crng/entropy.js';
import type { Keystream } from '../../crng/keystream.js';
import type { OpenSslProbe } from '../../crng/openssl.js';
import type { VmGenId } from '../../vmgenid/driver.js';
import { systemClock } from '../clock.js';
import { settleAfterForks } from './settle-after-forks.js';

/** What a generator for this machine stands on. */
export interface OpenCrngOptions {
  /** Default: the best sources of this machine. One that is given stays the caller's to close. */
  readonly vmgenid?: VmGenId | undefined;
  /** The generator's cipher. Default: that of the fastest suite that loads. */
  readonly keystream?: Keystream | undefined;
  /** Hears of reseeds, of the barrier and of failures. */
  readonly onEvent?: ((event: CrngEvent) => void) | undefined;
  /** Seed OpenSSL anew after a fork, for all of this process; see `openSslHealing`. Default true. */
  readonly healOpenSsl?: boolean | undefined;
}

/** A generator that is open, and what it stands on. */
export interface OpenCrng {
  readonly crng: Crng;
  readonly vmgenid: VmGenId;
  /** How OpenSSL is healed, or why it is not. */
  readonly openssl: OpenSslProbe;
  /** Ends everything that was opened here. */
  close(): Promise<void>;
}

/** Opens sources and generator. Throws what they throw, with everything closed again. */
export async function openCrng(options: OpenCrngOptions = {}): Promise<OpenCrng> {
  const closers: (() => unknown)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    let { vmgenid } = options;
    if (!vmgenid) {
      // What is not asked for is not loaded: `wireonce genkey` runs for less time than that takes.
      vmgenid = await (await import('../../vmgenid/detect.js')).openVmGenId();
      closers.push(() => vmgenid?.close());
    }
    const { onEvent, keystream = await fastestKeystream() } = options;
    const entropy = kernelEntropy();
    closers.push(() => entropy.close());
    const { hardware } = hardwareEntropy();
    closers.push(() => hardware?.close());
    const crng = new Crng({ entropy, hardware, vmgenid, keystream, now: systemClock.now, onEvent });
    closers.push(() => crng.close());
    const openssl =
      options.healOpenSsl === false
        ? { reason: 'switched off by an option' }
        : (await import('../../crng/openssl.js')).openSslHealing({ vmgenid, crng, entropy });
    closers.push(() => openssl.healing?.close());
    if (hardware) closers.push(settleAfterForks(vmgenid, crng));
    return { crng, vmgenid, openssl, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function fastestKeystream(): Promise<Keystream> {
  const { fastestSuite } = await import('../../protocol/suites/fastest.js');
  const { keystreamOf } = await import('../../protocol/keystream.js');
  return keystreamOf(await fastestSuite());
}
