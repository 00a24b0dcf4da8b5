// boringtun's command, built by Cargo.
// Promises: Cargo's own client fetches and checks the sources; nothing is installed outside of the bench's cache.
// Read on: github.com/cloudflare/boringtun.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { run, which } from '../programs.js';
import { BUILD_TIMEOUT_MS, CACHE, type Implementation } from './implementation.js';

export const boringtun: Implementation = {
  id: 'boringtun',
  name: 'boringtun',
  async find(rebuild) {
    const binary = join(CACHE, 'bin', 'boringtun-cli');
    try {
      if (rebuild || !existsSync(binary)) {
        const cargo = which('cargo');
        if (!cargo) return { reason: 'Cargo is not installed here, which builds it' };
        const args = ['install', 'boringtun-cli', '--root', CACHE, ...(rebuild ? ['--force'] : [])];
        await run(cargo, args, { timeoutMs: BUILD_TIMEOUT_MS });
      }
      const text = await run(binary, ['--version']);
      return {
        version: /([\d.]+)/.exec(text)?.[1] ?? 'unknown version',
        // It would give up root and with it the right to make its sockets here.
        daemon: name => ({ command: binary, args: ['-f', '--disable-drop-privileges', name] }),
      };
    } catch (error) {
      return { reason: (error as Error).message };
    }
  },
};
