// The secret of an enrolment, from its file: 44 characters of base64, as `wireonce enrol secret` prints them.
// Promises: a file that others may read, or that holds anything else, is refused; no message shows what is in it, and no
// text of it is made.
// Read on: gateway/derive.ts (what is derived from it).

import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { isZero, wipe } from '../../native/bytes.js';
import { secretBytes } from '../../native/secret-bytes.js';
import { BadValue } from './config-values.js';
import { decodeKeyBytes } from '../keys.js';

/** A key, and what an editor puts behind it. Bytes. */
const MOST_BYTES = 64;
const OTHERS_MAY_READ = 0o007;

/** 32 bytes, the caller's to erase. Throws `BadValue`, and what the system says of a file that cannot be read. */
export function readEnrolmentSecret(path: string): Uint8Array {
  // A pipe in its place keeps nobody waiting.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const bytes = secretBytes(MOST_BYTES + 1);
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw new BadValue(`${path} is no file`);
    if ((stats.mode & OTHERS_MAY_READ) !== 0)
      throw new BadValue(`${path} can be read by every user of this machine: chmod 600 ${path}`);
    const length = readSync(fd, bytes, 0, bytes.length, 0);
    const secret = decodeKeyBytes(withoutBlanksBehind(bytes.subarray(0, length)));
    if (!secret || isZero(secret)) {
      throw new BadValue(
        `${path} does not hold 32 bytes in base64: wireonce enrol secret makes such a secret`,
      );
    }
    return secret;
  } finally {
    wipe(bytes);
    closeSync(fd);
  }
}

/** The same memory, less what an editor or `echo` puts at its end. */
export function withoutBlanksBehind(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] <= 0x20) end--;
  return bytes.subarray(0, end);
}
