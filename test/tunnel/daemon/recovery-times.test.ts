import { expect, it } from 'vitest';
import { RECOVERY_BUCKETS_S, RecoveryTimes } from '../../../tunnel/daemon/recovery-times.js';

it('the bounds grow, from 5 ms to a minute', () => {
  expect(RECOVERY_BUCKETS_S.toSorted((a, b) => a - b)).toEqual([...RECOVERY_BUCKETS_S]);
  expect([RECOVERY_BUCKETS_S[0], RECOVERY_BUCKETS_S.at(-1)]).toEqual([0.005, 60]);
});

it('each time is counted once, in the first bucket that it is not beyond', () => {
  for (const [i, bound] of RECOVERY_BUCKETS_S.entries()) {
    const times = new RecoveryTimes();
    times.observe(1_000 * bound);
    times.observe(1_000 * bound + 0.001);
    const { counts, sumMs } = times.histogram;
    expect(counts.flatMap((count, at) => (count > 0 ? [[at, count]] : []))).toEqual([
      [i, 1],
      [i + 1, 1],
    ]);
    expect(sumMs).toBeCloseTo(2_000 * bound + 0.001);
  }
});

it('what was shown is no longer changed', () => {
  const times = new RecoveryTimes();
  const { counts } = times.histogram;
  times.observe(1);
  expect(counts.every(count => count === 0)).toBe(true);
});
