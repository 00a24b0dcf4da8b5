// A preshared key from a file, or from a pipe, as `wg set ... preshared-key FILE` reads one.
// Promises: no text of it is made, and no message shows it.

import { readFileSync } from 'node:fs';
import { withoutBlanksBehind } from '../../tunnel/config/enrolment-secret.js';
import { decodeKeyBytes } from '../../tunnel/keys.js';
import { CliError } from '../errors.js';
import type { CliIo } from '../io.js';
import { readableSecret } from '../readable-secret.js';
import { printWarning, unreadable } from '../trouble.js';

/** 32 bytes, the caller's to erase. Throws `ERR_CLI_INPUT`. Warns of a file that others may read. */
export function readPresharedKey(io: CliIo, path: string): Uint8Array {
  const bytes = read(path);
  try {
    const key = decodeKeyBytes(withoutBlanksBehind(bytes));
    if (!key)
      throw new CliError(
        'ERR_CLI_INPUT',
        `${path} does not hold 32 bytes in base64, as wireonce genpsk prints`,
      );
    const exposed = readableSecret(path, 'a preshared key');
    if (exposed) printWarning(io, exposed);
    return key;
  } finally {
    bytes.fill(0);
  }
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}
