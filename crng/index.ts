// wireonce/crng: random numbers that do not repeat after a fork.

export { Crng, type CrngEvent, type CrngOptions, type ReseedReason, reseedIntervalMs } from './crng.js';
export {
  type DeviceFiles,
  type EntropyDeviceOptions,
  type EntropySource,
  type FileStats,
  type HardwareEntropy,
  type HardwareProbe,
  hardwareEntropy,
  kernelEntropy,
} from './entropy.js';
export { CrngError, type CrngErrorCode } from './errors.js';
export {
  FRESHNESS_TIMEOUT_MS,
  type Freshness,
  type FreshnessFact,
  type NotFreshPolicy,
} from './freshness.js';
export { type Keystream, nobleKeystream } from './keystream.js';
export {
  flushOpenSslCaches,
  followOpenSslHealing,
  type OpenSslHealing,
  type OpenSslHealingOptions,
  type OpenSslProbe,
  type OpenSslSeeding,
  openSslHealing,
} from './openssl.js';
export type { Randomness } from './randomness.js';
