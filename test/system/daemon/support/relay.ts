// A bad network: a UDP relay beside A, through which A reaches B. It loses, doubles and delays.
// Promises: what it does to a datagram comes from a seed; it changes no bytes.

import type { Socket } from 'node:dgram';
import { SimulationRandom } from '../../../support/simulation-random.js';
import { atEnd, type Pair, endpoint } from './machine.js';
import { udpSocket } from './sockets.js';

export interface Harm {
  /** Of 1: each datagram, in either direction. */
  readonly loss?: number;
  readonly duplication?: number;
  /** Of 1: those that are overtaken by others. */
  readonly reordering?: number;
}

const DELAY_MS = 8;
const DUPLICATE_DELAY_MS = 30;
const LISTEN_PORT = 7_000;

export class Relay {
  harm: Harm;
  readonly counters = { passed: 0, lost: 0, doubled: 0, delayed: 0 };
  readonly #pair: Pair;
  readonly #inner: Socket;
  readonly #outer: Socket;
  /** Where A is, as this relay sees it. */
  #a = 0;
  readonly #random = new SimulationRandom(1);
  readonly #timers = new Set<NodeJS.Timeout>();
  #closed = false;

  private constructor(pair: Pair, harm: Harm) {
    this.#pair = pair;
    this.harm = harm;
    this.#inner = udpSocket(pair.a.namespace, pair.outer.a, LISTEN_PORT);
    this.#outer = udpSocket(pair.a.namespace, pair.outer.a, LISTEN_PORT + 1);
    this.#outer.on('message', datagram => this.#arrived(datagram, false));
    this.#inner.on('message', (datagram, { port }) => {
      this.#a = port;
      this.#arrived(datagram, true);
    });
    atEnd(() => {
      this.#closed = true;
      for (const timer of this.#timers) clearTimeout(timer);
    });
  }

  /** From now on A reaches B through it, and B sees the relay's address. */
  static async between(pair: Pair, harm: Harm = {}): Promise<Relay> {
    const relay = new Relay(pair, harm);
    const to = ['peer', pair.b.publicKey, 'endpoint', endpoint(pair.outer.a, LISTEN_PORT)];
    await pair.a.wg('set', pair.a.name, ...to);
    return relay;
  }

  #arrived(datagram: Uint8Array, fromA: boolean): void {
    const { counters, harm } = this;
    if (this.#chance(harm.loss)) {
      counters.lost++;
      return;
    }
    if (this.#chance(harm.duplication)) {
      counters.doubled++;
      this.#later(DUPLICATE_DELAY_MS, datagram, fromA);
    }
    if (this.#chance(harm.reordering)) {
      counters.delayed++;
      this.#later(DELAY_MS, datagram, fromA);
    } else this.#pass(datagram, fromA);
  }

  #chance(share = 0): boolean {
    return this.#random.uint32() < share * 2 ** 32;
  }

  #later(ms: number, datagram: Uint8Array, fromA: boolean): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#pass(datagram, fromA);
    }, ms);
    this.#timers.add(timer);
  }

  #pass(datagram: Uint8Array, fromA: boolean): void {
    if (this.#closed) return;
    this.counters.passed++;
    if (fromA) this.#outer.send(datagram, this.#pair.ports.b, this.#pair.outer.b);
    else if (this.#a !== 0) this.#inner.send(datagram, this.#a, this.#pair.outer.a);
  }
}
