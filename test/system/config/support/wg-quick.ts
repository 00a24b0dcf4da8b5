// Debian's `wg-quick` and `wg` as judges: what they make of a file, without a WireGuard device.
// Promises: `strip` is `wg-quick strip` and `wg setconf`; `up` is `wg-quick up` and `down`, with the real `ip`, in a
// network namespace of its own. The device is a recorder (uapi-recorder.ts); the interface a TUN device of that name.

import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { concernsWgQuick } from '../../../support/wg-quick/corpus.js';
import { type Verdict, address } from '../../../support/wg-quick/outcome.js';
import { SOCKET_FOLDER, socketPath } from '../../../../tunnel/daemon/uapi/index.js';
import { atEnd, folder, freshName } from '../../daemon/support/machine.js';
import { UapiRecorder } from './uapi-recorder.js';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const which = (program: string) =>
  execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim();

export class WgQuick {
  readonly #name: string;
  readonly #cases: string;
  readonly #shell: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: AsyncIterator<string>;
  readonly #recorder: UapiRecorder;

  private constructor(name: string, recorder: UapiRecorder) {
    this.#name = name;
    this.#recorder = recorder;
    const base = folder();
    this.#cases = join(base, 'case');
    const stubs = join(base, 'stubs');
    mkdirSync(stubs);
    // It calls what lies beside it first.
    copyFileSync(which('wg-quick'), join(stubs, 'wg-quick'));
    for (const program of ['ip', 'resolvconf', 'nft', 'sysctl'])
      symlinkSync(join(HERE, 'stubs.sh'), join(stubs, program));
    const env = { ...process.env, NAME: name, STUBS: stubs, IP: which('ip') };
    this.#shell = spawn('unshare', ['--net', join(HERE, 'wg-quick.sh')], {
      env,
      stdio: ['pipe', 'pipe', 'inherit'],
      // A group of its own, so that it ends with all that it runs.
      detached: true,
    });
    this.#answers = createInterface({ input: this.#shell.stdout })[Symbol.asyncIterator]();
  }

  static async start(): Promise<WgQuick> {
    const name = freshName();
    mkdirSync(SOCKET_FOLDER, { recursive: true, mode: 0o700 });
    const recorder = await UapiRecorder.listen(socketPath(name));
    const judge = new WgQuick(name, recorder);
    atEnd(() => judge.close());
    return judge;
  }

  close(): void {
    if (this.#shell.pid !== undefined && this.#shell.exitCode === null)
      process.kill(-this.#shell.pid, 'SIGKILL');
    this.#recorder.close();
  }

  async judge(text: string): Promise<Verdict> {
    return concernsWgQuick(text) ? this.#up(text) : this.#strip(text);
  }

  /** What `wg` is told. */
  async #strip(text: string): Promise<Verdict> {
    const status = await this.#run('strip', text);
    return status === '0' ? this.#recorder.outcome() : 'refused';
  }

  /** What `wg` and `ip` are told, and what is run. A file that can be brought up and not down is an error of the test. */
  async #up(text: string): Promise<Verdict> {
    const status = await this.#run('up', text);
    if (status === '1') return 'refused';
    if (status !== '0') throw new Error(`wg-quick down: ${this.#read('down.log')}`);
    const lines = (name: string, pattern: RegExp) =>
      [...this.#read(name).matchAll(pattern)].map(match => match[1]);
    const commands = ['up.log', 'down.log'].flatMap(name => lines(name, /^\[#\] (:(?: .*)?)$/gm));
    const routes = lines('route-commands', /^.*? dev \S+(?: table (.*))?$/gm);
    return {
      ...this.#recorder.outcome(),
      quick: {
        addresses: lines('addresses', /inet6? (\S+)/g)
          .map(address)
          .toSorted(),
        nameServers: lines('resolvconf', /^nameserver (.*)$/gm),
        searchDomains: lines('resolvconf', /^search (.*)$/gm).flatMap(line => line.split(' ')),
        mtu: Number(lines('link', / mtu (\d+) /g)[0]),
        table: routes.length === 0 ? '' : (routes[0] ?? 'main'),
        commands,
        saved: existsSync(join(this.#cases, 'saved')),
      },
    };
  }

  async #run(verb: 'strip' | 'up', text: string): Promise<string> {
    this.#recorder.forget();
    rmSync(this.#cases, { recursive: true, force: true });
    mkdirSync(this.#cases);
    writeFileSync(join(this.#cases, `${this.#name}.conf`), text, { mode: 0o600 });
    this.#shell.stdin.write(`${verb} ${this.#cases}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error('the shell that judges has ended');
    return value;
  }

  #read(name: string): string {
    const path = join(this.#cases, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }
}
