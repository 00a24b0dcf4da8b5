// A machine that can be cloned: a device with everything under it, built from a seed and fed by a script.
// Two machines of one seed and one script are clones to the byte; from a chosen instant on their outside world (the
// generation, the kernel's entropy, the contents of a packet buffer) differs. There is no other way to make a clone.

import { Crng, type CrngOptions } from '../../crng/index.js';
import type { Suite } from '../../protocol/suite.js';
import { Device, type DeviceOptions } from '../../sessions/device.js';
import type { Clock, Endpoint } from '../../sessions/ports.js';
import type { ForkGuard } from '../../vmgenid/driver.js';
import { VmGenId } from '../../vmgenid/index.js';
import type { Ledger } from './ledger.js';
import { WatchedOutbox } from './outbox.js';
import { type Branching, Outside, type OutsideOptions } from './outside.js';

export class SimEndpoint implements Endpoint {
  isPeers?: boolean;
  readonly ip: Uint8Array;
  readonly port: number;

  constructor(host: number, port = 51820) {
    this.ip = Uint8Array.of(192, 0, 2, host);
    this.port = port;
  }

  equals(other: Endpoint): boolean {
    return other.port === this.port && other.ip.every((byte, i) => byte === this.ip[i]);
  }

  toString(): string {
    return `${this.ip.join('.')}:${this.port}`;
  }
}

/** Where a machine's history parts from its siblings': after so many reads of its generation, or between two calls. */
export interface Snapshot {
  /** The clone differs from the return of this read on: read `reads` is the first to show the new id. */
  readonly reads: number;
  /** Inputs that the clone has in common with its siblings; later ones are its own. */
  readonly inputs: number;
  /** Whether the snapshot lies between two inputs, not inside one. */
  readonly between: boolean;
}

type Branch = Snapshot & Branching;

/** One call into the machine, recorded so that a clone can be brought to the same state. */
type Input = (machine: Machine) => void;

export interface MachineOptions extends OutsideOptions {
  readonly suite: Suite;
  readonly ledger: Ledger;
  readonly clock: { now(): number };
  readonly device?: Partial<DeviceOptions>;
  /** What drives the device, of each machine its own: it is told what it may of the machine, which has no device yet. */
  readonly driver?: (machine: Machine) => Partial<DeviceOptions>;
  readonly crng?: Partial<CrngOptions>;
  /** No source at all: the machine without protection. */
  readonly unprotected?: boolean;
  /** Sabotage for negative controls: what the device (and only it) gets to see of the generation. */
  readonly sabotage?: (guard: ForkGuard) => ForkGuard;
  readonly onDatagram: (machine: Machine, datagram: Uint8Array, to: Endpoint) => void;
  readonly onPacket?: (machine: Machine, packet: Uint8Array, peerPublicKey: Uint8Array) => void;
  /** Called once the device exists, on each clone alike. */
  readonly setUp: (device: Device) => void;
}

/** Wall-clock milliseconds at which every simulation begins. */
const SIM_START = 1_700_000_000_000;

export class Machine {
  readonly device: Device;
  readonly vmgenid: VmGenId;
  readonly crng: Crng;
  readonly branches: readonly Branch[];
  readonly #options: MachineOptions;
  readonly #inputs: Input[] = [];
  readonly #outside: Outside;
  /** Brought to an old state: what leaves has left before. */
  #replaying = false;
  #atRecordedTime = false;
  #memory: Uint8Array | undefined;
  #time: number | undefined;
  readonly #bornAt: number;

  /** `bornAt`: when the first of its siblings began. */
  constructor(options: MachineOptions, branches: readonly Branch[] = [], bornAt = options.clock.now()) {
    this.#options = options;
    this.branches = branches;
    this.#bornAt = bornAt;
    this.#time = bornAt;
    this.#outside = new Outside(options, branches, () => this.#passBranches(false));
    const { clock } = options;
    const own: Clock = {
      now: () => this.#time ?? clock.now(),
      wallClock: () => SIM_START + (this.#time ?? clock.now()),
    };
    this.#passBranches(false);
    this.vmgenid = new VmGenId(options.unprotected ? [] : [this.#outside.source], { now: own.now });
    void this.vmgenid.start();
    this.crng = new Crng({
      entropy: this.#outside.entropy,
      vmgenid: this.vmgenid,
      now: own.now,
      ...options.crng,
    });
    const leave = (datagram: Uint8Array, to: Endpoint) => {
      if (this.#replaying) return;
      options.ledger.leaves(datagram);
      options.onDatagram(this, datagram.slice(), to);
    };
    this.device = new Device({
      crng: this.crng,
      vmgenid: options.sabotage ? options.sabotage(this.vmgenid) : this.vmgenid,
      clock: own,
      suite: options.suite,
      sink: {
        sendDatagram: leave,
        // So few that batches go both ways.
        outbox: new WatchedOutbox(2, leave),
        deliverPacket: (datagram, at, length, peerPublicKey) => {
          if (!this.#replaying) options.onPacket?.(this, datagram.slice(at, at + length), peerPublicKey);
        },
      },
      ...options.device,
      ...options.driver?.(this),
    });
    options.setUp(this.device);
    this.#time = undefined;
  }

  /** Runs one call at this instant, and remembers it for clones. */
  run(call: (device: Device, machine: Machine) => void): void {
    const at = this.#options.clock.now();
    const input: Input = machine => {
      machine.#time = machine.#replaying || machine.#atRecordedTime ? at : undefined;
      call(machine.device, machine);
      machine.#time = undefined;
    };
    this.#inputs.push(input);
    input(this);
  }

  /**
   * Sends a packet from memory that differs in every clone from its first instruction on: what is in the buffer when
   * the device copies it is what counts.
   */
  sendFromMemory(packet: Uint8Array): void {
    this.run((device, machine) => {
      const memory = packet.slice();
      machine.#memory = memory;
      machine.#scribble();
      device.sendPacket(memory);
      machine.#memory = undefined;
    });
  }

  /** A snapshot between two calls. */
  snapshot(): Snapshot {
    return { reads: this.reads, inputs: this.#inputs.length, between: true };
  }

  /** Starts a clone from a snapshot of this machine, under a generation ID of its own (unless `silent`). */
  restore(snapshot: Snapshot, label: string, silent = false): Machine {
    const clone = new Machine(
      this.#options,
      [...this.branches, { ...snapshot, label, silent }],
      this.#bornAt,
    );
    clone.#replaying = true;
    clone.#passBranches(true);
    for (const input of this.#inputs.slice(0, snapshot.inputs)) {
      input(clone);
      clone.#inputs.push(input);
      clone.#passBranches(true);
    }
    clone.#replaying = false;
    return clone;
  }

  /**
   * A clone whose history parts inside a call: it runs every input of this machine from the start, with its outputs,
   * and its outside world differs from the return of read `reads - 1` on.
   */
  forkAtRead(reads: number, label: string): Machine {
    const branch: Branch = { reads, inputs: 0, between: false, label, silent: false };
    const clone = new Machine(this.#options, [...this.branches, branch], this.#bornAt);
    clone.#passBranches(true);
    for (const input of this.#inputs) {
      clone.#atRecordedTime = true;
      input(clone);
      clone.#inputs.push(input);
      clone.#passBranches(true);
    }
    clone.#atRecordedTime = false;
    return clone;
  }

  /** The delayed word about the last fork arrives. */
  signal(): void {
    this.run((_device, machine) => {
      machine.#outside.signal();
    });
  }

  /** Names the life that it leads now: its own from the instant on in which it parted from its siblings. */
  get life(): string {
    return `${this.#options.seed} ${this.#outside.label}`;
  }

  /** Brought to an old state: what happens has happened before. */
  get isReplaying(): boolean {
    return this.#replaying;
  }

  /** Generation reads so far. */
  get reads(): number {
    return this.#outside.reads;
  }

  // A branch is passed when its instant has come: by count of reads, or at the end of the replay.
  #passBranches(between: boolean): void {
    const branch = this.branches[this.#outside.passed];
    if (!branch) return;
    const passed = branch.between
      ? between && this.#inputs.length === branch.inputs
      : this.reads === branch.reads;
    if (!passed) return;
    this.#outside.pass();
    this.#scribble();
    this.#passBranches(between);
  }

  #scribble(): void {
    // The last bytes of the packet in memory: hardware random numbers, the same only in one and the same clone.
    if (this.#memory) this.#outside.scribble(this.#memory);
  }
}
