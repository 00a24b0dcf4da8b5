// Control, in place of sessions/release.js: the generation is checked before a batch is sealed, and not after it.

import type * as Release from '../../../../sessions/release.js';
import type { ForkGuard } from '../../../../vmgenid/driver.js';

const beside: string = './release.original.js';
const original: typeof Release = await import(beside);

export class ReleaseGate extends original.ReleaseGate {
  constructor(options: Release.ReleaseOptions) {
    const { vmgenid } = options;
    // What was read when the batch began is believed until the next one.
    const before: ForkGuard = Object.create(vmgenid, {
      check: { value: () => vmgenid.epoch },
      poll: { value: () => vmgenid.epoch },
    });
    super({ ...options, vmgenid: before });
  }
}
