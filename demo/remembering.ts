// A suite that computes each exchange of keys once. Clones replay what their parent has computed: that takes
// time, and shows nothing.
// Promises: the same bytes as without it. For simulations alone, as it keeps secrets in the engine's heap.

import type { Suite } from '../protocol/suite.js';

export function remembering(suite: Suite): Suite {
  const publicKeys = new Map<string, Uint8Array>();
  const secrets = new Map<string, Uint8Array | undefined>();
  const publicKey: Suite['publicKey'] = (privateKey, out) => {
    const name = privateKey.join();
    const known = publicKeys.get(name);
    if (known) return out.set(known);
    suite.publicKey(privateKey, out);
    publicKeys.set(name, new Uint8Array(out));
  };
  const sharedSecret: Suite['sharedSecret'] = (privateKey, theirs, out) => {
    const name = `${privateKey.join()}/${theirs.join()}`;
    if (!secrets.has(name))
      secrets.set(name, suite.sharedSecret(privateKey, theirs, out) ? new Uint8Array(out) : undefined);
    const secret = secrets.get(name);
    out.set(secret ?? new Uint8Array(out.length));
    return secret !== undefined;
  };
  return { ...suite, publicKey, sharedSecret };
}
