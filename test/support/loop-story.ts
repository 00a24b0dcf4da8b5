// A story of loop machines from its beginning to its end: played, calmed, closed, and what is left then.

import type { Suite } from '../../protocol/suite.js';
import { DatagramPool, type DatagramSlot } from '../../tunnel/linux/net/datagram-pool.js';
import { LoopHistory, type LoopStep } from './loop-history.js';
import { LoopNetwork, type LoopOverrides } from './loop-network.js';

/** Buffers for datagrams that are out, of all machines of this process. */
const slotsOut = new Set<DatagramSlot>();
const { take, give } = DatagramPool.prototype;
DatagramPool.prototype.take = function (length) {
  const slot = take.call(this, length);
  if (slot) slotsOut.add(slot);
  return slot;
};
DatagramPool.prototype.give = function (slot) {
  if (!slotsOut.delete(slot)) throw new Error('a slot came back that was not out');
  give.call(this, slot);
};

export const IDENTITIES = 3;
/** What kernels can do with TUN devices: the newest, and one before USO. */
export const ALL_OFFLOADS = 0x7f;
export const TSO_ONLY = 0x1f;

export interface Story {
  readonly network: LoopNetwork;
  readonly history: LoopHistory;
}

export function play(suite: Suite, steps: readonly LoopStep[], overrides: LoopOverrides): Story {
  slotsOut.clear();
  const network = new LoopNetwork(suite);
  network.addMachines(IDENTITIES, overrides);
  const history = new LoopHistory(network, IDENTITIES);
  for (const step of steps) history.applyToLoop(step);
  network.settle();
  return { network, history };
}

/** Nothing goes wrong any more, and nothing is sent: what is left of the story comes to an end. */
export function calm(network: LoopNetwork): void {
  for (const { machine } of network.machines) {
    machine.run(({ kernel }) => {
      kernel.forgiveAll();
      kernel.pathMtu = 1_500;
      kernel.changeLink(tun => Object.assign(tun, { up: true, namespace: 1, name: 'wg0', mtu: 1_420 }));
    });
  }
  for (let round = 0; round < 3; round++) {
    network.advance(6_000);
    network.settle();
  }
  network.inFlight.length = 0;
}

/** What a process that ended well leaves behind. */
export const NOTHING = { descriptors: 0, locked: 0, slots: 0, misuses: [] as string[] };

/** Closes all machines. Returns what they left behind. */
export function closeAll({ machines }: LoopNetwork): typeof NOTHING {
  for (const { machine } of machines) machine.close();
  const kernels = machines.map(({ machine }) => machine.kernel);
  const left = {
    descriptors: kernels.reduce((sum, { openDescriptors }) => sum + openDescriptors, 0),
    locked: kernels.reduce((sum, { locked }) => sum + locked.size, 0),
    slots: slotsOut.size,
    misuses: kernels.flatMap(({ misuses }) => misuses),
  };
  slotsOut.clear();
  return left;
}
