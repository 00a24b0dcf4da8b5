// A machine with Debian 13 and a real systemd, in a container: what a package meets where it is installed.
// Promises: the tree is made once and never written to, what happens in a machine is gone with it; a machine ends with its
// test, or with the process that made it. Kept in ~/.cache/wireonce-debian (or XDG_CACHE_HOME), by what is in it.
// Read on: systemd-nspawn(1), mmdebstrap(1).

import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const SUITE = 'trixie';
/** What a user of the package has, and what looks at it. */
const PACKAGES = [
  'systemd-sysv',
  'nodejs',
  'iproute2',
  'wireguard-tools',
  'bash',
  'zsh',
  'fish',
  'man-db',
  'lintian',
  'samba',
  'smbclient',
  'nginx-light',
  'openssh-server',
  'openssl',
  'procps',
];
/** Of these packages, and started by nobody but a test: they are not what a machine is to be looked at for. */
const DISABLED = ['smbd', 'nmbd', 'samba-ad-dc', 'nginx', 'ssh'];

/** The folder of the tree, made if it is not there: a minute, most of it downloads. */
export function debianTree(): string {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'wireonce-debian');
  const name = createHash('sha256')
    .update([SUITE, ...PACKAGES, ...DISABLED].join(' '))
    .digest('hex')
    .slice(0, 16);
  const tree = join(cache, name);
  if (existsSync(tree)) return tree;
  mkdirSync(cache, { recursive: true });
  const making = mkdtempSync(join(cache, 'making-'));
  try {
    const quick = ['--dpkgopt=force-unsafe-io', '--dpkgopt=path-exclude=/usr/share/locale/*'];
    const options = [
      '--mode=root',
      '--variant=minbase',
      '--quiet',
      '--aptopt=APT::Install-Recommends "false"',
    ];
    const disable = `--customize-hook=systemctl --quiet --root="$1" disable ${DISABLED.join(' ')}`;
    const include = `--include=${PACKAGES.join(',')}`;
    // Two files of tests may want it at the same time: the second waits, and finds it.
    const make =
      'tree=$0 made=$1; shift; [ -e "$tree" ] || { mmdebstrap "$@" "$made" && mv "$made" "$tree"; }';
    const words = [tree, join(making, 'tree'), ...options, ...quick, include, disable, SUITE];
    execFileSync('flock', [join(cache, 'lock'), 'sh', '-c', make, ...words], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return tree;
}

export class DebianMachine {
  readonly #container: ChildProcess;
  readonly #folder: string;
  /** PID 1 of the machine, as this one counts. */
  readonly #init: number;

  private constructor(container: ChildProcess, folder: string, init: number) {
    this.#container = container;
    this.#folder = folder;
    this.#init = init;
  }

  /** Boots one that sees a folder of ours, unwritable, as /mnt. Has no network but its own. */
  static async boot(shared: string): Promise<DebianMachine> {
    const tree = debianTree();
    const folder = mkdtempSync(join(tmpdir(), 'wireonce-debian-'));
    const console = join(folder, 'console');
    const output = openSync(console, 'w');
    const nspawn = ['--boot', '--register=no', '--keep-unit', '--private-network', '--volatile=overlay'];
    const sees = ['--bind=/dev/net/tun', `--bind-ro=${shared}:/mnt`, `--directory=${tree}`];
    const name = `--machine=wireonce-${process.pid}`;
    const container = spawn('setpriv', ['--pdeathsig', 'TERM', 'systemd-nspawn', ...nspawn, name, ...sees], {
      stdio: ['ignore', output, output],
    });
    const { pid } = container;
    for (;;) {
      if (container.exitCode !== null || pid === undefined)
        throw new Error(`no machine could be started: ${readFileSync(console, 'utf8')}`);
      const [init] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
      const machine = new DebianMachine(container, folder, Number(init));
      if (init !== undefined && (await machine.run('systemctl is-system-running --wait').catch(() => '')))
        return machine;
      await sleep(200);
    }
  }

  /** What a line of shell printed there, both outputs. Throws with them when it fails. */
  async run(line: string): Promise<string> {
    const namespaces = ['--mount', '--uts', '--ipc', '--net', '--pid', '--root', '--wd'];
    const target = ['--target', String(this.#init), ...namespaces];
    const env = {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: '/root',
      LANG: 'C.UTF-8',
    };
    const { stdout } = await promisify(execFile)('nsenter', [...target, 'sh', '-c', `exec 2>&1; ${line}`], {
      env,
      maxBuffer: 64 * 1024 * 1024,
    }).catch((error: { stdout?: string }) => {
      throw new Error(`${line}: ${error.stdout}`);
    });
    return stdout;
  }

  async close(): Promise<void> {
    const ended = new Promise(done => this.#container.once('exit', done));
    if (this.#container.exitCode === null) {
      this.#container.kill('SIGTERM');
      const killed = setTimeout(() => this.#container.kill('SIGKILL'), 30_000);
      await ended;
      clearTimeout(killed);
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
