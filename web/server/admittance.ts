// Who may look: whoever has the token of the printed address, and nobody after him.
// Promises: a token is exchanged once; both secrets are 256 bits of the kernel's generator; comparing them
// takes a time that says nothing of where they differ.

import { timingSafeEqual } from 'node:crypto';
import { bytesToHex } from '@noble/hashes/utils.js';
import type { EntropySource } from '../../crng/entropy.js';

const SECRET_BYTES = 32;

export class Admittance {
  /** For the address of the page. */
  readonly token: string;
  readonly #pass: string;
  #isUsed = false;

  constructor(entropy: Pick<EntropySource, 'read'>) {
    this.token = draw(entropy);
    this.#pass = draw(entropy);
  }

  /** The pass, for the token and once. */
  exchange(token: string): string | undefined {
    if (this.#isUsed || !isSame(token, this.token)) return undefined;
    this.#isUsed = true;
    return this.#pass;
  }

  /** Whether this is the pass, and somebody has been given it. */
  admits(pass: string): boolean {
    return isSame(pass, this.#pass) && this.#isUsed;
  }
}

function draw(entropy: Pick<EntropySource, 'read'>): string {
  const bytes = new Uint8Array(SECRET_BYTES);
  entropy.read(bytes);
  return bytesToHex(bytes);
}

function isSame(said: string, secret: string): boolean {
  const [a, b] = [Buffer.from(said), Buffer.from(secret)];
  return a.length === b.length && timingSafeEqual(a, b);
}
