import { defineConfig } from 'vitest/config';

// Real virtual machines under QEMU. One file after the other: an emulated processor takes a whole real one.
export default defineConfig({
  test: {
    include: ['test/vm/**/*.test.ts'],
    globalSetup: ['test/vm/global-setup.ts'],
    fileParallelism: false,
    // A process of its own for each file: machines die with the process that started them.
    pool: 'forks',
    testTimeout: 900_000,
    hookTimeout: 900_000,
  },
});
