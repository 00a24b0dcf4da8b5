// What is said where a scene cannot go on.

import { useEffect } from 'preact/hooks';
import { announce } from '../ui/live.js';
import { Verdict } from '../ui/show.js';

/** `then`: what to do about it. */
export function Failure({ why, then }: { readonly why: string | undefined; readonly then: string }) {
  useEffect(() => {
    if (why !== undefined) announce(`This went wrong: ${why}. ${then}`);
  }, [why, then]);
  return why === undefined ? null : (
    <Verdict tone="harm">
      This went wrong: {why}. {then}
    </Verdict>
  );
}
