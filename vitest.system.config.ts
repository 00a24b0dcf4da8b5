import { defineConfig } from 'vitest/config';

// These want the machine for themselves: they load it, count every byte that is sent in time, or change its links.
const ALONE = [
  ...['soak', 'full-load', 'scale', 'flood', 'gateway-flood', 'strangers', 'many-peers'].map(
    name => `test/system/daemon/${name}.test.ts`,
  ),
  'test/system/counters.test.ts',
  'test/system/linux/*.test.ts',
];

/** Short files that take long. */
const PACKAGE = ['test/system/package/*.test.ts'];

const common = {
  // A process of its own for each file: daemons die with the process that started them.
  pool: 'forks' as const,
  testTimeout: 180_000,
  hookTimeout: 120_000,
};

// Tests against an unmodified wireguard-go. Names and namespaces are each process's own, and most of the time is spent
// waiting for WireGuard's timers: so most files run three at a time, and after these the others, one by one.
export default defineConfig({
  test: {
    globalSetup: ['test/system/global-setup.ts'],
    projects: [
      // Of one group, and first in it by its name: files begin by their size, and these would be waited for at the end.
      {
        test: {
          ...common,
          name: 'package',
          include: PACKAGE,
          maxWorkers: 3,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...common,
          name: 'together',
          include: ['test/system/**/*.test.ts'],
          exclude: [...ALONE, ...PACKAGE],
          maxWorkers: 3,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...common,
          name: 'alone',
          include: ALONE,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
