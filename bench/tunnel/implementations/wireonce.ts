// This package's own daemon, as `npm run build` left it in dist/.

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Implementation } from './implementation.js';

// From dist/bench/tunnel/implementations/, where this runs.
const MAIN = fileURLToPath(new URL('../../../cli/main.js', import.meta.url));
const PACKAGE = new URL('../../../../package.json', import.meta.url);

export const wireonce: Implementation = {
  id: 'wireonce',
  name: 'wireonce',
  async find() {
    if (!existsSync(MAIN)) return { reason: 'not built: npm run build' };
    const { version } = JSON.parse(readFileSync(PACKAGE, 'utf8')) as { version: string };
    // For experiments: options of Node, such as those of its profiler.
    const nodeOptions = (process.env['WIREONCE_BENCH_NODE_OPTIONS'] ?? '').split(' ').filter(Boolean);
    return {
      version: `${version}, Node ${process.versions.node}`,
      daemon: name => ({ command: process.execPath, args: [...nodeOptions, MAIN, '-f', name] }),
    };
  },
};
