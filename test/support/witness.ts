// Watches one machine from outside: what it read, sealed, sent and delivered, and in which order. It complains of whatever
// no machine may do, beyond what the ledger sees of all machines together. The witness of a clone has seen its past too.

import { type Ledger, sealedParts, unpadded } from './ledger.js';

interface Seal {
  readonly key: string;
  /** Generation reads before it. */
  readonly reads: number;
  /** What was sealed, without padding. */
  readonly packet: string;
}

export interface WitnessOptions {
  readonly ledger: Ledger;
  readonly complain: (of: string) => void;
  /** Nothing that was sealed before a fork was seen may leave after. */
  readonly holds: boolean;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

export class Witness {
  readonly #options: WitnessOptions;
  /** What each read of the generation showed. */
  readonly #shown: string[] = [];
  readonly #seals = new Map<string, Seal>();
  /** By key: what the generation showed when it was first used. */
  readonly #keys = new Map<string, string>();
  readonly #left = new Set<string>();
  readonly #taken = new Set<string>();
  readonly #delivered = new Map<string, number>();

  constructor(options: WitnessOptions) {
    this.#options = options;
  }

  reads(shown: string): void {
    this.#shown.push(shown);
  }

  readonly seals = (sealed: string, key: string, plain: Uint8Array): void => {
    this.#seals.set(sealed, { key, reads: this.#shown.length, packet: hex(unpadded(plain)) });
  };

  /** Packets came out of the interface's queue. */
  takes(packets: readonly Uint8Array[]): void {
    for (const packet of packets) this.#taken.add(hex(packet));
  }

  leaves(datagram: Uint8Array): void {
    const { complain, holds } = this.#options;
    const name = hex(datagram);
    if (this.#left.has(name)) complain('a datagram left twice');
    this.#left.add(name);
    for (const part of sealedParts(datagram)) {
      const seal = this.#seals.get(hex(part));
      if (!seal) return complain('a datagram left that this machine did not seal');
      const before = this.#shown[seal.reads - 1];
      const after = this.#shown[seal.reads];
      if (after === undefined)
        complain('a datagram left without a look at the generation after it was sealed');
      else if (after !== before) complain('a datagram left whose generation was over when it was checked');
      if (holds && this.#shown.at(-1) !== before) complain('a datagram left that a held device kept back');
      if (datagram[0] === 4 && seal.packet !== '' && !this.#taken.has(seal.packet)) {
        complain('a packet left that nobody gave the interface');
      }
      // Cookie replies all bear one key, and random nonces.
      if (datagram[0] === 3) continue;
      const first = this.#keys.get(seal.key);
      if (first === undefined) this.#keys.set(seal.key, before);
      else if (first !== before) complain('a key of an older generation was used');
    }
  }

  /** A packet was given to the interface. */
  delivers(packet: Uint8Array): void {
    const name = hex(packet);
    const times = (this.#delivered.get(name) ?? 0) + 1;
    this.#delivered.set(name, times);
    const sent = this.#options.ledger.sent(packet);
    if (sent === 0) this.#options.complain('a packet was delivered that nobody sent: it is not whole');
    else if (times > sent) this.#options.complain('a packet was delivered more often than it was sent');
  }

  /** How often the interface was given this packet. */
  delivered(packet: Uint8Array): number {
    return this.#delivered.get(hex(packet)) ?? 0;
  }

  get deliveries(): number {
    return [...this.#delivered.values()].reduce((sum, times) => sum + times, 0);
  }
}
