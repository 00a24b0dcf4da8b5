// A device loop for tests, with a generation and a generator of its own: all of it closed at the end of the test.

import { Crng, kernelEntropy } from '../../../crng/index.js';
import { RingReader, ringMemory } from '../../../tunnel/daemon/device-thread/datagram-ring.js';
import { systemClock } from '../../../tunnel/clock.js';
import { DeviceLoop, type DeviceLoopOptions } from '../../../tunnel/linux/device-loop.js';
import { EventFd } from '../../../tunnel/linux/wait/poller.js';
import { MemorySource, VmGenId } from '../../../vmgenid/index.js';
import { atEnd, libc } from './network.js';

export interface TestLoop {
  readonly loop: DeviceLoop;
  readonly source: MemorySource;
  readonly vmgenid: VmGenId;
  readonly crng: Crng;
}

/** What is not said is as quiet as can be; trouble is thrown. */
export function testLoop(
  options: Pick<DeviceLoopOptions, 'tun' | 'suite'> & Partial<DeviceLoopOptions>,
): TestLoop {
  const source = new MemorySource();
  const vmgenid = new VmGenId([source]);
  const entropy = kernelEntropy();
  const crng = new Crng({ entropy, vmgenid, now: systemClock.now });
  const wake = EventFd.create(libc);
  const loop = new DeviceLoop({
    libc,
    wake,
    guard: vmgenid,
    crng,
    clock: systemClock,
    offloads: false,
    onWake: () => undefined,
    onDeviceEvent: () => undefined,
    onLinkEvent: () => undefined,
    onTrouble: error => {
      throw error;
    },
    arrivals: new RingReader(ringMemory(), () => undefined),
    onRelay: () => true,
    onProven: () => undefined,
    ...options,
  });
  atEnd(() => {
    loop.close();
    wake.close();
    crng.close();
    entropy.close();
    void vmgenid.close();
  });
  return { loop, source, vmgenid, crng };
}
