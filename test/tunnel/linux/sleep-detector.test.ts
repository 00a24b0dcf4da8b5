import { describe, expect, it } from 'vitest';
import { CLOCK_BOOTTIME } from '../../../tunnel/linux/libc.js';
import { SleepDetector } from '../../../tunnel/linux/sleep-detector.js';

describe('a machine that slept', () => {
  it('is found out once, by the clock that went on', () => {
    const clocks = { boot: 1_000, running: 400 };
    const detector = new SleepDetector({
      clockMs: clock => (clock === CLOCK_BOOTTIME ? clocks.boot : clocks.running),
    });
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
});
