// Stands in for protocol/keystream.js in a copy of the program: each key of the generator that is used is written to a file.
// Promises: as suite.mjs; the control has noble's keystream in place of the suite's.
// Read on: ../recording-program.ts, which makes the copy and reads the file.

import { nobleKeystream } from '../crng/keystream.js';
import { keystreamOf as unwatched } from './keystream-unwatched.js';
import { note } from './suites/fastest.js';

export function keystreamOf(suite) {
  const keystream = process.env.WIREONCE_TEST_KEYSTREAM === 'noble' ? nobleKeystream : unwatched(suite);
  return (key, out) => {
    note('generator key', key);
    keystream(key, out);
  };
}
