import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// Tests run on the sources, under the names a user of the package imports.
export default defineConfig({
  resolve: {
    alias: [
      { find: /^wireonce\/browser$/, replacement: source('./browser.ts') },
      { find: /^wireonce\/(\w+)$/, replacement: source('./$1/index.ts') },
      { find: /^wireonce$/, replacement: source('./index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/system/**', 'test/vm/**', 'node_modules/**'],
    // The default is one less than there are processors: on two, one sat idle.
    maxWorkers: '100%',
    testTimeout: 120_000,
    hookTimeout: 60_000,
    coverage: {
      provider: 'v8',
      include: [
        'native/**',
        'vmgenid/**',
        'crng/**',
        'protocol/**',
        'sessions/**',
        'gateway/**',
        'tunnel/**',
        'demo/**',
        'web/server/**',
        'cli/**',
      ],
      reporter: ['text-summary', 'json-summary'],
    },
  },
});
