import { configDefaults, defineConfig } from 'vitest/config';
import base from './vitest.config.js';

// What `npm run mutate` runs for each mutant of a folder: the folder's own tests, without the slow ones and without those
// that watch the machine rather than the code.
export default defineConfig({
  ...base,
  test: {
    ...base.test,
    include: [`test/${process.env['MUTATED_FOLDER']}/**/*.test.ts`],
    exclude: [
      ...configDefaults.exclude,
      'test/crng/{browser,entropy,openssl,openssl-healing}.test.ts',
      'test/protocol/{fastest,ipsec-mb,openssl,suites,suites-agree,suites-load}.test.ts',
      'test/sessions/{fuzz,gathered,reentrance,touch}.test.ts',
      'test/vmgenid/{broker/**,acpi-tables.test.ts}',
    ],
  },
});
