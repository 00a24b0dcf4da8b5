// A device loop on a machine that slept: by the kernel's two clocks, one of which is set forward here.
// Read on: tunnel/linux/wait/sleep-detector.ts; Linux drivers/net/wireguard/device.c wg_pm_notification().

import { afterEach, expect, test } from 'vitest';
import { fastestSuite } from '../../../protocol/suites/fastest.js';
import type { DeviceLoop } from '../../../tunnel/linux/device-loop.js';
import { CLOCK_BOOTTIME, CLOCK_REALTIME } from '../../../tunnel/linux/libc.js';
import { LOOK_EVERY_MS } from '../../../tunnel/linux/net/link-monitor.js';
import { EventFd } from '../../../tunnel/linux/wait/poller.js';
import { testLoop } from './loop.js';
import { ip, libc, tun } from './network.js';

const suite = await fastestSuite();
const LOOPBACK = Uint8Array.of(127, 0, 0, 1);

const loops: DeviceLoop[] = [];
afterEach(() => loops.splice(0));

interface Sleeper {
  readonly loop: DeviceLoop;
  /** The machine sleeps so long, in milliseconds, and wakes. */
  sleep(ms: number): void;
}

/** A loop whose interface is up, with a key. */
function sleeper(): Sleeper {
  const device = tun();
  ip('link', 'set', device.name(), 'up');
  let sleptMs = 0;
  // Stands for the timer that the kernel makes readable when a machine wakes.
  const woken = EventFd.create(libc);
  const methods: Partial<typeof libc> = {
    clockMs: clock => libc.clockMs(clock) + (clock === CLOCK_BOOTTIME ? sleptMs : 0),
    timerfdCreate: (clock, flags) => (clock === CLOCK_REALTIME ? woken.fd : libc.timerfdCreate(clock, flags)),
    timerfdSettime: (fd, flags, times) =>
      fd === woken.fd ? Number(woken.drain()) : libc.timerfdSettime(fd, flags, times),
  };
  // Its methods are those of `libc`: it keeps what is private where it is.
  const sleepy = new Proxy(libc, {
    get(target, name) {
      const value: unknown = Reflect.get(methods, name) ?? Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const { loop, crng } = testLoop({ libc: sleepy, tun: device, suite });
  loop.set({ privateKey: crng.x25519PrivateKey(), replacePeers: false, peers: [] });
  loops.push(loop);
  return {
    loop,
    sleep(ms) {
      sleptMs += ms;
      woken.signal();
    },
  };
}

/** Turns all loops until something holds. */
function turnUntil(what: string, condition: () => boolean, timeoutMs = 20_000): void {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`);
    for (const loop of loops) loop.turn(5);
  }
}

const hasSession = ({ loop }: Sleeper) => loop.report().peers.some(peer => peer.hasSession);

/** Two that have a session with each other. */
function pair(): readonly [Sleeper, Sleeper] {
  const [one, other] = [sleeper(), sleeper()];
  for (const [from, to] of [
    [one, other],
    [other, one],
  ]) {
    const { publicKey } = to.loop.device;
    if (!publicKey) throw new Error('no key');
    const endpoint = { ip: LOOPBACK, port: to.loop.report().listenPort };
    const peer = { publicKey, endpoint, remove: false, updateOnly: false, replaceAllowedIps: false };
    from.loop.set({ replacePeers: false, peers: [{ ...peer, allowedIps: [] }] });
  }
  const call = () => one.loop.device.sendKeepalive(one.loop.device.peers()[0].publicKey);
  call();
  turnUntil('a session', () => hasSession(one) && hasSession(other));
  return [one, other];
}

test('after a sleep no session key is left, and the next packet starts a new handshake', () => {
  const [one, other] = pair();
  const before = one.loop.device.stats();
  one.sleep(5_000);
  turnUntil('the end of the session', () => !hasSession(one));
  expect(one.loop.device.stats().wipedKeypairs).toBeGreaterThan(before.wipedKeypairs);
  // The other machine did not sleep.
  expect(hasSession(other)).toBe(true);
  // It is no fork: the epoch stays.
  expect(one.loop.device.stats()).toMatchObject({ epoch: before.epoch, forks: 0 });

  one.loop.device.sendKeepalive(one.loop.device.peers()[0].publicKey);
  turnUntil('a new session', () => hasSession(one));
  expect(one.loop.device.stats().handshakesCompleted).toBe(before.handshakesCompleted + 1);
});

test('while nobody sleeps the session stays, whoever sets the clock (control)', () => {
  const [one] = pair();
  const before = one.loop.device.stats();
  one.sleep(0);
  const end = performance.now() + 2 * LOOK_EVERY_MS;
  turnUntil('two looks', () => performance.now() > end);
  expect(hasSession(one)).toBe(true);
  expect(one.loop.device.stats().wipedKeypairs).toBe(before.wipedKeypairs);
});
