// Stands in for protocol/suites/fastest.js in a copy of the program: each secret that passes the suite is written to a file.
// Promises: leaves no copy of any in the process: it passes through one array off the heap, which is erased.
// Read on: ../recording-program.ts, which makes the copy and reads the file.

import { openSync, writeSync } from 'node:fs';
import { suiteNamed as unwatched } from './fastest-unwatched.js';

export * from './fastest-unwatched.js';

const file = openSync(process.env.WIREONCE_TEST_SECRETS, 'a', 0o600);
/** What it is, and the secret. */
const record = new Uint8Array(new ArrayBuffer(1 + 32));

export function note(kind, secret) {
  record[0] = kind.charCodeAt(0);
  record.set(secret, 1);
  writeSync(file, record);
  record.fill(0);
}

export async function suiteNamed(name, choice) {
  const suite = await unwatched(name, choice);
  const keyed = call => (key, ...rest) => {
    note('cipher key', key);
    return call(key, ...rest);
  };
  return {
    ...suite,
    seal: keyed(suite.seal),
    open: keyed(suite.open),
    ...(suite.sealer && {
      sealer: () => {
        const sealer = suite.sealer();
        return { seal: keyed(sealer.seal.bind(sealer)), settle: () => sealer.settle() };
      },
    }),
    ...(suite.opener && {
      opener: () => {
        const opener = suite.opener();
        return {
          capacity: opener.capacity,
          open: keyed(opener.open.bind(opener)),
          settle: () => opener.settle(),
          isOpened: place => opener.isOpened(place),
        };
      },
    }),
    publicKey(privateKey, out) {
      note('private key', privateKey);
      suite.publicKey(privateKey, out);
    },
    sharedSecret(privateKey, publicKey, out) {
      const agreed = suite.sharedSecret(privateKey, publicKey, out);
      note('shared secret', out);
      return agreed;
    },
    hmac(out, key, ...parts) {
      suite.hmac(out, key, ...parts);
      note('hmac', out);
    },
  };
}
