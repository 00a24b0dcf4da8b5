// A copy of the built program that tells its secrets: what passes its cipher suite stands in a file.
// Promises: nothing else in it differs, unless its memory for secrets is to be taken out: the control.
// Read on: secrets/suite.mjs (what is put in); ../secrets.test.ts.

import { cpSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { folder } from './machine.js';

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));
const WATCHED_SUITE = fileURLToPath(new URL('./secrets/suite.mjs', import.meta.url));
const PLAIN_MEMORY = `
export const secretBytes = length => new Uint8Array(length);
export const copySecret = secret => new Uint8Array(secret);
`;
const SECRET_BYTES = 32;

export type SecretKind = 'cipher key' | 'private key' | 'shared secret' | 'hmac';
const KINDS: readonly SecretKind[] = ['cipher key', 'private key', 'shared secret', 'hmac'];

export interface RecordedSecret {
  readonly kind: SecretKind;
  readonly bytes: Buffer;
}

export class RecordingProgram {
  /** For `MachineOptions`. */
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
  readonly #file: string;

  /** `plainMemory`: secrets lie where the engine puts them. */
  constructor({ plainMemory = false } = {}) {
    const home = folder();
    for (const name of ['dist', 'package.json'])
      cpSync(join(ROOT, name), join(home, name), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules'), join(home, 'node_modules'));
    const suites = join(home, 'dist/protocol/suites');
    renameSync(join(suites, 'fastest.js'), join(suites, 'fastest-unwatched.js'));
    cpSync(WATCHED_SUITE, join(suites, 'fastest.js'));
    if (plainMemory) writeFileSync(join(home, 'dist/native/secret-bytes.js'), PLAIN_MEMORY);
    this.program = join(home, 'dist/cli/main.js');
    this.#file = join(home, 'secrets');
    this.env = { WIREONCE_TEST_SECRETS: this.#file };
  }

  /** Every secret so far, each once. */
  secrets(): RecordedSecret[] {
    const records = readFileSync(this.#file);
    const found = new Map<string, RecordedSecret>();
    for (let at = 0; at < records.length; at += 1 + SECRET_BYTES) {
      const kind = KINDS.find(each => each.charCodeAt(0) === records[at]);
      if (!kind) throw new Error('not a record');
      const bytes = records.subarray(at + 1, at + 1 + SECRET_BYTES);
      found.set(bytes.toString('hex'), { kind, bytes });
    }
    return [...found.values()];
  }
}
