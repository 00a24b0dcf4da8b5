// A WireGuard in the guest, whose machine is cloned: what the harness must be able to ask of it.
// Promises: stateless on the host, so that a clone is asked in the same way as the machine it was made of.

import type { LoadOptions } from '../guest/load.js';
import type { Identity } from '../harness/identity.js';
import type { MachineOptions } from '../harness/lab.js';
import type { Machine } from '../harness/machine.js';
import type { DeviceStatus } from '../../../tunnel/daemon/status.js';

export interface Keys {
  readonly guest: Identity;
  readonly host: Identity;
}

export interface Subject {
  readonly name: string;
  /** All that `start` does, as a text. */
  readonly recipe: string;
  /** Default: all that QEMU can emulate. */
  readonly hardware?: Pick<MachineOptions, 'board' | 'cpu' | 'kernelOptions'>;
  /** Sets it up in a machine that has just booted. */
  start(machine: Machine, keys: Keys): Promise<void>;
  /** Sends through the tunnel like this from now on. */
  load(machine: Machine, options: LoadOptions): Promise<void>;
  /** Forgets the sessions with the host, so that the next packet starts a handshake. */
  restart(machine: Machine, keys: Keys): Promise<void>;
  /**
   * What it says of itself, if it says anything. Throws when it does not run as it is meant to be proven: what is safe on
   * a slower path has not been shown on the fast one.
   */
  status?(machine: Machine): Promise<DeviceStatus>;
}
