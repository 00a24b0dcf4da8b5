// A copy of the built program that tells its secrets: what passes its cipher suite stands in a file, and so does each key of
// its generator. Promises: nothing else in it differs, unless its memory for secrets or the keystream of its generator is
// to be taken out: the controls.
// Read on: copied-program.ts; secrets/suite.mjs (what is put in); ../secrets.test.ts.

import { cpSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { copyProgram } from './copied-program.js';

/** Modules of the program, and what stands in for them. */
const WATCHED: readonly (readonly [string, string])[] = [
  ['dist/protocol/suites/fastest', 'suite.mjs'],
  ['dist/protocol/keystream', 'keystream.mjs'],
];
const PLAIN_MEMORY = `
export const secretBytes = length => new Uint8Array(length);
export const copySecret = secret => new Uint8Array(secret);
`;
const SECRET_BYTES = 32;

export type SecretKind = 'cipher key' | 'generator key' | 'private key' | 'shared secret' | 'hmac';
const KINDS: readonly SecretKind[] = ['cipher key', 'generator key', 'private key', 'shared secret', 'hmac'];

export interface RecordedSecret {
  readonly kind: SecretKind;
  readonly bytes: Buffer;
}

export class RecordingProgram {
  /** For `MachineOptions`. */
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
  readonly #file: string;

  /** `plainMemory`: secrets lie where the engine puts them. `nobleKeystream`: whatever the suite, noble makes random bytes. */
  constructor({ plainMemory = false, nobleKeystream = false } = {}) {
    const home = copyProgram();
    for (const [module, watched] of WATCHED) {
      renameSync(join(home, `${module}.js`), join(home, `${module}-unwatched.js`));
      cpSync(fileURLToPath(new URL(`./secrets/${watched}`, import.meta.url)), join(home, `${module}.js`));
    }
    if (plainMemory) writeFileSync(join(home, 'dist/native/secret-bytes.js'), PLAIN_MEMORY);
    this.program = join(home, 'dist/cli/main.js');
    this.#file = join(home, 'secrets');
    this.env = {
      WIREONCE_TEST_SECRETS: this.#file,
      ...(nobleKeystream && { WIREONCE_TEST_KEYSTREAM: 'noble' }),
    };
  }

  /** Every secret so far, each once. */
  secrets(): RecordedSecret[] {
    const records = readFileSync(this.#file);
    const found = new Map<string, RecordedSecret>();
    for (let at = 0; at < records.length; at += 1 + SECRET_BYTES) {
      const kind = KINDS.find(each => each.charCodeAt(0) === records[at]);
      if (!kind) throw new Error('not a record');
      const bytes = records.subarray(at + 1, at + 1 + SECRET_BYTES);
      const name = bytes.toString('hex');
      // A key of the generator passes the suite too, after it was noted.
      if (!found.has(name)) found.set(name, { kind, bytes });
    }
    return [...found.values()];
  }
}
