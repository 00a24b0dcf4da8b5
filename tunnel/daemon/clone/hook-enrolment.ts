// A clone and the call of the hook: what the call brings is the clone's identity, and the answer names it.
// Promises: an identity is brought only where it is waited for; it is given to the key of that call's epoch, or to none.
// Read on: clone.ts; vmgenid/sources/hook.ts (the call); docs/configuration.md "The hook".

import type { HookEnrolment } from '../../../vmgenid/sources/hook.js';
import { formatPrefix } from '../../config/config.js';
import type { CloneSettings } from '../../config/enrolment-config.js';
import { type ResolveEndpoints, parseBroughtIdentity, toldIdentity } from '../../config/told-identity.js';
import { encodeKey } from '../../keys.js';
import type { Clone } from './clone.js';

/** `clone`: resolves when its device can be told, and a call waits until then. */
export function hookEnrolment(
  method: CloneSettings['method']['kind'],
  clone: Promise<Clone>,
  resolve: ResolveEndpoints,
): HookEnrolment {
  return given => {
    if (given !== undefined && method !== 'hook')
      throw new Error('identity: this clone is told none, without Enrol = hook');
    const brought = given === undefined ? undefined : parseBroughtIdentity(given);
    return async epoch => {
      const own = await clone;
      if (brought) {
        const told = await toldIdentity(brought.config, resolve);
        if (brought.privateKey) await own.become(epoch, brought.privateKey, told);
        else own.bring(epoch, told);
      }
      const { publicKey, addresses } = await own.enrolledIn(epoch);
      return { publicKey: encodeKey(publicKey), addresses: addresses.map(formatPrefix) };
    };
  };
}
