// Whoever sits on the wire between the clones and their peer: sees every datagram, may let one vanish or add
// one, has no key.
// Promises: all that he knows is what was captured, and public-knowledge.ts. test/house/floors.test.ts holds
// that nothing in this folder loads anything that knows a key.
// Read on: keystream.ts, pictures.ts, poly1305.ts, forge.ts.

import { innerPacket, innerPayload } from '../packet.js';
import { GATEWAY_IP, HEALTH_PACKET, PICTURE_PIECE, SANDBOX_IP, STANDBY_CARD } from '../public-knowledge.js';
import { type NonceReuse, Wiretap } from '../wiretap.js';
import { forge } from './forge.js';
import { ciphertextOf, recoverPlaintext } from './keystream.js';
import { type SeparatedPictures, separatePictures } from './pictures.js';
import { type Solved, solveOneTimeKey } from './poly1305.js';

export interface Forgery extends Solved {
  /** To be sent to the peer. */
  readonly datagram: Uint8Array;
  readonly counter: bigint;
  /** What the second clone said, read on the way. */
  readonly overheard: string;
}

export class Attacker {
  readonly wiretap = new Wiretap();

  /** Two pictures out of what went by; `undefined` where nothing met. */
  pictures(): SeparatedPictures | undefined {
    return separatePictures(this.wiretap.reuses, STANDBY_CARD, PICTURE_PIECE);
  }

  /**
   * A packet with these words, out of two datagrams of which he let neither through; `undefined` where there
   * are none.
   */
  forgery(words: string): Forgery | undefined {
    const reuse = this.wiretap.reuses.find(each => isHealthCheck(each));
    const solved = reuse && solveOneTimeKey(reuse.first, reuse.second);
    if (!solved) return undefined;
    const packet = innerPacket(SANDBOX_IP, GATEWAY_IP, words);
    return {
      ...solved,
      datagram: forge(reuse, solved.key, HEALTH_PACKET, packet),
      counter: reuse.counter,
      overheard: innerPayload(recoverPlaintext(reuse, HEALTH_PACKET, true)),
    };
  }
}

/** By the length, as an eavesdropper must. */
function isHealthCheck({ first }: NonceReuse): boolean {
  return ciphertextOf(first).length === Math.ceil(HEALTH_PACKET.length / 16) * 16;
}
