// Loop machines and the wire between them, as `Network` is for devices. Machines 0 and 1 talk by IPv4, 1 and 2 by IPv6,
// and 0 dials 2 by a relay, where it is a connection that came in.

import type { Suite } from '../../protocol/suite.js';
import { ACK, packet } from '../tunnel/linux/offload/packets.js';
import type { Wire } from './history.js';
import { SWITCHED_ON } from './kernel/clock.js';
import type { StackPacket } from './kernel/tun-device.js';
import type { FakeDatagram } from './kernel/udp-socket.js';
import { Ledger } from './ledger.js';
import { LoopMachine, type LoopMachineOptions, type LoopSnapshot } from './loop-machine.js';
import { ipv4Packet } from './packets.js';

/** By UDP, or by the relay from one identity to another. */
export type Parcel =
  | { readonly datagram: FakeDatagram; readonly relayed?: undefined }
  | {
      readonly datagram?: undefined;
      readonly relayed: Uint8Array;
      readonly from: number;
      readonly to: number;
    };

export type LoopOverrides = Partial<
  Omit<LoopMachineOptions, 'seed' | 'suite' | 'ledger' | 'addresses' | 'onDatagram' | 'onRelayed' | 'setUp'>
>;

const PORT = 51_820;
const RELAY_URL = 'wss://relay.example/';
/** By these numbers 0 and 2 know the relay's connection. */
const DIALLED = 1;
const CAME_IN = 100;
const MAX_IN_FLIGHT = 500;
const NO_VNET = new Uint8Array(10);

/** Where a machine of an identity is, after so many moves. */
function addressesOf(identity: number, moves = 0): Uint8Array[] {
  const v6 = new Uint8Array(16);
  v6.set([0x20, 1, 0x0d, 0xb8, moves]);
  v6[15] = identity + 1;
  return [Uint8Array.of(192, 0, 2 + moves, identity + 1), v6];
}

export class LoopNetwork implements Wire<LoopMachine, Parcel> {
  readonly ledger = new Ledger();
  readonly machines: { readonly identity: number; readonly machine: LoopMachine }[] = [];
  readonly inFlight: Parcel[] = [];
  /** What a machine did that none may. */
  readonly complaints: string[] = [];
  readonly #suite: Suite;
  readonly #moves = [0, 0, 0];
  #elapsedMs = 0;
  #batching = false;

  constructor(suite: Suite) {
    this.#suite = suite;
  }

  /** Adds up to three machines that all know each other: identity i is 10.0.0.i+1. */
  addMachines(count: number, overrides: LoopOverrides = {}): LoopMachine[] {
    const privateKeys = Array.from({ length: count }, (_, i) => new Uint8Array(32).fill(0x40 + i));
    const publicKeys = privateKeys.map(key => {
      const publicKey = new Uint8Array(32);
      this.#suite.publicKey(key, publicKey);
      return publicKey;
    });
    return privateKeys.map((privateKey, identity) => {
      const machine = new LoopMachine({
        seed: `machine ${identity}`,
        suite: this.#suite,
        ledger: this.ledger,
        addresses: addressesOf(identity),
        complain: of => this.complaints.push(of),
        onDatagram: datagram => this.#leaves({ datagram }),
        onRelayed: relayed => this.#leaves({ relayed, from: identity, to: 2 - identity }),
        setUp: loop => {
          const peers = publicKeys.map((publicKey, peer) => ({
            publicKey,
            remove: false,
            updateOnly: false,
            replaceAllowedIps: false,
            allowedIps: [{ ip: Uint8Array.of(10, 0, 0, peer + 1), prefix: 32, remove: false }],
            ...endpointOf(identity, peer),
          }));
          const numbers = new Map([[RELAY_URL, DIALLED]]);
          loop.set({ privateKey, listenPort: PORT, replacePeers: false, peers }, numbers);
        },
        ...overrides,
      });
      machine.run(({ kernel }) => kernel.changeLink(tun => (tun.up = true)));
      machine.run(each => each.turn());
      this.machines.push({ identity, machine });
      return machine;
    });
  }

  /** The clone's clock is set by whoever restores it. */
  addClone(identity: number, machine: LoopMachine): void {
    this.machines.push({ identity, machine });
    const moves = this.#moves[identity];
    const now = this.#wallClock;
    machine.run(({ kernel }) => {
      kernel.setClock(now);
      kernel.renumber(addressesOf(identity, moves));
    });
  }

  send(machine: LoopMachine, from: number, to: number, payload: string): void {
    this.#hand(machine, [{ bytes: innerPacket(from, to, payload), vnet: NO_VNET }]);
  }

  /** A stretch of a TCP stream: `count` segments, as one packet where the machine splits such. */
  stream(machine: LoopMachine, from: number, to: number, count: number, segment: number): void {
    const flow = {
      version: 4 as const,
      protocol: 'tcp' as const,
      source: Uint8Array.of(10, 0, 0, from + 1),
      destination: Uint8Array.of(10, 0, 0, to + 1),
      sourcePort: 1_000 + this.ledger.left[4],
      destinationPort: 443,
    };
    const payload = new Uint8Array(count * segment).map((_, i) => i * 7 + (i >> 8));
    if (machine.splits) {
      const bytes = packet({ flow, payload, flags: ACK }, true);
      const vnet = Buffer.alloc(10);
      vnet.set(count > 1 ? [1, 1] : [1, 0]);
      [bytes.length - payload.length, count > 1 ? segment : 0, 20, 16].forEach((word, i) =>
        vnet.writeUInt16LE(word, 2 + i * 2),
      );
      this.#hand(machine, [{ bytes, vnet }]);
      return;
    }
    const one = (_: unknown, i: number) => {
      const part = payload.subarray(i * segment, (i + 1) * segment);
      return { bytes: packet({ flow, payload: part, sequence: i * segment, id: i }), vnet: NO_VNET };
    };
    this.#hand(machine, Array.from({ length: count }, one));
  }

  #hand(machine: LoopMachine, packets: readonly StackPacket[]): void {
    const isAlone = !this.#batching;
    machine.run(each => {
      for (const sent of packets) each.tun.send(sent);
      if (isAlone) each.turn();
    });
  }

  batch(machine: LoopMachine, sending: () => void): void {
    this.#batching = true;
    sending();
    this.#batching = false;
    this.turn(machine);
  }

  turn(machine: LoopMachine): boolean {
    machine.run(each => each.turn());
    return machine.device.nextDeadline() !== Number.NEGATIVE_INFINITY;
  }

  rekey(machine: LoopMachine, peer: number): void {
    machine.run(each => {
      const peers = each.device.peers();
      each.device.initiateHandshake(peers[peer % peers.length].publicKey);
      each.turn();
    });
  }

  roam(identity: number): void {
    const addresses = addressesOf(identity, ++this.#moves[identity]);
    for (const each of this.machines) {
      if (each.identity === identity) each.machine.run(({ kernel }) => kernel.renumber(addresses));
    }
  }

  listeners(parcel: Parcel): LoopMachine[] {
    return this.machines
      .filter(({ identity, machine }) =>
        parcel.relayed ? parcel.to === identity : machine.kernel.owns(parcel.datagram.to.ip),
      )
      .map(({ machine }) => machine);
  }

  /** Saves a machine in the midst of a turn in which it sends a packet, and is sent what is in flight for it. */
  snapshotInside(machine: LoopMachine, from: number, to: number, which: number): LoopSnapshot {
    const parcels = this.inFlight.filter(parcel => this.listeners(parcel).includes(machine));
    const bytes = innerPacket(from, to, 'in a turn that is forked');
    return machine.snapshotDuring(each => {
      each.tun.send({ bytes, vnet: NO_VNET });
      this.#arrive(parcels, each);
      each.turn();
    }, which);
  }

  deliver(parcel: Parcel, machine: LoopMachine): void {
    this.gather([parcel], machine);
  }

  gather(parcels: readonly Parcel[], machine: LoopMachine): void {
    machine.run(each => {
      this.#arrive(parcels, each);
      each.turn();
    });
  }

  #arrive(parcels: readonly Parcel[], { kernel, arrivals }: LoopMachine): void {
    kernel.arrive(parcels.map(({ datagram }) => datagram).filter(datagram => datagram !== undefined));
    for (const { relayed, from } of parcels.filter(parcel => parcel.relayed !== undefined)) {
      arrivals.push(relayed, from === 0 ? CAME_IN : DIALLED, addressesOf(from)[0], 443);
    }
  }

  /** Delivers everything in flight, and what that brings about, once to each listener. */
  settle(rounds = 8): void {
    for (let round = 0; round < rounds && this.inFlight.length > 0; round++) {
      const parcels = this.inFlight.splice(0);
      for (const { machine } of this.machines.slice()) {
        const forIt = parcels.filter(parcel => this.listeners(parcel).includes(machine));
        if (forIt.length > 0) this.gather(forIt, machine);
      }
    }
  }

  advance(ms: number): void {
    this.#elapsedMs += ms;
    for (const { machine } of this.machines) machine.run(each => each.runFor(ms));
  }

  /** The machine sleeps so long, while the others do not. */
  sleep(machine: LoopMachine, ms: number): void {
    this.#elapsedMs += ms;
    for (const each of this.machines) {
      each.machine.run(awake => (each.machine === machine ? awake.kernel.sleep(ms) : awake.runFor(ms)));
    }
  }

  /** The time that all the machines of this network would agree upon, were their clocks set. */
  get #wallClock(): number {
    return this.#elapsedMs + SWITCHED_ON + 1_000;
  }

  #leaves(parcel: Parcel): void {
    // A wire of this length: what is older has been lost.
    if (this.inFlight.length === MAX_IN_FLIGHT) this.inFlight.shift();
    this.inFlight.push(parcel);
  }
}

/** Eight bytes at the end are overwritten by whatever world the machine is in, once it is a clone. */
export function innerPacket(from: number, to: number, payload: string): Uint8Array {
  const bytes = new TextEncoder().encode(`${payload}........`);
  return ipv4Packet(`10.0.0.${from + 1}`, `10.0.0.${to + 1}`, bytes);
}

function endpointOf(identity: number, peer: number) {
  if (identity === 2 && peer === 0) return {};
  if (identity === 0 && peer === 2) return { endpoint: { url: RELAY_URL } };
  const [v4, v6] = addressesOf(peer);
  return { endpoint: { ip: identity + peer === 1 ? v4 : v6, port: PORT } };
}
