// The script of examples/sshd, told what it does: what is run, and in which order, with nothing of the machine in reach.
// Read on: ../system/services/services.test.ts (the same under a real systemd, against a real sshd).

import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const SCRIPT = fileURLToPath(new URL('../../examples/sshd/sshd', import.meta.url));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-sshd-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs it where there are no other commands than these, each of which ends with its code. Resolves with what it ran. */
function run(reseeded: boolean, codes: Readonly<Record<string, number>>): string[] {
  const log = join(folder, 'log');
  for (const name of ['pkill', 'systemctl', 'rm', 'ssh-keygen']) {
    const cases = Object.entries(codes).map(([line, code]) => `'${line}') exit ${code} ;;`);
    const path = join(folder, name);
    writeFileSync(
      path,
      `#!/bin/sh\necho "${name} $*" >>${log}\ncase "${name} $*" in ${cases.join(' ')} esac\n`,
    );
    chmodSync(path, 0o755);
  }
  const env = { PATH: folder, WIREONCE_RESEEDED: reseeded ? '1' : '0' };
  const { status, stderr } = spawnSync('/bin/sh', [SCRIPT], { env, encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
  return readFileSync(log, 'utf8').split('\n').slice(0, -1);
}

const ASKED = 'systemctl is-enabled --quiet ssh.socket';
const KILLED = 'pkill -KILL --full ^sshd(-session|-auth)?: ';

describe.each([
  ['sshd', 1, ['systemctl stop ssh'], 'systemctl start ssh'],
  ['systemd', 0, ['systemctl stop ssh.socket', 'systemctl stop ssh'], 'systemctl start ssh.socket'],
] as const)('where %s listens', (_, isEnabled, stopped, started) => {
  const ended = [ASKED, KILLED, ...stopped, KILLED];

  it('all are killed at once, and once more when nobody is let in', () => {
    expect(run(false, { [ASKED]: isEnabled })).toEqual(ended);
  });

  it('that is started again when the kernel has reseeded, whether anybody was there or not', () => {
    for (const found of [0, 1]) {
      const lines = run(true, { [ASKED]: isEnabled, [KILLED]: found });
      rmSync(join(folder, 'log'));
      expect(lines.slice(0, ended.length)).toEqual(ended);
      const [removed, ...rest] = lines.slice(ended.length);
      expect(removed).toMatch(/^rm -f( \/etc\/ssh\/ssh_host_\S+_key(\.pub)?)+$/);
      expect(rest).toEqual(['ssh-keygen -A', started]);
    }
  });
});
