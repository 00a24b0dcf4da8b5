// Draws random numbers over and over, from everybody's generators and from ours, and remembers the last of them.
// Promises: each draw has a number, and a mark that tells whether it was made before a snapshot or after: clones share
// the marks of before and no other.

import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { openCrng } from '../../../../tunnel/index.js';
import { processorWord } from '../payloads.js';
import { serve } from '../serve.js';

export interface Draw {
  readonly number: number;
  /** The processor's word, drawn before all others. */
  readonly mark: number;
  readonly crng: string;
  readonly randomBytes: string;
  readonly randomUuid: string;
  /** The public key of a pair made by `generateKeyPair`. */
  readonly keyPair: string;
}

const REMEMBERED = 400;
const BYTES = 16;

const word = processorWord();
const draws: Draw[] = [];
let number = 0;

serve({
  /** Begins. With `heal` OpenSSL is seeded anew after a fork, as `openCrng` does by default. */
  async begin({ heal }: { heal: boolean }) {
    const { crng, vmgenid } = await openCrng({ healOpenSsl: heal });
    const draw = () => {
      const mark = word();
      const ours = Buffer.from(crng.bytes(BYTES)).toString('hex');
      const { publicKey } = generateKeyPairSync('x25519');
      draws.push({
        number: number++,
        mark,
        crng: ours,
        randomBytes: randomBytes(BYTES).toString('hex'),
        randomUuid: randomUUID(),
        keyPair: publicKey.export({ format: 'der', type: 'spki' }).toString('hex'),
      });
      if (draws.length > REMEMBERED) draws.shift();
      setImmediate(draw);
    };
    draw();
    return vmgenid.protection;
  },
  drawn: () => number,
  remembered: () => draws,
});
