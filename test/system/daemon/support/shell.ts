// Two machines at one cable, as a reader of a document has them: a shell on each, whose files under /etc, /run and /var/lib are
// its own, and whose processes end with it.
// Promises: what is written there, is written nowhere else; nothing is left when `closeMachines` is through.
// Read on: machine.ts; man 1 unshare; man 8 ip-netns.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../support/run.js';
import { PROGRAM, atEnd, folder, freshName, namespace } from './machine.js';

/** Of documentation (RFC 5737). */
const ADDRESSES = ['192.0.2.1', '192.0.2.2'] as const;
const TIMEOUT_MS = 60_000;

export class Shell {
  readonly address: string;
  readonly #process: ChildProcess;
  #output = '';
  #count = 0;
  #onOutput: () => void = () => {};

  constructor(address: string, process: ChildProcess) {
    this.address = address;
    this.#process = process;
    process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
      this.#onOutput();
    });
    process.once('exit', () => this.#onOutput());
  }

  /** Runs lines of a script, all in one shell; resolves with what they print. Throws when one fails, and ends the shell. */
  run(script: string): Promise<string> {
    const end = `-- end ${++this.#count} --`;
    this.#process.stdin?.write(`${script}\necho '${end}'\n`);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no end of: ${script}\n${this.#output}`)), TIMEOUT_MS);
      this.#onOutput = () => {
        const at = this.#output.indexOf(`${end}\n`);
        if (at < 0 && this.#process.exitCode === null) return;
        clearTimeout(timer);
        if (at < 0) return reject(new Error(`failed: ${script}\n${this.#output}`));
        const printed = this.#output.slice(0, at);
        this.#output = this.#output.slice(at + end.length + 1);
        resolve(printed);
      };
      this.#onOutput();
    });
  }
}

export async function startShells(): Promise<[Shell, Shell]> {
  const [left, right] = [await namespace(), await namespace()];
  const [a, b] = [freshName(), freshName()];
  await run('ip', ['-n', left, 'link', 'add', a, 'type', 'veth', 'peer', 'name', b, 'netns', right]);
  const shells: Shell[] = [];
  for (const [i, [home, link]] of [[left, a] as const, [right, b] as const].entries()) {
    await run('ip', ['-n', home, 'addr', 'add', `${ADDRESSES[i]}/24`, 'dev', link]);
    await run('ip', ['-n', home, 'link', 'set', link, 'up']);
    shells.push(start(home, ADDRESSES[i]));
  }
  return shells as [Shell, Shell];
}

function start(home: string, address: string): Shell {
  const bin = join(folder(), 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'wireonce'), `#!/bin/sh\nexec '${process.execPath}' '${PROGRAM}' "$@"\n`, {
    mode: 0o755,
  });
  const args = ['netns', 'exec', home, 'setpriv', '--pdeathsig', 'KILL'];
  const own = ['unshare', '--pid', '--fork', '--kill-child', '--mount', '--mount-proc', 'bash', '-e'];
  const child = spawn('ip', [...args, ...own], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, PATH: `${bin}:${process.env['PATH']}` },
  });
  child.stderr?.pipe(process.stderr);
  atEnd(() => {
    if (child.exitCode !== null || child.signalCode !== null) return undefined;
    const gone = new Promise(resolve => child.once('exit', resolve));
    child.kill('SIGKILL');
    return gone;
  });
  const shell = new Shell(address, child);
  child.stdin?.write(
    [
      'mount -t tmpfs tmpfs /run',
      'mkdir -p /run/etc /run/work /run/wireguard',
      'mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work /etc',
      'mount -t tmpfs tmpfs /var/lib',
      '',
    ].join('\n'),
  );
  return shell;
}
