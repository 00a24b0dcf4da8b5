// What somebody on the wire can see, and what follows from it: no keys, no secrets, only the datagrams.

import { equalBytes } from '../../native/bytes.js';
import { TRANSPORT_DATA } from '../../protocol/constants.js';
import { TRANSPORT, messageType } from '../../protocol/messages.js';
import { TAG_BYTES } from '../../protocol/suite.js';

/** Two different datagrams under one key and nonce. */
export interface NonceReuse {
  readonly receiverIndex: number;
  readonly counter: bigint;
  readonly first: Uint8Array;
  readonly second: Uint8Array;
}

export class Wiretap {
  /** Data messages seen. */
  datagrams = 0;
  readonly reuses: NonceReuse[] = [];
  readonly #seen = new Map<string, Uint8Array>();

  see(datagram: Uint8Array): void {
    if (messageType(datagram) !== TRANSPORT_DATA) return;
    this.datagrams++;
    const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
    const receiverIndex = view.getUint32(TRANSPORT.receiver, true);
    const counter = view.getBigUint64(TRANSPORT.counter, true);
    // The receiver index names the session, and with it the key; the counter is the nonce.
    const name = `${receiverIndex}/${counter}`;
    const first = this.#seen.get(name);
    if (!first) this.#seen.set(name, new Uint8Array(datagram));
    else if (!equalBytes(first, datagram)) {
      this.reuses.push({ receiverIndex, counter, first, second: new Uint8Array(datagram) });
    }
  }
}

/**
 * The plaintext of one of two packets sealed under one key and nonce, from the ciphertexts and the other plaintext:
 * both carry the same keystream, so it cancels out.
 */
export function recoverPlaintext(reuse: NonceReuse, known: Uint8Array, knownIsFirst: boolean): Uint8Array {
  const length = Math.min(reuse.first.length, reuse.second.length) - TRANSPORT.packet - TAG_BYTES;
  const [ours, theirs] = knownIsFirst ? [reuse.first, reuse.second] : [reuse.second, reuse.first];
  return Uint8Array.from({ length: Math.min(length, known.length) }, (_, i) => {
    const keystream = ours[TRANSPORT.packet + i] ^ known[i];
    return keystream ^ theirs[TRANSPORT.packet + i];
  });
}
