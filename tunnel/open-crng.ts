// A generator for this machine, with everything under it: sources of generations, the kernel's entropy, a clock.

import { Crng, type CrngEvent, hardwareEntropy, kernelEntropy } from '../crng/index.js';
import { type VmGenId, openVmGenId } from '../vmgenid/index.js';
import { systemClock } from './clock.js';

export interface OpenCrngOptions {
  /** Default: the best sources of this machine. One that is given stays the caller's to close. */
  readonly vmgenid?: VmGenId | undefined;
  readonly onEvent?: ((event: CrngEvent) => void) | undefined;
}

export interface OpenCrng {
  readonly crng: Crng;
  readonly vmgenid: VmGenId;
  /** Ends everything that was opened here. */
  close(): Promise<void>;
}

/** Opens sources and generator. Throws what they throw, with everything closed again. */
export async function openCrng(options: OpenCrngOptions = {}): Promise<OpenCrng> {
  const vmgenid = options.vmgenid ?? (await openVmGenId());
  const closeVmGenId = async () => {
    if (!options.vmgenid) await vmgenid.close();
  };
  try {
    const entropy = kernelEntropy();
    const { hardware } = hardwareEntropy();
    const { onEvent } = options;
    const crng = new Crng({ entropy, hardware, vmgenid, now: systemClock.now, ...(onEvent && { onEvent }) });
    return {
      crng,
      vmgenid,
      close: async () => {
        crng.close();
        hardware?.close();
        entropy.close();
        await closeVmGenId();
      },
    };
  } catch (error) {
    await closeVmGenId();
    throw error;
  }
}
