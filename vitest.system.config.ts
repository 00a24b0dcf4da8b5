import { defineConfig } from 'vitest/config';

// Tests against an unmodified wireguard-go. One file after the other: they share the machine's network.
export default defineConfig({
  test: {
    include: ['test/system/**/*.test.ts'],
    globalSetup: ['test/system/global-setup.ts'],
    fileParallelism: false,
    // A process of its own for each file: daemons die with the process that started them.
    pool: 'forks',
    testTimeout: 180_000,
    hookTimeout: 120_000,
  },
});
