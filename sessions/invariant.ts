// What the code around relies on. Broken, it is a fault of ours: better stopped than gone on from.

import { SessionError } from './errors.js';

/** Throws `ERR_INVARIANT` unless it holds. */
export function invariant(holds: boolean, what: string): asserts holds {
  if (!holds) throw new SessionError('ERR_INVARIANT', `broken: ${what}`);
}
