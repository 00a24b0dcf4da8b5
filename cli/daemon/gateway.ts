// A daemon as a gateway: the store is opened, who is admitted is decided with it, and now and then it forgets whom nobody sees.
// Promises: what was to be written is, when `close` has resolved; the secrets are erased.
// Read on: serve.ts; ../../gateway/admission.ts (the decision), log-gateway.ts (what is said of it).

import { GatewayAdmission } from '../../gateway/admission.js';
import { systemClock } from '../../tunnel/clock.js';
import type { GatewaySettings } from '../../tunnel/config/enrolment-config.js';
import { openPeerStore } from '../../tunnel/peer-store/open.js';
import type { Logger } from './log.js';
import { GatewayLog } from './log-gateway.js';

const SWEEP_MS = 3_600_000;

export interface OpenedGateway {
  readonly admission: GatewayAdmission;
  /** After the device's thread. */
  close(): Promise<void>;
}

/** `secrets`: copied. Rejects as `openPeerStore` does. */
export async function openGateway(
  settings: GatewaySettings,
  secrets: readonly Uint8Array[],
  logger: Logger,
): Promise<OpenedGateway> {
  const { prefix, maxPeers, expireAfterMs } = settings;
  const store = await openPeerStore(settings.store);
  const log = new GatewayLog(logger, systemClock.now);
  const admission = new GatewayAdmission({
    store,
    secrets,
    prefix,
    maxPeers,
    expireAfterMs,
    wallClock: systemClock.wallClock,
    after: (ms, callback) => {
      const timer = setTimeout(callback, ms).unref();
      return () => clearTimeout(timer);
    },
    onEvent: event => log.hear(event),
  });
  const sweep = () => {
    admission.sweep().catch((error: Error) => log.hear({ type: 'storeFailed', error }));
  };
  sweep();
  const sweeping = setInterval(sweep, SWEEP_MS).unref();
  return {
    admission,
    close: async () => {
      clearInterval(sweeping);
      await admission.close();
      await store.close();
    },
  };
}
