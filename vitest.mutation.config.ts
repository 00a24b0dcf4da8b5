import { configDefaults, defineConfig } from 'vitest/config';
import base from './vitest.config.js';

const folder = process.env['MUTATED_FOLDER'];

// What `npm run mutate` runs for each mutant of a folder: the folder's own tests, without those of other files and those
// that take long.
export default defineConfig({
  ...base,
  test: {
    ...base.test,
    include: [`test/${folder}/**/*.test.ts`],
    exclude: [
      ...configDefaults.exclude,
      'test/gateway/stores/**',
      'test/crng/{browser,entropy,openssl,openssl-healing}.test.ts',
      'test/protocol/{fastest,ipsec-mb,openssl,suites,suites-agree,suites-load}.test.ts',
      'test/sessions/{allowed-ips,deadline-queue,fuzz,gathered,index-table,peer-times,rate-limiter,reentrance,touch}.test.ts',
      'test/vmgenid/{acpi,acpi-tables,broker/*,detect,file,hook,hook-door,hook-vsock,kmsg,vmclock}.test.ts',
    ],
  },
});
