// Who speaks under which static key, seen from outside all machines: of what is on the wire, an initiation shows it to
// whoever made the seals, and indices lead to it from all that follows.
// Read on: ledger.ts, which has the seals.

import { INITIATION, RESPONSE, readU32 } from '../../protocol/messages.js';
import { isMac1Valid, mac1Key } from '../../protocol/cookie.js';
import type { Suite } from '../../protocol/suite.js';
import type { Ledger } from './ledger.js';

/** The two ends of a handshake or session, by their static public keys, for an index that one of them chose. */
interface Ends {
  readonly chooser: string;
  /** Who sends to that index. */
  readonly other: string | undefined;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

export class Census {
  /** What no machine that enrols may do. */
  readonly harms: string[] = [];
  readonly #suite: Suite;
  readonly #ledger: Ledger;
  readonly #mac1Keys = new Map<string, Uint8Array>();
  readonly #ends = new Map<number, Ends>();
  /** By datagram: the life that it first left. */
  readonly #left = new Map<string, string>();
  /** By static key: the life that first spoke under it. */
  readonly #owners = new Map<string, string>();

  constructor(suite: Suite, ledger: Ledger) {
    this.#suite = suite;
    this.#ledger = ledger;
  }

  /** How many static keys have spoken. */
  get speakers(): number {
    return this.#owners.size;
  }

  /** A static public key that initiations may be for. */
  know(publicKey: Uint8Array): void {
    const name = hex(publicKey);
    if (!this.#mac1Keys.has(name)) this.#mac1Keys.set(name, mac1Key(this.#suite, publicKey));
  }

  /**
   * Call with every datagram, after the ledger. `life`: of the machine that it leaves, if that is to have keys of its own.
   * What another life has sent before, to the byte, shows nobody anything: it was made before the two parted.
   */
  leaves(datagram: Uint8Array, life?: string): void {
    const speaker = this.#speakerOf(datagram);
    const bytes = hex(datagram);
    const first = this.#left.get(bytes);
    if (first === undefined) this.#left.set(bytes, life ?? '');
    if (life === undefined || (first !== undefined && first !== life)) return;
    if (speaker === undefined) return void this.harms.push(`${life} sends what nobody asked for`);
    const owner = this.#owners.get(speaker);
    if (owner === undefined) this.#owners.set(speaker, life);
    else if (owner !== life) this.harms.push(`${life} speaks under the key of ${owner}`);
  }

  #speakerOf(datagram: Uint8Array): string | undefined {
    const type = datagram[0];
    if (type === 1) {
      const speaker = this.#ledger.plaintextOf(datagram.subarray(INITIATION.static, INITIATION.timestamp));
      if (speaker === undefined) return undefined;
      const [other] = [...this.#mac1Keys].find(([, key]) => isMac1Valid(this.#suite, key, datagram)) ?? [];
      this.#ends.set(readU32(datagram, INITIATION.sender), { chooser: speaker, other });
      return speaker;
    }
    // In the three other messages the receiver's index lies in front of all that depends on the type.
    const ends = this.#ends.get(readU32(datagram, type === 2 ? RESPONSE.receiver : 4));
    if (type === 2 && ends?.other !== undefined)
      this.#ends.set(readU32(datagram, RESPONSE.sender), { chooser: ends.other, other: ends.chooser });
    return ends?.other;
  }
}
