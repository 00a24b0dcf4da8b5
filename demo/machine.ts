// A machine that can be snapshotted and restored, inside one process: everything a device hears is recorded,
// and a clone is a second machine of the same seed that hears the same. There is no copying of live keys
// anywhere.
// Promises: at the instant of the restore a clone equals the original to the byte, its generator included.

import { blake2s } from '@noble/hashes/blake2.js';
import { Crng } from '../crng/crng.js';
import type { EntropySource } from '../crng/entropy.js';
import type { Suite } from '../protocol/suite.js';
import { Device, type PeerOptions } from '../sessions/device.js';
import type { DeviceEvent, ForkPolicy } from '../sessions/events.js';
import type { Clock, Endpoint } from '../sessions/ports.js';
import { systemClock } from '../tunnel/clock.js';
import { type ForkGuard, VmGenId } from '../vmgenid/driver.js';
import { GENERATION_WORDS } from '../vmgenid/generation.js';
import type { Timing } from '../vmgenid/source.js';
import { MemorySource } from '../vmgenid/sources/memory.js';

export interface MachineOptions {
  /** 32 secret bytes: all that makes this machine and its clones differ from other machines. */
  readonly seed: Uint8Array;
  readonly privateKey: Uint8Array;
  readonly suite: Suite;
  /** Whether the machine looks at its hypervisor's generation ID. */
  readonly guarded: boolean;
  readonly peer: PeerOptions;
  /** Default `wipe`. */
  readonly forkPolicy?: ForkPolicy;
  /** How soon a machine with protection learns of a fork. Default `immediate`. */
  readonly timing?: Timing;
  /** Default 0. */
  readonly holdBackMs?: number;
  /**
   * It looks at its generation as one with protection does, at the same instants, and heeds nothing. A
   * control.
   */
  readonly looksAway?: boolean;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Hears what happens to the device, and may call it. */
  readonly onEvent?: (device: Device, event: DeviceEvent) => void;
  /** Sees every packet that comes out of the tunnel. */
  readonly onPacket?: (packet: Uint8Array) => void;
  /** Sees every datagram on its way out. */
  readonly onDatagram: (datagram: Uint8Array, to: Endpoint) => void;
}

/** What a device hears: a packet to send, a datagram, the passing of time. */
type Input = (device: Device) => void;

interface Recorded {
  readonly at: number;
  readonly wallClock: number;
  readonly input: Input;
}

/** What a machine and its clone need not have in common. */
export type Own = Pick<MachineOptions, 'onDatagram' | 'onEvent' | 'onPacket'>;

export class Machine {
  readonly device: Device;
  readonly #options: MachineOptions;
  readonly #hypervisor: MemorySource;
  readonly #history: Recorded[] = [];
  #reads = 0;
  /** For a clone in the making: its first look that is not its parent's too, and what it shows. */
  #parts: { readonly at: number; readonly vmGenId: Uint8Array } | undefined;
  #now = 0;
  #wallClock = 0;
  #replaying = false;

  constructor(options: MachineOptions) {
    this.#options = options;
    const now = () => this.#now;
    const { privateKey, suite, forkPolicy, timing = 'immediate', holdBackMs } = options;
    this.#hypervisor = new MemorySource({ timing, onRead: () => this.#look() });
    // Without a look at the hypervisor nothing in the machine ever learns of a fork.
    const vmgenid = options.looksAway
      ? lookingAway(this.#hypervisor)
      : new VmGenId(options.guarded ? [this.#hypervisor] : [], { now });
    if (vmgenid instanceof VmGenId) void vmgenid.start();
    this.device = new Device({
      privateKey,
      suite,
      forkPolicy,
      holdBackMs,
      vmgenid,
      crng: new Crng({ entropy: clonedKernel(options.seed), vmgenid, now }),
      clock: { now, wallClock: () => this.#wallClock },
      sink: {
        sendDatagram: (datagram, to) => {
          if (!this.#replaying) options.onDatagram(datagram, to);
        },
        deliverPacket: (datagram, at, length) => {
          if (!this.#replaying) options.onPacket?.(new Uint8Array(datagram.subarray(at, at + length)));
        },
      },
      onEvent: event => options.onEvent?.(this.device, event),
    });
    this.device.setPeer(options.peer);
  }

  /** Lets the device hear something now, and remembers it. */
  hear(input: Input): void {
    const { clock = systemClock } = this.#options;
    this.#play({ at: clock.now(), wallClock: clock.wallClock(), input });
  }

  /**
   * Starts this machine a second time from what it is now: on new hardware, with a new generation ID (16
   * bytes), as a hypervisor does. Only what is told of it here differs from this machine.
   */
  restore(vmGenId: Uint8Array, own: Own): Machine {
    const clone = this.copy(own);
    clone.wake(vmGenId);
    return clone;
  }

  /** The same, before it runs: it hears nothing until it wakes. */
  copy(own: Own): Machine {
    const clone = new Machine({ ...this.#options, ...own });
    clone.#replaying = true;
    for (const recorded of this.#history) clone.#play(recorded);
    clone.#replaying = false;
    return clone;
  }

  /** The first instruction after the restore. */
  wake(vmGenId: Uint8Array): void {
    this.#hypervisor.fork(vmGenId);
  }

  /**
   * A clone whose snapshot lies in the midst of a call: what this machine has lived through up to its look
   * number `read` at its generation (from 0), and from that look on, which shows the clone's own, the rest of
   * that call.
   */
  forkAtRead(read: number, vmGenId: Uint8Array, own: Own): Machine {
    const clone = new Machine({ ...this.#options, ...own });
    clone.#parts = { at: read, vmGenId };
    clone.#replaying = true;
    for (const recorded of this.#history) {
      clone.#play(recorded);
      if (!clone.#replaying) break;
    }
    if (clone.#replaying) clone.wake(vmGenId);
    clone.#replaying = false;
    return clone;
  }

  /** Looks at its generation so far. */
  get reads(): number {
    return this.#reads;
  }

  /** The word of the fork arrives, where it comes late. */
  signal(): void {
    this.hear(() => this.#hypervisor.signal());
  }

  #look(): void {
    if (this.#reads++ !== this.#parts?.at) return;
    this.#replaying = false;
    this.wake(this.#parts.vmGenId);
  }

  #play(recorded: Recorded): void {
    this.#now = recorded.at;
    this.#wallClock = recorded.wallClock;
    this.#history.push(recorded);
    recorded.input(this.device);
  }
}

/** Reads the generation whenever it is asked for it, and always gives the first epoch. */
function lookingAway(source: MemorySource): ForkGuard {
  const blind = new VmGenId([]);
  const seen = new Uint32Array(GENERATION_WORDS);
  const check = () => {
    source.read(seen);
    return blind.check();
  };
  check();
  return {
    epoch: blind.epoch,
    forkEpoch: blind.forkEpoch,
    protection: blind.protection,
    evidence: blind.evidence,
    check,
    poll: check,
    register: (phase, subscriber, options) => blind.register(phase, subscriber, options),
    onEvidence: callback => blind.onEvidence(callback),
  };
}

/** The kernel's generator as clones see it right after a restore: still one and the same stream. */
function clonedKernel(seed: Uint8Array): EntropySource {
  const counter = new Uint32Array(1);
  return {
    name: 'simulated kernel',
    read: into => {
      for (let at = 0; at < into.length; at += 32) {
        counter[0]++;
        into.set(blake2s(new Uint8Array(counter.buffer), { key: seed }).subarray(0, into.length - at), at);
      }
    },
    close: () => {},
  };
}
