// A data message that the machine never sent, and its peer takes for one of the machine's.
// Promises: made of captured datagrams, a guess at what one of them says, and nothing else.
// Read on: poly1305.ts (the tag), keystream.ts (the ciphertext).

import { TRANSPORT } from '../../protocol/messages.js';
import { TAG_BYTES } from '../../protocol/suite.js';
import type { NonceReuse } from '../wiretap.js';
import { keystreamOf, xor } from './keystream.js';
import { type OneTimeKey, tag } from './poly1305.js';

/**
 * Under the session and counter of a pair of which neither has arrived. `guess`: the packet in the first of
 * the two. `packet` may be as long as that, filled up.
 */
export function forge(reuse: NonceReuse, key: OneTimeKey, guess: Uint8Array, packet: Uint8Array): Uint8Array {
  const keystream = keystreamOf(reuse.first, guess);
  if (packet.length > keystream.length) throw new RangeError('the keystream is not known so far');
  const plaintext = new Uint8Array(keystream.length);
  plaintext.set(packet);
  const ciphertext = xor(plaintext, keystream);
  const datagram = new Uint8Array(TRANSPORT.packet + ciphertext.length + TAG_BYTES);
  datagram.set(reuse.first.subarray(0, TRANSPORT.packet));
  datagram.set(ciphertext, TRANSPORT.packet);
  datagram.set(tag(ciphertext, key), TRANSPORT.packet + ciphertext.length);
  return datagram;
}
