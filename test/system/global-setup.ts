// Before the system tests: is this a machine on which they can run?
// Promises: where something is missing the run fails and says what; nothing is skipped in silence.
// Read on: .ci/install-system (the packages), support/wireguard-go.ts (what each test sets up and takes down).

import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sweepDeadRuns } from './support/wireguard-go.js';

const INSTALL = fileURLToPath(new URL('../../.ci/install-system', import.meta.url));
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TUN = '/dev/net/tun';

export default function setup(): () => void {
  const problem = firstProblem();
  if (problem) throw new Error(`the system tests cannot run here: ${problem}`);
  sweepDeadRuns();
  return sweepDeadRuns;
}

function firstProblem(): string | undefined {
  if (process.platform !== 'linux') return `they need Linux, and this is ${process.platform}`;
  if (process.getuid?.() !== 0) return 'they need root, for a TUN device and a network namespace';
  try {
    accessSync(TUN, constants.R_OK | constants.W_OK);
  } catch (error) {
    return `${TUN} cannot be opened: ${(error as Error).message}`;
  }
  try {
    execFileSync(INSTALL, { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    return `.ci/install-system failed: ${String((error as { stderr?: Buffer }).stderr ?? error).trim()}`;
  }
  const built = spawnSync('npm', ['run', 'build', '--silent'], { cwd: ROOT, encoding: 'utf8' });
  if (built.status !== 0) return `the program cannot be built: ${built.stdout}${built.stderr}`.trim();
  const namespace = `wo${process.pid}probe`;
  const made = spawnSync('ip', ['netns', 'add', namespace], { encoding: 'utf8' });
  if (made.status !== 0) return `no network namespace can be made: ${made.stderr.trim()}`;
  spawnSync('ip', ['netns', 'del', namespace]);
  return undefined;
}
