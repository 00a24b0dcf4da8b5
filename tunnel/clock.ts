// The machine's clocks, as a device wants them.

import type { Clock } from '../sessions/ports.js';

/** The machine's clocks. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallClock: () => Date.now(),
};
