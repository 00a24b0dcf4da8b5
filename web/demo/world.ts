// What every scene has in common: random numbers that no machine of a story draws, the ciphers, the way to
// the peer.

import { Crng } from '../../crng/crng.js';
import { kernelEntropy } from '../../crng/entropy.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { systemClock } from '../../tunnel/clock.js';
import { VmGenId } from '../../vmgenid/driver.js';

export const suite = nobleSuite;
export const crng = new Crng({ entropy: kernelEntropy(), vmgenid: new VmGenId([]), now: systemClock.now });
/** Where this page is from, for WebSockets. */
export const origin = location.origin.replace(/^http/, 'ws');
