// The pages of the command, built for browsers: each folder of web/ that has an index.html is one.
// Promises: nothing is inlined, so that the policy under which they are served forbids it; what was bundled has its licence
// beside it.
// Read on: web/server/serve.ts (how they are served).

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';
import { type Run, proofFigures } from './web/demo/proof/figures.js';
import { readDropMeanings } from './web/status/drop-table.js';

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const read = (name: string) => readFileSync(path(name), 'utf8');

export default defineConfig({
  root: path('web'),
  publicDir: false,
  define: {
    DROP_MEANINGS: JSON.stringify(readDropMeanings(read('docs/errors.md'))),
    PROOF_FIGURES: JSON.stringify(proofFigures(JSON.parse(read('docs/proof.json')) as Run[])),
  },
  worker: { format: 'es' },
  build: {
    outDir: path('dist/web/pages'),
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    license: { fileName: 'LICENSES.md' },
    rolldownOptions: { input: { demo: path('web/demo/index.html'), status: path('web/status/index.html') } },
  },
});
