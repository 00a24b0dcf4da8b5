// The login server in shell: what it knows of forks it has from the broker's counter page alone.

import { once } from 'node:events';
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Broker, MemorySource, VmGenId } from 'wireonce/vmgenid';
import { Announcer } from '../crng/machine.js';

const SCRIPT = fileURLToPath(new URL('../../examples/login-server.sh', import.meta.url));
const ALICE = 'login alice wonderland';
let root: string;
const closers: (() => unknown)[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'wireonce-login-'));
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  rmSync(root, { recursive: true, force: true });
});

/** A machine with a disk, a broker and the server. */
class Host {
  readonly source = new MemorySource();
  readonly kernel = new Announcer();
  readonly vmgenid = new VmGenId([this.source, this.kernel]);
  readonly disk: string;
  readonly page: string;
  /** What the server's programs say to whoever runs it. */
  complaints = '';
  #expected: RegExp | string = '';
  #server!: ChildProcessWithoutNullStreams;
  #lines!: AsyncIterator<string>;

  constructor(name: string) {
    this.disk = join(root, name);
    this.page = join(root, `${name}.page`);
  }

  async start(random?: string): Promise<this> {
    await this.vmgenid.start();
    const broker = await Broker.open({ vmgenid: this.vmgenid, counterFile: this.page });
    const server = spawn('/bin/sh', [SCRIPT, this.disk, this.page, ...(random ? [random] : [])]);
    server.stderr.on('data', chunk => (this.complaints += String(chunk)));
    this.#server = server;
    this.#lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
    const closed = once(server, 'close');
    closers.push(async () => {
      server.stdin.end();
      await closed;
      expect(this.complaints.replace(this.#expected, '')).toBe('');
      await broker.close();
      await this.vmgenid.close();
    });
    return this;
  }

  /** From here on the server's programs complain, and of this alone. */
  expectComplaints(pattern: RegExp): void {
    this.#expected = pattern;
  }

  say(line: string): void {
    this.#server.stdin.write(`${line}\n`);
  }

  async answer(): Promise<string> {
    return (await this.#lines.next()).value as string;
  }

  ask(line: string): Promise<string> {
    this.say(line);
    return this.answer();
  }

  async logIn(): Promise<string> {
    const [, token] = /^token ([0-9a-f]{64})$/.exec(await this.ask(ALICE)) ?? [];
    return token;
  }

  fork(fill: number): void {
    this.source.fork(new Uint8Array(16).fill(fill));
    this.vmgenid.check();
  }
}

it('knows a user by the token of the login, and nobody by anything else', async () => {
  const host = await new Host('one').start();
  const token = await host.logIn();
  expect(await host.ask(`whoami ${token}`)).toBe('alice');
  for (const wrong of ['', 'x', token.slice(1), `${token}0`, '../0', '*', '.']) {
    expect(await host.ask(`whoami ${wrong}`)).toBe('no');
  }
  for (const wrong of ['alice', 'alice Wonderland', 'bob wonderland', '', '* *', 'alice wonder land']) {
    expect(await host.ask(`login ${wrong}`)).toBe('no');
  }
  expect(await host.ask('logout')).toBe('login or whoami');
});

it('clones end every session on the fork, and log nobody in before the kernel has reseeded', async () => {
  const original = await new Host('original').start();
  const token = await original.logIn();
  // The disk and the page are cloned with the machine.
  const clones = ['left', 'right'].map(name => new Host(name));
  for (const clone of clones) {
    cpSync(original.disk, clone.disk, { recursive: true });
    cpSync(original.page, clone.page);
    await clone.start();
    // Control: until it is told of the fork it goes on with the session of its siblings.
    expect(await clone.ask(`whoami ${token}`)).toBe('alice');
  }
  for (const [i, clone] of clones.entries()) {
    clone.fork(1 + i);
    expect(await clone.ask(`whoami ${token}`)).toBe('no');
    expect(await clone.ask(ALICE)).toBe('later');
    clone.kernel.announce({ kernelReseeded: true });
    const own = await clone.logIn();
    expect(await clone.ask(`whoami ${own}`)).toBe('alice');
    expect(await original.ask(`whoami ${own}`)).toBe('no');
  }
  expect(await original.ask(`whoami ${token}`)).toBe('alice');
});

it('gives out no token that was drawn before a fork', async () => {
  const random = join(root, 'random');
  execFileSync('mkfifo', [random]);
  const host = await new Host('one').start(random);
  host.say(ALICE);
  // Opening a pipe for writing waits for its reader: the server is now in the middle of its draw.
  const pipe = spawn('/bin/sh', ['-c', `exec > ${random}; echo ready >&2; cat`]);
  closers.push(() => pipe.kill());
  await new Promise(resolve => pipe.stderr.once('data', resolve));
  host.fork(1);
  pipe.stdin.end(Buffer.alloc(32, 0xab));
  expect(await host.answer()).toBe('again');
  expect(await host.ask(`whoami ${'ab'.repeat(32)}`)).toBe('no');
});

it('answers nobody while the page cannot be read', async () => {
  const host = await new Host('one').start();
  const token = await host.logIn();
  host.expectComplaints(/^od: .*\n/gm);
  unlinkSync(host.page);
  expect(await host.ask(`whoami ${token}`)).toBe('cannot tell whether this machine was forked');
  writeFileSync(host.page, 'short');
  expect(await host.ask(ALICE)).not.toContain('token');
});
