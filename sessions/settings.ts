// What an operator decides about a device: one record, carried whole from file, environment or flags to the device.
// Promises: what is absent, or undefined, has its default, and that stands here.
// Read on: device.ts; tunnel/config/daemon-config.ts (the same in words).

import type { ForkPolicy } from './events.js';

/** What of a device can be set while it runs. */
export interface DeviceSettings {
  /** Default `wipe`. */
  readonly forkPolicy?: ForkPolicy | undefined;
  /** Refuse to exist below `protection: immediate`. Default false. */
  readonly strict?: boolean | undefined;
  /**
   * Hold every sealed datagram for so many milliseconds and check again: closes the window of a delayed source, if
   * longer than its delay. Default 0.
   */
  readonly holdBackMs?: number | undefined;
  /**
   * Notice a peer that was cloned, by a counter that it uses twice. Takes 4 bytes for each counter received under a
   * keypair, at most 32 KiB. Default true.
   */
  readonly tripwire?: boolean | undefined;
}

/** With nothing left open. */
export type SettledSettings = { readonly [K in keyof DeviceSettings]-?: NonNullable<DeviceSettings[K]> };

export function settle(settings: DeviceSettings): SettledSettings {
  const { forkPolicy = 'wipe', strict = false, holdBackMs = 0, tripwire = true } = settings;
  return { forkPolicy, strict, holdBackMs, tripwire };
}
