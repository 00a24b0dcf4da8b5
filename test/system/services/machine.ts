// A machine with Debian's services and our broker, as docs/services.md sets them up, under a real systemd; what tells of its
// forks are two files of this test: a generation, and the kernel's log.
// Read on: docs/services.md; ../package/debian.ts.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { documentBlocks, documentedFile } from '../../support/document-blocks.js';
import { DebianMachine } from '../package/debian.js';
import { ROOT } from '../package/packed.js';
import { until } from '../support/run.js';

const PAGE = 'docs/services.md';
const DROP_IN = '/etc/systemd/system/wireonce-vmgenid.service.d/fork.conf';
const FORK_LINE = '6,1,1,-;random: crng reseeded due to virtual machine fork';

export class ServiceMachine {
  readonly #machine: DebianMachine;
  #epoch = 1;
  #started = 0;
  readonly #clients: Client[] = [];

  private constructor(machine: DebianMachine) {
    this.#machine = machine;
  }

  static async boot(): Promise<ServiceMachine> {
    const machine = new ServiceMachine(await DebianMachine.boot(ROOT));
    await machine.put('/usr/local/bin/wireonce', '#!/bin/sh\nexec node /mnt/dist/cli/main.js "$@"');
    await machine.run(
      'chmod 755 /usr/local/bin/wireonce; mkdir -p /etc/wireonce/fork.d; mkfifo /etc/wireonce/kmsg',
    );
    await machine.#generation();
    const unit = readFileSync(new URL('../../../systemd/wireonce-vmgenid.service', import.meta.url), 'utf8');
    await machine.put('/etc/systemd/system/wireonce-vmgenid.service', unit);
    const sources = '--no-acpi --no-vmclock --file /etc/wireonce/generation --kmsg /etc/wireonce/kmsg';
    const dropIn = documentedFile(PAGE, DROP_IN);
    await machine.put(DROP_IN, dropIn.replace('vmgenid serve', `vmgenid serve ${sources}`));
    return machine;
  }

  close(): Promise<void> {
    return this.#machine.close();
  }

  /** What a line of shell prints there. Throws when it fails. */
  run(line: string): Promise<string> {
    return this.#machine.run(line);
  }

  /** Starts a program that goes on. */
  async background(line: string): Promise<Client> {
    const path = `/root/client${++this.#started}`;
    // The pipe has a writer from the start, so that no end of input ends it.
    const start = `exec 3<>${path}.in; exec setsid ${line} <&3 >${path}.out 2>&1`;
    const pid = await this.run(`mkfifo ${path}.in; : >${path}.out; (${start}) >/dev/null 2>&1 & echo $!`);
    const client = new Client(this, path, pid.trim());
    this.#clients.push(client);
    return client;
  }

  /** Ends them all. */
  async endClients(): Promise<void> {
    for (const { pid } of this.#clients.splice(0)) await this.run(`kill -KILL ${pid} || true`);
  }

  /** The processes here that have a connection to one of their ports. */
  async serving(port: number): Promise<string[]> {
    const found = await this.run(`ss -Htnp state established sport = :${port}`);
    return [...found.matchAll(/pid=(\d+)/g)].map(([, pid]) => pid);
  }

  /** Which of these processes are there. */
  async alive(pids: readonly string[]): Promise<string[]> {
    const there = await this.run('ls /proc');
    return pids.filter(pid => there.split('\n').includes(pid));
  }

  async put(path: string, text: string): Promise<void> {
    await this.run(`mkdir -p "$(dirname ${path})"; cat >${path} <<'END'\n${text}\nEND`);
  }

  /** Puts a file there that a page shows. */
  putDocumented(page: string, path: string): Promise<void> {
    return this.put(path, documentedFile(page, path));
  }

  /** Runs a block of a page, found by its first line. Resolves with what it prints. */
  async block(page: string, first: string, given = ''): Promise<string> {
    const [block, more] = documentBlocks(page).filter(each => each.split('\n')[0].startsWith(`# ${first}`));
    if (block === undefined || more !== undefined) throw new Error(`${page}: which block is "${first}"?`);
    return this.run(`set -e; ${given}\n${block}`);
  }

  /** Installs our script for a service, and starts the broker anew. */
  async install(name: string): Promise<void> {
    await this.block(PAGE, 'as root', `FOLDER=/mnt/examples NAME=${name}`);
    this.#epoch = 1;
    await this.#told('serving');
  }

  /** Starts the broker without any script. */
  async serve(): Promise<void> {
    await this.run('systemctl daemon-reload; systemctl start wireonce-vmgenid');
    await this.#told('serving');
  }

  /** The machine is forked; resolves when the command has run for it. */
  async fork(): Promise<void> {
    await this.#generation();
    this.#epoch++;
    await this.#told(`the command succeeded (epoch ${this.#epoch}; again`);
  }

  /** The kernel says that it has reseeded; resolves when the command has run for it. */
  async reseed(): Promise<void> {
    await this.run(`echo '${FORK_LINE}' >/etc/wireonce/kmsg`);
    await this.#told(`the command succeeded (epoch ${this.#epoch}; the kernel`);
  }

  async #generation(): Promise<void> {
    await this.run(`cd /etc/wireonce; echo ${randomUUID()} >new; mv new generation`);
  }

  async #told(what: string): Promise<void> {
    // Of the broker that runs now.
    const log =
      'journalctl --sync; journalctl --no-pager -o cat _SYSTEMD_INVOCATION_ID="$(systemctl show -P InvocationID wireonce-vmgenid)"';
    let said = '';
    await until(what, async () => (said = await this.run(log)).includes(what), 30_000).catch(error => {
      throw new Error(`${error.message}: ${said}`);
    });
  }
}

/** A program in the background that is spoken to by lines. */
export class Client {
  readonly #machine: ServiceMachine;
  readonly #path: string;
  readonly pid: string;

  constructor(machine: ServiceMachine, path: string, pid: string) {
    this.#machine = machine;
    this.#path = path;
    this.pid = pid;
  }

  said(): Promise<string> {
    return this.#machine.run(`cat ${this.#path}.out`);
  }

  /** Says something to it: is it answered? Not when it has ended, or has said by `ended` that its connection has. */
  async answers(lines: string, answer: RegExp, ended = /DISCONNECTED/): Promise<boolean> {
    const count = async () => (await this.said()).split(answer).length;
    const before = await count();
    // To read and write: that never waits for a reader.
    await this.#machine.run(`printf '${lines}' 1<>${this.#path}.in`);
    const found = await until(`an answer to ${lines}`, async () => {
      if ((await count()) > before) return 'answer';
      const [alive] = await this.#machine.alive([this.pid]);
      return (!alive || ended.test(await this.said())) && 'end';
    });
    return found === 'answer';
  }
}
