// A device loop over a fake kernel: what it notices, what it does not spend on that, and how it waits and ends.
// Read on: test/properties/device-loop.test.ts (everything at once, and clones); test/support/kernel/kernel.ts.

import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import { Crng } from '../../../crng/index.js';
import { nobleSuite } from '../../../protocol/suites/noble.js';
import { RingReader, RingWriter, ringMemory } from '../../../tunnel/daemon/device-thread/datagram-ring.js';
import { AF_INET6 } from '../../../tunnel/linux/libc.js';
import { LOOK_EVERY_MS, type LinkEvent } from '../../../tunnel/linux/net/link-monitor.js';
import { EventFd } from '../../../tunnel/linux/wait/poller.js';
import { MemorySource, VmGenId } from '../../../vmgenid/index.js';
import { RepeatingEntropy } from '../../crng/machine.js';
import type { FakeKernel } from '../../support/kernel/kernel.js';
import type { LoopMachine } from '../../support/loop-machine.js';
import { LoopNetwork, type LoopOverrides, innerPacket } from '../../support/loop-network.js';
import { NOTHING, closeAll } from '../../support/loop-story.js';

/** Machines that know each other and have no session yet. */
function machines(
  count: number,
  overrides: LoopOverrides = {},
): { network: LoopNetwork; all: LoopMachine[] } {
  const network = new LoopNetwork(nobleSuite);
  return { network, all: network.addMachines(count, overrides) };
}

function pair(overrides: LoopOverrides = {}): { network: LoopNetwork; one: LoopMachine; other: LoopMachine } {
  const { network, all } = machines(2, overrides);
  const [one, other] = all;
  network.send(one, 0, 1, 'hello');
  network.settle();
  return { network, one, other };
}

/** System calls that `action` brings about, by name. */
function callsOf({ kernel }: LoopMachine, action: () => void): (name: string) => number {
  const before = new Map(kernel.counts);
  action();
  const after = new Map(kernel.counts);
  return name => (after.get(name) ?? 0) - (before.get(name) ?? 0);
}

function clog({ kernel }: LoopMachine, isClogged = (_family: number) => true): void {
  for (const socket of kernel.udpSockets) if (isClogged(socket.family)) socket.room = 0;
}

const hasSession = ({ loop }: LoopMachine) => loop.report().peers.some(peer => peer.hasSession);

describe('an idle loop', () => {
  it('notices a fork that only a page shows within the time between two looks', () => {
    const { network, all } = machines(1, { loop: { looksAtGuard: true } });
    const clone = all[0].restore(all[0].snapshot(), 'clone');
    expect(clone.vmgenid.epoch).toBe(1);
    clone.run(each => each.runFor(LOOK_EVERY_MS + 50));
    expect(clone.vmgenid.epoch).toBe(2);
    clone.close();
    closeAll(network);
  });

  it('by itself (control: one that looks elsewhere)', () => {
    const elsewhere = new VmGenId([new MemorySource()]);
    const { network, all } = machines(1, { loop: { looksAtGuard: true }, sabotage: () => elsewhere });
    const clone = all[0].restore(all[0].snapshot(), 'clone');
    clone.run(each => each.runFor(LOOK_EVERY_MS + 50));
    expect(clone.vmgenid.epoch).toBe(1);
    clone.close();
    closeAll(network);
    void elsewhere.close();
  });

  describe('of which a source can be waited for', () => {
    /** A descriptor of each machine that was made; `settles` is what its source answers. */
    const told = (settles = () => true) => {
      const events: EventFd[] = [];
      const notices = (kernel: FakeKernel) => {
        const event = EventFd.create(kernel);
        events.push(event);
        return [{ fd: event.fd, settle: () => settles() && event.drain() }];
      };
      const { network, all } = machines(1, { notices });
      const clone = all[0].restore(all[0].snapshot(), 'clone');
      const end = () => {
        clone.close();
        closeAll(network);
      };
      return { clone, event: events[1], end };
    };

    it('is waked by it, and notices the fork at once', () => {
      const { clone, event, end } = told();
      event.signal();
      clone.run(each => each.runFor(1));
      expect(clone.vmgenid.epoch).toBe(2);
      end();
    });

    it('does not wake without its word (control: nor does it notice)', () => {
      const { clone, end } = told();
      clone.run(each => each.runFor(50));
      const { turns } = clone;
      clone.run(each => each.runFor(3 * LOOK_EVERY_MS));
      // The last turn is that in which the test's time is over.
      expect([clone.turns - turns - 1, clone.vmgenid.epoch]).toEqual([0, 1]);
      end();
    });

    it('looks once a second when it does not tell any more, and does not turn for ever', () => {
      const { clone, event, end } = told(() => false);
      event.signal();
      clone.run(each => each.runFor(50));
      expect(clone.vmgenid.epoch).toBe(2);
      const { turns } = clone;
      clone.run(each => each.runFor(3 * LOOK_EVERY_MS));
      expect(clone.turns - turns - 1).toBe(3);
      end();
    });

    it('looks once a second when it cannot be waited for', () => {
      const { network, all } = machines(1, { notices: () => [{ fd: 9_999, settle: () => true }] });
      const clone = all[0].restore(all[0].snapshot(), 'clone');
      clone.run(each => each.runFor(LOOK_EVERY_MS + 50));
      expect(clone.vmgenid.epoch).toBe(2);
      clone.close();
      closeAll(network);
    });
  });

  it('does not ask how its interface at home is, but how one is that was moved', () => {
    const events: LinkEvent[] = [];
    const { network, all } = machines(1, { loop: { onLinkEvent: event => events.push(event) } });
    const [machine] = all;
    expect(events.map(({ type }) => type)).toEqual(['up']);
    const calls = callsOf(machine, () => network.advance(2 * LOOK_EVERY_MS + 50));
    expect([calls('ioctl tun'), calls('poll'), calls('write netlink')]).toEqual([0, 0, 0]);
    machine.run(({ kernel }) => kernel.changeLink(tun => (tun.namespace = 2)));
    network.advance(50);
    // Nobody tells what happens there.
    machine.run(({ tun }) => (tun.mtu = 1_281));
    network.advance(LOOK_EVERY_MS + 50);
    expect(events.slice(1)).toEqual([
      { type: 'moved', home: false },
      { type: 'mtu', mtu: 1_281 },
    ]);
    closeAll(network);
  });

  it.each([
    ['not at all when there is nothing to look at', false, 0],
    ['once between two looks when there is', true, 3],
  ])('without traffic wakes %s', (_name, looksAtGuard, looks) => {
    const { network, all } = machines(1, { loop: { looksAtGuard } });
    network.advance(50);
    const { turns } = all[0];
    network.advance(3 * LOOK_EVERY_MS);
    // The last turn is that in which the test's time is over.
    expect(all[0].turns - turns - 1).toBe(looks);
    closeAll(network);
  });

  it.each(['/dev/null', '/nowhere/kmsg'])(
    'asks at every look for a log that cannot be waited for: %s',
    log => {
      let told = 0;
      const { network } = machines(1, { log, loop: { onForkLine: () => told++ } });
      told = 0;
      network.advance(2 * LOOK_EVERY_MS + 50);
      expect(told).toBe(2);
      expect(closeAll(network)).toEqual(NOTHING);
    },
  );
});

describe('a machine that slept', () => {
  it('has no session key left, and its next packet starts a new handshake', () => {
    const { network, one, other } = pair();
    const before = one.device.stats();
    network.sleep(one, 5_000);
    network.advance(1);
    expect([hasSession(one), hasSession(other)]).toEqual([false, true]);
    // It is no fork: the epoch stays.
    expect(one.device.stats()).toMatchObject({ epoch: before.epoch, forks: 0 });
    network.send(one, 0, 1, 'good morning');
    network.settle();
    expect(one.device.stats().handshakesCompleted).toBe(before.handshakesCompleted + 1);
    expect(other.witness.delivered(innerPacket(0, 1, 'good morning'))).toBe(1);
    closeAll(network);
  });

  it('control: while nobody sleeps the session stays, whoever sets the clock', () => {
    const { network, one } = pair();
    one.run(({ kernel }) => kernel.setClock(kernel.clock.realtime + 3_600_000));
    network.advance(2 * LOOK_EVERY_MS);
    expect(hasSession(one)).toBe(true);
    closeAll(network);
  });
});

describe('a loop that the system takes nothing from', () => {
  it('sleeps while one family has no room and the other has', () => {
    const { network, all } = machines(3);
    const [, machine, peer] = all;
    network.send(machine, 1, 2, 'by IPv6');
    network.settle();
    machine.run(each => clog(each, family => family === AF_INET6));
    network.send(machine, 1, 2, 'waits for room');
    const { turns } = machine;
    network.advance(5_000);
    expect(network.complaints).toEqual([]);
    expect(machine.turns - turns).toBeLessThan(10);
    machine.run(({ kernel }) => kernel.forgiveAll());
    network.advance(1);
    network.settle();
    expect(peer.witness.delivered(innerPacket(1, 2, 'waits for room'))).toBe(1);
    expect(closeAll(network)).toEqual(NOTHING);
  });

  it('leaves packets in the queue of its interface', () => {
    const { network, one } = pair();
    one.run(each => clog(each));
    network.batch(one, () => {
      for (let i = 0; i < 900; i++) network.send(one, 0, 1, `packet ${i}`);
    });
    network.advance(1_000);
    expect(one.tun.waiting).toBeGreaterThan(500);
    one.run(({ kernel }) => kernel.forgiveAll());
    network.advance(1_000);
    expect(one.tun.waiting).toBe(0);
    expect(network.complaints).toEqual([]);
    expect(closeAll(network)).toEqual(NOTHING);
  });
});

it.each([
  ['IPv4', 0],
  ['IPv6', 1],
])('a socket of %s that cannot be waited for is given up, and bound again', (_name, after) => {
  const troubles: unknown[] = [];
  const { network, one, other } = pair({ loop: { onTrouble: error => troubles.push(error) } });
  one.run(({ kernel }) => {
    kernel.fail({ call: 'epollCtl add', errno: constants.errno.ENOSPC, after, times: 1 });
    kernel.changeLink(tun => (tun.up = false));
  });
  network.advance(10);
  one.run(({ kernel }) => kernel.changeLink(tun => (tun.up = true)));
  network.advance(10);
  expect(troubles).toMatchObject([{ code: 'ERR_SYSTEM_CALL', errno: 'ENOSPC' }]);
  network.advance(LOOK_EVERY_MS);
  network.send(one, 0, 1, 'here again');
  network.settle();
  expect(other.witness.delivered(innerPacket(0, 1, 'here again'))).toBe(1);
  expect([network.complaints, closeAll(network)]).toEqual([[], NOTHING]);
});

it('a loop ends when its interface is deleted, and leaves nothing behind', () => {
  const { network, one } = pair();
  one.run(({ kernel }) => kernel.changeLink(tun => (tun.isGone = true)));
  network.advance(10);
  expect(one.loop.ended).toBe(true);
  expect(closeAll(network)).toEqual(NOTHING);
});

describe('a fork that a draw of randomness brings to light in the middle of a turn', () => {
  it('has what came for the machine before passed over at once, not when the turn ends', () => {
    const source = new MemorySource();
    const guard = new VmGenId([source]);
    const crng = new Crng({ entropy: new RepeatingEntropy(7), vmgenid: guard, now: () => 0 });
    const memory = ringMemory();
    const writer = new RingWriter(memory, () => {});
    const arrivals = new RingReader(memory, () => {});
    const events: string[] = [];
    const onDeviceEvent = ({ type }: { readonly type: string }) => events.push(type);
    const { network, all } = machines(1, { loop: { guard, crng, arrivals, onDeviceEvent } });
    const [{ device }] = all;
    writer.push(new Uint8Array(32), 1);
    device.cork();
    expect(arrivals.isEmpty).toBe(false);
    source.fork(new Uint8Array(16).fill(2));
    crng.bytes(32);
    expect([arrivals.isEmpty, events]).toEqual([true, []]);
    device.uncork();
    expect(events).toEqual(['vmFork']);
    closeAll(network);
    void guard.close();
  });
});
