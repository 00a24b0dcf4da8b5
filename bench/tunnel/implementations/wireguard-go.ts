// wireguard-go twice: as Debian packages it, and the newest, built by Go.
// Promises: Go's own client fetches and checks the sources; nothing is installed outside of the bench's cache.
// Read on: git.zx2c4.com/wireguard-go.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { run, which } from '../programs.js';
import { BUILD_TIMEOUT_MS, CACHE, type Implementation } from './implementation.js';

const MODULE = 'golang.zx2c4.com/wireguard';

export const wireguardGoDebian: Implementation = {
  id: 'wireguard-go-debian',
  name: 'wireguard-go (Debian)',
  async find() {
    const binary = which('wireguard-go');
    if (!binary) return { reason: 'not installed: apt-get install wireguard-go' };
    return {
      version: versionOf(await run(binary, ['--version'])),
      daemon: name => ({ command: binary, args: ['-f', name] }),
    };
  },
};

export const wireguardGoNewest: Implementation = {
  id: 'wireguard-go',
  name: 'wireguard-go (newest)',
  async find(rebuild) {
    const go = which('go');
    if (!go) return { reason: 'Go is not installed here, which builds it' };
    const folder = join(CACHE, 'bin');
    const binary = join(folder, 'wireguard');
    try {
      if (rebuild || !existsSync(binary)) {
        await run(go, ['install', `${MODULE}@latest`], {
          env: { ...process.env, GOBIN: folder },
          timeoutMs: BUILD_TIMEOUT_MS,
        });
      }
      return {
        version: moduleVersion(await run(go, ['version', '-m', binary])),
        daemon: name => ({ command: binary, args: ['-f', name] }),
      };
    } catch (error) {
      return { reason: (error as Error).message };
    }
  },
};

/** `wireguard-go v0.0.20220316` and lines about its makers. */
function versionOf(text: string): string {
  return /\bv([\d.]+)/.exec(text)?.[1] ?? 'unknown version';
}

/** Of the module that was built, from what `go version -m` prints. */
export function moduleVersion(text: string): string {
  return /^\s*mod\s+\S+\s+v(\S+)/m.exec(text)?.[1] ?? 'unknown version';
}
