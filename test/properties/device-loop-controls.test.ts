// Negative controls of device-loop.test.ts: one safety at a time is taken out of the loop, by replacing what holds it, and
// the ledger, the witness or what is left at the end must show the harm. The product has no such switch.

import { afterEach, describe, expect, it, vi } from 'vitest';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import type * as Release from '../../sessions/release.js';
import { LinuxUdpSocket } from '../../tunnel/linux/net/udp.js';
import { TunIo } from '../../tunnel/linux/tun/tun-io.js';
import { Alarm } from '../../tunnel/linux/wait/alarm.js';
import { Poller } from '../../tunnel/linux/wait/poller.js';
import type { ForkGuard } from '../../vmgenid/index.js';
import { FakeKernel } from '../support/kernel/kernel.js';
import type { LoopOverrides } from '../support/loop-network.js';

const suite = await fastestSuite();

/** Read by the replaced module at every call. */
const off = { gate: false };

vi.mock('../../sessions/release.js', async original => {
  const { ReleaseGate } = await original<typeof Release>();
  // Checks before sealing instead of after: the gate believes what was read when the packet came in.
  const before = (guard: ForkGuard): ForkGuard =>
    Object.create(guard, {
      epoch: { get: () => guard.epoch },
      check: { value: () => (off.gate ? guard.epoch : guard.check()) },
      poll: { value: () => (off.gate ? guard.epoch : guard.poll()) },
    }) as ForkGuard;
  class Gate extends ReleaseGate {
    constructor(options: Release.ReleaseOptions) {
      super({ ...options, vmgenid: before(options.vmgenid) });
    }
  }
  return { ReleaseGate: Gate };
});

const { LoopNetwork } = await import('../support/loop-network.js');
const { ALL_OFFLOADS, NOTHING, closeAll } = await import('../support/loop-story.js');

afterEach(() => {
  off.gate = false;
  vi.restoreAllMocks();
});

function talking(overrides: LoopOverrides = {}) {
  const network = new LoopNetwork(suite);
  const [subject, peer] = network.addMachines(2, overrides);
  network.send(subject, 0, 1, 'hello');
  network.settle();
  return { network, subject, peer };
}

/** A turn that sends, forked at every system call of it into two clones that go on. */
function forkedTurns(): { reuses: number; complaints: Set<string> } {
  const found = { reuses: 0, complaints: new Set<string>() };
  const turn = (at: number | undefined) => {
    const { network, subject } = talking({ offloads: ALL_OFFLOADS });
    const first = subject.instants;
    // More than one read of the interface between two looks at the generation.
    network.batch(subject, () => {
      for (let i = 0; i < 3; i++) network.stream(subject, 0, 1, 2, 100);
    });
    const last = subject.instants;
    if (at !== undefined) {
      network.machines.splice(0, 1);
      for (const label of ['left', 'right']) network.addClone(0, subject.forkAt(first + at, label));
      for (const { machine } of network.machines.slice(1)) network.send(machine, 0, 1, 'after the turn');
    }
    found.reuses += network.ledger.reuses.length;
    for (const complaint of network.complaints) found.complaints.add(complaint);
    closeAll(network);
    return last - first;
  };
  const calls = turn(undefined);
  for (let at = 1; at <= calls; at++) turn(at);
  return found;
}

describe('a turn that is forked', () => {
  it('is safe as built', () => {
    expect(forkedTurns()).toEqual({ reuses: 0, complaints: new Set() });
  });

  it('control: checked before sealing instead of after, a key and nonce are used twice', () => {
    off.gate = true;
    const { reuses, complaints } = forkedTurns();
    expect(reuses).toBeGreaterThan(0);
    expect([...complaints].join()).toMatch(/a look at the generation|whose generation was over/);
  });
});

describe('what a held device has not sent yet', () => {
  function complaints(): string[] {
    const { network, subject } = talking({ loop: { settings: { forkPolicy: 'hold' } } });
    const clog = (room: number) =>
      subject.run(({ kernel }) => {
        for (const socket of kernel.udpSockets) socket.room = room;
      });
    clog(0);
    network.send(subject, 0, 1, 'waits for room');
    const clone = subject.restore(subject.snapshot(), 'clone');
    network.addClone(0, clone);
    clone.run(each => each.loop.check());
    clone.run(({ kernel }) => kernel.forgiveAll());
    network.advance(10);
    closeAll(network);
    return network.complaints;
  }

  it('never leaves', () => expect(complaints()).toEqual([]));

  it('control: not discarded, it leaves when there is room', () => {
    vi.spyOn(LinuxUdpSocket.prototype, 'discard').mockImplementation(() => {});
    expect(complaints()).toContain('a datagram left that a held device kept back');
  });
});

describe('packets that are joined', () => {
  function complaints(): string[] {
    const { network, subject } = talking({ offloads: ALL_OFFLOADS });
    for (let i = 0; i < 4; i++) {
      network.stream(subject, 0, 1, 5, 300 + i);
      network.settle();
    }
    closeAll(network);
    return network.complaints;
  }

  it('are whole', () => expect(complaints()).toEqual([]));

  it('control: not written before their memory is used again, they are not', () => {
    const { flush } = TunIo.prototype;
    let calls = 0;
    vi.spyOn(TunIo.prototype, 'flush').mockImplementation(function (this: TunIo) {
      if (++calls % 2 === 0) flush.call(this);
    });
    expect(new Set(complaints())).toContain('a packet was delivered that nobody sent: it is not whole');
  });
});

describe('a datagram', () => {
  function complaints(): string[] {
    const { network, subject } = talking();
    network.batch(subject, () => {
      for (let i = 0; i < 5; i++) network.stream(subject, 0, 1, 1, 100 + 10 * i);
    });
    network.settle();
    closeAll(network);
    return network.complaints;
  }

  it('leaves once', () => expect(complaints()).toEqual([]));

  it('control: where the kernel forgets one that it took, it leaves twice', () => {
    const { sendmmsg } = FakeKernel.prototype;
    let forgotten = 0;
    vi.spyOn(FakeKernel.prototype, 'sendmmsg').mockImplementation(function (this: FakeKernel, ...call) {
      const sent = sendmmsg.apply(this, call);
      return sent > 1 && forgotten++ === 0 ? sent - 1 : sent;
    });
    expect(complaints()).toContain('a datagram left twice');
  });
});

describe('an idle loop', () => {
  function complaints(): string[] {
    const { network } = talking({ loop: { looksAtGuard: true } });
    network.advance(30_000);
    closeAll(network);
    return network.complaints;
  }

  it('sleeps', () => expect(complaints()).toEqual([]));

  it('control: with an alarm that is not silenced it does not', () => {
    vi.spyOn(Alarm.prototype, 'silence').mockImplementation(() => {});
    expect(complaints()).toContain('the loop does not sleep');
  });
});

describe('a loop that is closed', () => {
  function left(): object {
    const { network, subject } = talking();
    subject.run(({ kernel }) => {
      for (const socket of kernel.udpSockets) socket.room = 0;
    });
    network.send(subject, 0, 1, 'waits for room');
    return closeAll(network);
  }

  it('leaves nothing behind', () => expect(left()).toEqual(NOTHING));

  it('control: with descriptors that are not closed, or buffers that are not given back, it does', () => {
    vi.spyOn(Poller.prototype, 'close').mockImplementation(() => {});
    vi.spyOn(LinuxUdpSocket.prototype, 'discard').mockImplementation(() => {});
    expect(left()).toMatchObject({ descriptors: 2, slots: 1 });
  });
});
