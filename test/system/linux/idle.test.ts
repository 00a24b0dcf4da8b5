// A device loop without traffic: what it notices all the same, and what it does not spend on it.

import { expect, test } from 'vitest';
import { nobleSuite } from '../../../protocol/suites/noble.js';
import type { DeviceLoop, DeviceLoopOptions } from '../../../tunnel/linux/device-loop.js';
import { KernelLog } from '../../../tunnel/linux/kernel-log.js';
import { LOOK_EVERY_MS, type LinkEvent } from '../../../tunnel/linux/net/link-monitor.js';
import type { LinuxTun } from '../../../tunnel/linux/tun/tun.js';
import { MemorySource, VmGenId } from '../../../vmgenid/index.js';
import { type TestLoop, testLoop } from './loop.js';
import { ip, libc, namespace, tun } from './network.js';

interface Idle extends TestLoop {
  /** System calls so far, by the names that `Libc` has for them. */
  readonly calls: string[];
}

function idle(device: LinuxTun, more: Partial<DeviceLoopOptions> = {}): Idle {
  const calls: string[] = [];
  const counting = new Proxy(libc, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      calls.push(String(name));
      return value.bind(target);
    },
  });
  return { ...testLoop({ libc: counting, tun: device, suite: nobleSuite, ...more }), calls };
}

function turnFor(loop: DeviceLoop, ms: number): void {
  const end = performance.now() + ms;
  for (let left = ms; left > 0; left = end - performance.now()) loop.turn(left);
}

test('a fork of an idle machine that only a page shows is noticed within the time between two looks', () => {
  const { loop, source, vmgenid } = idle(tun(), { looksAtGuard: true });
  turnFor(loop, 50);
  source.fork(new Uint8Array(16).fill(1));
  expect(vmgenid.epoch).toBe(1);
  turnFor(loop, LOOK_EVERY_MS + 50);
  expect(vmgenid.epoch).toBe(2);
});

test('by the loop and nobody else (control: one that looks elsewhere)', () => {
  const other = new VmGenId([new MemorySource()]);
  const { loop, source, vmgenid } = idle(tun(), { guard: other, looksAtGuard: true });
  source.fork(new Uint8Array(16).fill(1));
  turnFor(loop, LOOK_EVERY_MS + 50);
  expect(vmgenid.epoch).toBe(1);
  void other.close();
});

test('an interface at home is not asked how it is, and one that was moved is', () => {
  const device = tun();
  const events: LinkEvent[] = [];
  const { loop, calls } = idle(device, { onLinkEvent: event => events.push(event) });
  ip('link', 'set', device.name(), 'up');
  turnFor(loop, LOOK_EVERY_MS + 50);
  expect(events.map(({ type }) => type)).toContain('up');
  calls.length = 0;
  turnFor(loop, 2 * LOOK_EVERY_MS + 50);
  expect(calls.filter(call => ['ioctl', 'poll', 'write'].includes(call))).toEqual([]);
  const elsewhere = namespace();
  ip('link', 'set', device.name(), 'netns', elsewhere);
  turnFor(loop, 50);
  ip('-n', elsewhere, 'link', 'set', device.name(), 'mtu', '1281');
  turnFor(loop, LOOK_EVERY_MS + 50);
  expect(events.map(({ type }) => type)).toEqual(expect.arrayContaining(['moved', 'mtu']));
});

test.each([
  ['not at all when there is nothing to look at', false, 0],
  ['once between two looks when there is', true, 3],
])('without traffic it wakes %s', (_name, looksAtGuard, looks) => {
  const { loop, calls } = idle(tun(), { looksAtGuard });
  turnFor(loop, 50);
  calls.length = 0;
  turnFor(loop, 3 * LOOK_EVERY_MS + 50);
  // Whatever the kernel says of other links meanwhile ends a wait too.
  const looked = calls.filter(call => call === 'timerfdSettime').length / 2;
  expect(Math.round(looked)).toBe(looks);
});

test.each(['/dev/null', '/nowhere/kmsg'])(
  'a log that cannot be waited for is asked for at every look: %s',
  path => {
    let told = 0;
    const { loop } = idle(tun(), { kernelLog: KernelLog.open(libc, path), onForkLine: () => told++ });
    turnFor(loop, 2 * LOOK_EVERY_MS + 50);
    expect(told).toBeGreaterThanOrEqual(2);
    expect(told).toBeLessThan(10);
  },
);
