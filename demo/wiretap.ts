// What somebody on the wire can see: no keys, no secrets, only the datagrams, and which of them are under one
// key and nonce.
// Read on: attack/ (what follows from it); WireGuard paper 5.4.6.

import { equalBytes } from '../native/bytes.js';
import { TRANSPORT_DATA } from '../protocol/constants.js';
import { TRANSPORT, messageType, readU32 } from '../protocol/messages.js';

/** Two different datagrams under one key and nonce. */
export interface NonceReuse {
  readonly receiverIndex: number;
  readonly counter: bigint;
  readonly first: Uint8Array;
  readonly second: Uint8Array;
}

/**
 * The receiver index names the session, and with it the key; the counter is the nonce. Both stand there in
 * the clear.
 */
export function nonceOf(datagram: Uint8Array): Pick<NonceReuse, 'receiverIndex' | 'counter'> | undefined {
  if (messageType(datagram) !== TRANSPORT_DATA) return undefined;
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  return {
    receiverIndex: readU32(datagram, TRANSPORT.receiver),
    counter: view.getBigUint64(TRANSPORT.counter, true),
  };
}

export class Wiretap {
  /** Data messages seen. */
  datagrams = 0;
  readonly reuses: NonceReuse[] = [];
  readonly #seen = new Map<string, Uint8Array>();

  /**
   * Returns what this datagram and an earlier one have in common. The same bytes again tell nobody anything.
   */
  see(datagram: Uint8Array): NonceReuse | undefined {
    const nonce = nonceOf(datagram);
    if (!nonce) return undefined;
    this.datagrams++;
    const name = `${nonce.receiverIndex}/${nonce.counter}`;
    const first = this.#seen.get(name);
    if (!first) this.#seen.set(name, new Uint8Array(datagram));
    else if (!equalBytes(first, datagram)) {
      const reuse = { ...nonce, first, second: new Uint8Array(datagram) };
      this.reuses.push(reuse);
      return reuse;
    }
    return undefined;
  }
}
