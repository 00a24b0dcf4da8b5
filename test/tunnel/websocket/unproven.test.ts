import { describe, expect, test } from 'vitest';
import { UnprovenConnections } from '../../../tunnel/websocket/unproven.js';

function connections() {
  const clock = { now: 0 };
  return { clock, unproven: new UnprovenConnections(() => clock.now) };
}

/** Frames that are granted within `ms`, to whoever asks for many of them every millisecond. */
function granted(allowances: readonly { spend(): boolean }[], clock: { now: number }, ms: number): number {
  let frames = 0;
  for (const end = clock.now + ms; clock.now < end; clock.now++) {
    for (const allowance of allowances) while (allowance.spend()) frames++;
  }
  return frames;
}

describe('what unproven connections may send', () => {
  test('is a burst at once, and no more than so many frames a second, of all together', () => {
    for (const count of [1, 4, 100]) {
      const { clock, unproven } = connections();
      const allowances = Array.from({ length: count }, () => unproven.join());
      const first = granted(allowances, clock, 1);
      // A whole burst of its own for each of a few, and for many what a handshake takes.
      if (count <= 4) expect(first).toBe(256 * count);
      else expect(first).toBe(2_048 + 8 * count);
      // What one asks for too much is taken from what comes: it gets less than its share by asking all the time.
      expect(granted(allowances, clock, 10_000)).toBeLessThanOrEqual(
        10 * Math.min(4_000, 1_000 * count) + count,
      );
    }
  });

  test('is not more for who comes, sends, and comes again', () => {
    const { clock, unproven } = connections();
    const [seconds, comers] = [10, 1_000];
    let frames = 0;
    for (let i = 0; i < seconds * comers; i++) {
      clock.now += 1_000 / comers;
      const allowance = unproven.join();
      let each = 0;
      while (allowance.spend()) each++;
      // Each newcomer can make its handshake all the same.
      expect(each).toBeGreaterThanOrEqual(8);
      frames += each;
      allowance.leave();
    }
    expect(frames).toBeLessThanOrEqual(2_048 + seconds * (4_000 + 8 * comers));
  });

  test('one that waits as long as it is told gets half a burst, however many others ask', () => {
    const { clock, unproven } = connections();
    const others = Array.from({ length: 200 }, () => unproven.join());
    const patient = unproven.join();
    while (patient.spend());
    const { waitMs } = patient;
    expect(waitMs).toBeGreaterThan(0);
    granted(others, clock, waitMs);
    expect(patient.waitMs).toBe(0);
    let frames = 0;
    while (patient.spend()) frames++;
    expect(frames).toBeGreaterThanOrEqual(127);
  });

  test('is not used up for ever by who asked for far too much', () => {
    const { clock, unproven } = connections();
    const greedy = unproven.join();
    for (let i = 0; i < 1_000_000; i++) greedy.spend();
    expect(greedy.waitMs).toBeLessThan(1_000);
    clock.now += greedy.waitMs;
    expect(greedy.spend()).toBe(true);
  });
});

describe('what waits to be sent to unproven connections', () => {
  test('is a few replies each, and one budget together', () => {
    const { unproven } = connections();
    const reply = 64 + 640;
    let replies = 0;
    for (let i = 0; i < 1_024; i++) {
      const allowance = unproven.join();
      let waiting = 0;
      while (allowance.hasRoom(reply)) {
        waiting += reply;
        allowance.queued(waiting);
        replies++;
      }
      expect(waiting).toBeLessThanOrEqual(8 * 1_024);
    }
    expect(unproven.queuedBytes).toBeLessThanOrEqual(1024 * 1024);
    expect(replies).toBeGreaterThan(1_024);
  });

  test('is given back by whoever is proven or gone, once', () => {
    const { unproven } = connections();
    const [one, two] = [unproven.join(), unproven.join()];
    one.queued(5_000);
    two.queued(3_000);
    expect([unproven.count, unproven.queuedBytes]).toEqual([2, 8_000]);
    one.leave();
    one.leave();
    expect([unproven.count, unproven.queuedBytes]).toEqual([1, 3_000]);
  });
});
