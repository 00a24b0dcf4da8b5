// An alarm makes its descriptor readable at the earliest time that was asked for; only an earlier one sets it anew.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { Alarm } from '../../../../tunnel/linux/wait/alarm.js';
import { Poller } from '../../../../tunnel/linux/wait/poller.js';
import { libc } from '../sockets.js';

let poller: Poller;
let alarm: Alarm;
let timesSet: number;

beforeEach(() => {
  timesSet = 0;
  const counting = new Proxy(libc, {
    get(target, name) {
      if (name === 'timerfdSettime') timesSet++;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  poller = new Poller(libc);
  alarm = new Alarm(counting);
  poller.add(alarm.fd);
});
afterEach(() => {
  poller.close();
  alarm.close();
});

test('it does not ring before its time, and rings then', () => {
  const start = performance.now();
  alarm.ringBy(start + 20.5, start);
  expect(poller.wait(0)).toBe(0);
  expect(poller.wait(10_000)).toBe(1);
  expect(performance.now() - start).toBeGreaterThanOrEqual(20.5);
});

test('it goes on ringing until it is silenced, and then rings no more', () => {
  alarm.ringBy(1e-9, 0);
  expect(poller.wait(10_000)).toBe(1);
  expect(poller.wait(0)).toBe(1);
  alarm.silence();
  expect(poller.wait(10)).toBe(0);
  alarm.ringBy(Number.POSITIVE_INFINITY, 0);
  expect(poller.wait(10)).toBe(0);
  alarm.ringBy(1, 0);
  expect(poller.wait(10_000)).toBe(1);
});

test('an earlier time is heeded, and a later one costs no system call', () => {
  alarm.ringBy(3_600_000, 0);
  expect(timesSet).toBe(1);
  alarm.ringBy(3_600_001, 0);
  alarm.ringBy(3_600_000, 5);
  expect(timesSet).toBe(1);
  alarm.ringBy(5, 0);
  expect(timesSet).toBe(2);
  expect(poller.wait(10_000)).toBe(1);
});

test('hours are as good as milliseconds', () => {
  // More seconds than 32 bits of nanoseconds hold.
  alarm.ringBy(5_000, 0);
  expect(poller.wait(50)).toBe(0);
  alarm.silence();
  alarm.ringBy(2 ** 40, 0);
  expect(poller.wait(50)).toBe(0);
});
