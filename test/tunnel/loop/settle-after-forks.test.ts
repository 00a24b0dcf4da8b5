// A generator from which nobody draws, on a machine whose hardware generator alone parts clones, and only by and by.

import { afterEach, expect, test, vi } from 'vitest';
import { HARDWARE_FACT_BYTES, type NotFreshPolicy } from '../../../crng/freshness.js';
import { settleAfterForks } from '../../../tunnel/loop/settle-after-forks.js';
import { ID_B, machine } from '../../crng/machine.js';

afterEach(() => vi.useRealTimers());

/** Gives 64 bytes a read, as virtio-rng does to whoever does not wait. */
function slowHardware() {
  let reads = 0;
  return {
    name: 'slow',
    read: (into: Uint8Array) => {
      reads++;
      const some = into.subarray(0, 64);
      some.fill(reads);
      return some.length;
    },
    close: () => {},
    get reads() {
      return reads;
    },
  };
}

async function forked(settles: boolean, onNotFresh?: NotFreshPolicy) {
  vi.useFakeTimers();
  const hardware = slowHardware();
  const it = await machine({ source: { uniqueness: 'counter' }, crng: { hardware, onNotFresh } });
  let told = 0;
  it.crng.onEvidence(() => told++);
  const end = settles ? settleAfterForks(it.vmgenid, it.crng) : () => {};
  it.source.fork(ID_B);
  it.vmgenid.check();
  /** Time goes by. */
  const pass = (ms: number) => {
    for (let at = 0; at < ms; at += 10) {
      it.clock.ms += 10;
      vi.advanceTimersByTime(10);
    }
  };
  return { ...it, hardware, end, pass, told: () => told };
}

test('becomes fresh by itself, and tells who was waiting', async () => {
  const { crng, pass, told } = await forked(true);
  expect(crng.freshness).toBe('waiting');
  pass(1_000);
  expect([crng.freshness, told()]).toEqual(['fresh', 1]);
  expect(vi.getTimerCount()).toBe(0);
  crng.close();
});

test('control: without it nobody reads the hardware generator', async () => {
  const { crng, pass, told, hardware } = await forked(false);
  const { reads } = hardware;
  pass(10_000);
  expect([crng.freshness, told(), hardware.reads]).toEqual(['waiting', 0, reads]);
  crng.close();
});

test('goes on where draws go on without, until it is fresh', async () => {
  const { crng, clock, pass, told } = await forked(true, 'proceed');
  clock.ms += 6_000;
  pass(100);
  expect([crng.isFresh(), crng.freshness]).toEqual([true, 'proceeding']);
  pass(1_000 * (HARDWARE_FACT_BYTES / 64 + 1));
  expect([crng.freshness, told()]).toEqual(['fresh', 1]);
  expect(vi.getTimerCount()).toBe(0);
  crng.close();
});

test('goes on after draws were refused, and ends when it is told to', async () => {
  const { crng, clock, pass, hardware, end } = await forked(true);
  clock.ms += 6_000;
  pass(100);
  expect(crng.freshness).toBe('refusing');
  const { reads } = hardware;
  pass(2_000);
  expect(hardware.reads).toBeGreaterThan(reads);
  end();
  expect(vi.getTimerCount()).toBe(0);
  expect(64 * hardware.reads).toBeLessThan(HARDWARE_FACT_BYTES);
  crng.close();
});
