import { defineConfig } from 'vitest/config';

// Machines that are waited for, and no race with anybody: the others compare what clones do who run at the same time.
const PATIENT = ['healing', 'randomness', 'sandbox', 'vsock'].map(name => `test/vm/${name}.test.ts`);

const common = {
  // A process of its own for each file: machines die with the process that started them.
  pool: 'forks' as const,
  testTimeout: 900_000,
  hookTimeout: 900_000,
};

// Real virtual machines under QEMU. An emulated processor takes a whole real one, but one file after the other would leave the
// second idle while a machine boots.
export default defineConfig({
  test: {
    globalSetup: ['test/vm/global-setup.ts'],
    projects: [
      {
        test: { ...common, name: 'together', include: PATIENT, maxWorkers: 2, sequence: { groupOrder: 0 } },
      },
      {
        test: {
          ...common,
          name: 'alone',
          include: ['test/vm/**/*.test.ts'],
          exclude: PATIENT,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
