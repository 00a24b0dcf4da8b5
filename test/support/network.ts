// Machines, clones of them, and the wire between: a bag from which any datagram may be delivered at any time, again,
// late or never, to any machine that has the address.

import type { Suite } from '../../protocol/suite.js';
import type { Device } from '../../sessions/device.js';
import type { Wire } from './history.js';
import { Ledger } from './ledger.js';
import { Machine, type MachineOptions, SimEndpoint } from './machine.js';
import { ipv4Packet } from './packets.js';

export interface InFlight {
  readonly bytes: Uint8Array;
  readonly from: SimEndpoint;
  readonly to: SimEndpoint;
}

export type Overrides = Partial<Omit<MachineOptions, 'suite' | 'ledger' | 'clock' | 'onDatagram' | 'setUp'>>;

export class Network implements Wire<Machine, InFlight> {
  readonly ledger = new Ledger();
  readonly clock = { now: () => this.#now };
  /** All machines that run: the first of each identity, and their clones. */
  readonly machines: { readonly identity: number; readonly machine: Machine }[] = [];
  readonly inFlight: InFlight[] = [];
  /** Packets that came out of a tunnel, per identity. */
  readonly received: Uint8Array[][] = [];
  readonly #suite: Suite;
  /** Every seal of it is in the ledger. */
  protected readonly recording: Suite;
  readonly #ports = new Map<number, number>();
  #now = 1_000;

  constructor(suite: Suite) {
    this.#suite = suite;
    this.recording = this.ledger.recording(suite);
  }

  /** Adds machines that all know each other: identity i is 10.0.0.i+1, at host i+1. */
  addMachines(count: number, overrides: (identity: number) => Overrides = () => ({})): Machine[] {
    const privateKeys = Array.from({ length: count }, (_, i) => new Uint8Array(32).fill(0x40 + i));
    const publicKeys = privateKeys.map(key => {
      const publicKey = new Uint8Array(32);
      this.#suite.publicKey(key, publicKey);
      return publicKey;
    });
    return privateKeys.map((privateKey, identity) => {
      const { device, ...rest } = overrides(identity);
      this.received[identity] = [];
      const machine = new Machine({
        seed: `machine ${identity}`,
        suite: this.recording,
        ledger: this.ledger,
        clock: this.clock,
        device: { privateKey, ...device },
        onDatagram: (_machine, bytes, to) =>
          this.inFlight.push({ bytes, from: this.endpoint(identity), to: to }),
        onPacket: (_machine, packet) => this.received[identity].push(packet),
        setUp: (own: Device) => {
          for (let peer = 0; peer < count; peer++) {
            if (peer === identity) continue;
            own.setPeer({
              publicKey: publicKeys[peer],
              endpoint: new SimEndpoint(peer + 1),
              allowedIps: [{ ip: Uint8Array.of(10, 0, 0, peer + 1), prefix: 32 }],
            });
          }
        },
        ...rest,
      });
      this.machines.push({ identity, machine });
      return machine;
    });
  }

  addClone(identity: number, machine: Machine): void {
    this.machines.push({ identity, machine });
  }

  /** Where the machines of an identity send from now. */
  endpoint(identity: number): SimEndpoint {
    return new SimEndpoint(identity + 1, 51820 + (this.#ports.get(identity) ?? 0));
  }

  roam(identity: number): void {
    this.#ports.set(identity, (this.#ports.get(identity) ?? 0) + 1);
  }

  send(machine: Machine, from: number, to: number, payload: string): void {
    // Eight bytes at the end are overwritten by whatever world the machine is in.
    const bytes = new TextEncoder().encode(`${payload}........`);
    machine.sendFromMemory(ipv4Packet(`10.0.0.${from + 1}`, `10.0.0.${to + 1}`, bytes));
  }

  /** Delivers to one machine. The datagram stays where it is, if it came from `inFlight`. */
  deliver(datagram: InFlight, machine: Machine): void {
    machine.run(device => device.receiveDatagram(datagram.bytes.slice(), datagram.from));
  }

  /** Hands datagrams to one machine in one batch: handshake messages among them wait for its next turn. */
  gather(datagrams: readonly InFlight[], machine: Machine): void {
    machine.run(device => {
      device.cork();
      for (const { bytes, from } of datagrams) device.gatherDatagram(bytes.slice(), from);
      device.uncork();
    });
  }

  batch(machine: Machine, sending: () => void): void {
    machine.run(device => device.cork());
    sending();
    machine.run(device => device.uncork());
  }

  turn(machine: Machine): boolean {
    machine.run(device => device.runTimers());
    return machine.device.nextDeadline() !== Number.NEGATIVE_INFINITY;
  }

  rekey(machine: Machine, peer: number): void {
    machine.run(device => {
      const peers = device.peers();
      device.initiateHandshake(peers[peer % peers.length].publicKey);
    });
  }

  /** How often a machine has found that a peer of it was cloned. */
  get accusations(): number {
    return this.machines.reduce((sum, { machine }) => sum + machine.device.stats().clonedPeers, 0);
  }

  /** Machines that a datagram could be delivered to. */
  listeners(datagram: InFlight): Machine[] {
    return this.machines
      .filter(({ identity }) => identity === datagram.to.ip[3] - 1)
      .map(({ machine }) => machine);
  }

  /** Delivers everything in flight, and what that brings about, once to each listener. */
  settle(rounds = 8): void {
    for (let round = 0; round < rounds && this.inFlight.length > 0; round++) {
      for (const datagram of this.inFlight.splice(0)) {
        for (const machine of this.listeners(datagram)) this.deliver(datagram, machine);
      }
    }
  }

  advance(ms: number): void {
    this.#now += ms;
    for (const { machine } of this.machines) machine.run(device => device.runTimers());
  }
}
