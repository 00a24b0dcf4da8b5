// The version of this package, from its own package.json.

import { readFileSync } from 'node:fs';

/** Such as `0.1.0`. The file lies one folder up from the sources, two from the built program. */
export function packageVersion(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
      if (name === 'wireonce') return version;
    } catch {
      // Not here: the other place is left.
    }
  }
  return 'unknown';
}
