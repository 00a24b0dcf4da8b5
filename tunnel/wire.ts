// A network in memory, for tests and demonstrations: loss, duplication, reordering and delay from a seed.
// Promises: the same seed and the same calls give the same deliveries; time passes only in `advance`; no timers.
// Read on: transport.ts (a port of the wire is a transport like any other).

import type { Endpoint } from '../sessions/ports.js';
import { EndpointCache, UdpEndpoint } from './endpoint.js';
import { TunnelError } from './errors.js';
import { newCounters, type Transport, type TransportDrop } from './transport.js';

/**
 * Random numbers for simulations, and for nothing else: who sees a few of them knows all the others. The generator is
 * xoshiro128** (Blackman and Vigna, 2018), its state expanded from the seed by splitmix32.
 */
export class SimulationRandom {
  readonly #state = new Uint32Array(4);

  constructor(seed: number) {
    let word = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      word = (word + 0x9e3779b9) >>> 0;
      let mixed = Math.imul(word ^ (word >>> 16), 0x21f0aaad);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
      this.#state[i] = mixed ^ (mixed >>> 15);
    }
  }

  uint32(): number {
    const s = this.#state;
    const result = Math.imul(rotateLeft(Math.imul(s[1], 5), 7), 9) >>> 0;
    const shifted = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotateLeft(s[3], 11);
    return result;
  }

  /** A number in [0, 1). */
  next(): number {
    return this.uint32() / 2 ** 32;
  }
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

export interface WireConditions {
  /** The share of datagrams that get lost, 0..1. */
  readonly loss: number;
  /** The share that arrives twice, 0..1. */
  readonly duplication: number;
  /** The share that may be overtaken, 0..1. The others keep the order in which their sender sent them. */
  readonly reordering: number;
  /** Shortest time on the way, in milliseconds. */
  readonly minDelayMs: number;
  /** Longest time on the way, in milliseconds. */
  readonly maxDelayMs: number;
  /** Time that a datagram chosen for reordering takes on top, up to, in milliseconds. */
  readonly reorderDelayMs: number;
}

export const PERFECT_WIRE: WireConditions = {
  loss: 0,
  duplication: 0,
  reordering: 0,
  minDelayMs: 0,
  maxDelayMs: 0,
  reorderDelayMs: 10,
};

export interface MemoryWireOptions extends Partial<WireConditions> {
  /** Any 32-bit integer. Default 0. */
  readonly seed?: number;
  /** Sees every datagram as it is sent, before its fate is drawn: an eavesdropper at each machine's door. */
  readonly onSend?: (datagram: Uint8Array, from: UdpEndpoint, to: UdpEndpoint) => void;
}

interface InFlight {
  readonly due: number;
  readonly datagram: Uint8Array;
  readonly from: UdpEndpoint;
  readonly to: UdpEndpoint;
}

export class MemoryWire {
  readonly #random: SimulationRandom;
  readonly #onSend: MemoryWireOptions['onSend'];
  readonly #ports = new Map<string, MemoryPort>();
  readonly #endpoints = new EndpointCache();
  /** In order of delivery: by due time, and as they were sent among equals. */
  readonly #inFlight: InFlight[] = [];
  /** When the last datagram that keeps its order arrives, for each pair of sender and receiver. */
  readonly #orderedUntil = new Map<string, number>();
  #conditions: WireConditions = PERFECT_WIRE;
  #now = 0;
  /** Datagrams that the conditions took away. */
  lost = 0;
  /** Datagrams that arrived where nobody listens. */
  unreachable = 0;
  delivered = 0;

  /** Throws `ERR_WIRE_CONDITIONS` as `setConditions`. */
  constructor(options: MemoryWireOptions = {}) {
    const { seed = 0, onSend, ...conditions } = options;
    this.#random = new SimulationRandom(seed);
    this.#onSend = onSend;
    this.setConditions(conditions);
  }

  /** Virtual milliseconds since the wire was made. */
  get now(): number {
    return this.#now;
  }

  get inFlight(): number {
    return this.#inFlight.length;
  }

  /** When the next datagram arrives, in virtual milliseconds; `undefined` when none is on its way. */
  get nextDelivery(): number | undefined {
    return this.#inFlight[0]?.due;
  }

  /**
   * Changes the weather for datagrams sent from now on. Throws `ERR_WIRE_CONDITIONS` for a share outside 0..1, a time
   * that is negative or infinite, or a shortest delay above the longest.
   */
  setConditions(change: Partial<WireConditions>): void {
    const next = { ...this.#conditions, ...change };
    for (const share of [next.loss, next.duplication, next.reordering]) {
      if (!(share >= 0 && share <= 1)) throw badConditions(`a share is 0..1, not ${share}`);
    }
    for (const time of [next.minDelayMs, next.maxDelayMs, next.reorderDelayMs]) {
      if (!(time >= 0 && time < Number.POSITIVE_INFINITY)) throw badConditions(`no delay: ${time} ms`);
    }
    if (next.minDelayMs > next.maxDelayMs) {
      throw badConditions(`the shortest delay, ${next.minDelayMs} ms, is above ${next.maxDelayMs} ms`);
    }
    this.#conditions = next;
  }

  /** The endpoint of a numeric address and port on this wire. Throws `ERR_ENDPOINT`. */
  endpoint(address: string, port: number): UdpEndpoint {
    return this.#endpoints.get(address, port);
  }

  /**
   * Puts a machine on the wire. A second one at the same endpoint takes over what arrives there, as the clone does
   * that answered last; the first may still send.
   */
  attach(endpoint: UdpEndpoint, onDatagram?: (datagram: Uint8Array, from: Endpoint) => void): MemoryPort {
    const port = new MemoryPort(endpoint, {
      transmit: (datagram, to) => this.#transmit(datagram, endpoint, to),
      detach: detached => {
        if (this.#ports.get(endpoint.toString()) === detached) this.#ports.delete(endpoint.toString());
      },
    });
    if (onDatagram) port.onDatagram = onDatagram;
    this.#ports.set(endpoint.toString(), port);
    return port;
  }

  /**
   * Lets time pass and delivers, one by one and in order, what is due by then, answers that are sent meanwhile
   * included. On a wire without delay two machines that answer each other forever never let it return.
   */
  advance(ms: number): void {
    if (!(ms >= 0 && ms < Number.POSITIVE_INFINITY)) throw badConditions(`no time to pass: ${ms} ms`);
    const until = this.#now + ms;
    for (let next = this.#inFlight[0]; next && next.due <= until; next = this.#inFlight[0]) {
      this.#inFlight.shift();
      this.#now = next.due;
      this.#deliver(next);
    }
    this.#now = until;
  }

  #deliver({ datagram, from, to }: InFlight): void {
    const port = this.#ports.get(to.toString());
    if (!port) {
      this.unreachable++;
      return;
    }
    this.delivered++;
    port.receive(datagram, from);
  }

  // Every datagram draws the same number of values, whatever the conditions: more loss does not change who else is
  // delayed, and two runs can be compared.
  #transmit(datagram: Uint8Array, from: UdpEndpoint, to: UdpEndpoint): void {
    this.#onSend?.(new Uint8Array(datagram), from, to);
    const isLost = this.#random.next() < this.#conditions.loss;
    const isDoubled = this.#random.next() < this.#conditions.duplication;
    const arrivals = [this.#arrival(from, to, !isLost), this.#arrival(from, to, !isLost && isDoubled)];
    if (isLost) {
      this.lost++;
      return;
    }
    for (const due of isDoubled ? arrivals : arrivals.slice(0, 1)) {
      this.#enqueue({ due, datagram: new Uint8Array(datagram), from, to });
    }
  }

  #arrival(from: UdpEndpoint, to: UdpEndpoint, counts: boolean): number {
    const { minDelayMs, maxDelayMs, reordering, reorderDelayMs } = this.#conditions;
    const delay = minDelayMs + this.#random.next() * (maxDelayMs - minDelayMs);
    const isOvertaken = this.#random.next() < reordering;
    const extra = this.#random.next() * reorderDelayMs;
    if (isOvertaken) return this.#now + delay + extra;
    const path = `${from} ${to}`;
    const due = Math.max(this.#now + delay, this.#orderedUntil.get(path) ?? 0);
    if (counts) this.#orderedUntil.set(path, due);
    return due;
  }

  #enqueue(item: InFlight): void {
    let low = 0;
    let high = this.#inFlight.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#inFlight[middle].due <= item.due) low = middle + 1;
      else high = middle;
    }
    this.#inFlight.splice(low, 0, item);
  }
}

interface PortSide {
  transmit(datagram: Uint8Array, to: UdpEndpoint): void;
  detach(port: MemoryPort): void;
}

/** A machine's place on the wire. */
export class MemoryPort implements Transport {
  readonly kind = 'memory';
  readonly counters = newCounters();
  readonly endpoint: UdpEndpoint;
  onDatagram: (datagram: Uint8Array, from: Endpoint) => void = () => {};
  onError: (error: TunnelError) => void = () => {};
  readonly #side: PortSide;
  #closed = false;

  constructor(endpoint: UdpEndpoint, side: PortSide) {
    this.endpoint = endpoint;
    this.#side = side;
  }

  get localAddresses(): readonly string[] {
    return [this.endpoint.toString()];
  }

  owns(to: Endpoint): boolean {
    return to instanceof UdpEndpoint;
  }

  send(datagram: Uint8Array, to: Endpoint): boolean {
    if (this.#closed) return this.#drop('closed');
    if (!(to instanceof UdpEndpoint)) return this.#drop('notOurs');
    this.counters.sent++;
    this.#side.transmit(datagram, to);
    return true;
  }

  /** Call when a datagram arrives here. */
  receive(datagram: Uint8Array, from: UdpEndpoint): void {
    this.counters.received++;
    this.onDatagram(datagram, from);
  }

  dropAll(): void {}

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#side.detach(this);
  }

  #drop(reason: TransportDrop): false {
    this.counters.dropped[reason]++;
    return false;
  }
}

function badConditions(message: string): TunnelError {
  return new TunnelError('ERR_WIRE_CONDITIONS', message);
}
