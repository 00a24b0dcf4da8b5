// What a daemon tells the host that waits at its hook: how far device and process have come after a fork.
// Promises: it is one moment of one epoch; what does not belong to that epoch is missing.
// Read on: vmgenid/sources/hook-readiness.ts (what becomes of it); docs/configuration.md "Waiting until all is there".

import type { OpenSslProbe } from '../../crng/openssl.js';
import type { HookReporter } from '../../vmgenid/sources/hook-readiness.js';
import type { RecoveryReport } from '../linux/device-loop.js';

export interface ReportingDaemon {
  /** Of the device: `DeviceThread.recovery`. */
  readonly recovery: () => Promise<RecoveryReport>;
  readonly openssl: OpenSslProbe;
}

/** `daemon`: undefined while it starts; until then nothing is ready. */
export function hookReporter(daemon: () => ReportingDaemon | undefined): HookReporter {
  return async () => {
    const parts = daemon();
    if (!parts) throw new Error('the daemon has not started');
    const { epoch, isVouched, isParted, isHeld, publicKey, called, back } = await parts.recovery();
    const { healing } = parts.openssl;
    // Where OpenSSL cannot be reached nobody waits for it, and it is not said to be healed.
    const opensslHealed = healing ? healing.seeding.epoch === epoch && healing.seeding.parted : null;
    const missing: [name: string, isMissing: boolean][] = [
      ['generation', !isVouched],
      ['opensslHealed', opensslHealed === false],
      ['publicKey', isHeld],
      ['peers', back < called],
    ];
    return {
      epoch,
      parted: isParted,
      says: { opensslHealed, publicKey: isHeld ? null : publicKey, peers: { called, back } },
      missing: missing.filter(([, isMissing]) => isMissing).map(([name]) => name),
    };
  };
}
