import { describe, expect, it } from 'vitest';
import { CLOCK_BOOTTIME, type Libc } from '../../../../tunnel/linux/libc.js';
import { Poller } from '../../../../tunnel/linux/wait/poller.js';
import { SleepDetector } from '../../../../tunnel/linux/wait/sleep-detector.js';
import { libc } from '../sockets.js';

describe('a machine that slept', () => {
  it('is found out once, by the clock that went on', () => {
    const clocks = { boot: 1_000, running: 400 };
    const detector = new SleepDetector({
      alloc: (bytes: number) => libc.alloc(bytes),
      timerfdCreate: () => 99,
      timerfdSettime: () => 0,
      clockMs: (clock: number) => (clock === CLOCK_BOOTTIME ? clocks.boot : clocks.running),
    } as unknown as Libc);
    const pass = (awake: number, asleep: number) => {
      clocks.boot += awake + asleep;
      clocks.running += awake;
    };
    pass(60_000, 0);
    expect(detector.slept()).toBe(false);
    pass(10, 5_000);
    expect(detector.slept()).toBe(true);
    pass(10, 0);
    expect(detector.slept()).toBe(false);
  });

  it.each([
    [0, true],
    [-125, true],
    [-22, false],
  ])('is told of by the kernel that answers %i: %s', (answer, isTold) => {
    const detector = new SleepDetector({
      alloc: (bytes: number) => libc.alloc(bytes),
      timerfdCreate: () => 99,
      timerfdSettime: () => answer,
      clockMs: () => 0,
    } as unknown as Libc);
    expect(detector.isTold).toBe(isTold);
  });

  it('is not suspected as long as nobody sets the clock', () => {
    const detector = new SleepDetector(libc);
    const poller = new Poller(libc);
    poller.add(detector.fd);
    expect([poller.wait(50), detector.slept(), poller.wait(50)]).toEqual([0, false, 0]);
    poller.close();
    detector.close();
  });
});
