// Installs what is missing, where that is possible, before the first machine is started.

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export default function setup(): void {
  execFileSync(fileURLToPath(new URL('../../.ci/install-vm', import.meta.url)), { stdio: 'inherit' });
}
