// The machine's clocks, as a device wants them.

import type { Clock } from '../sessions/ports.js';

export const systemClock: Clock = {
  now: () => performance.now(),
  wallClock: () => Date.now(),
};
