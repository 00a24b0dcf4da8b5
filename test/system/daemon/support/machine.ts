// A machine for the tests of the daemon: a network namespace with a daemon of a kind in it, ours or wireguard-go.
// Promises: everything has a name of its own, and is ended and removed by `closeMachines`, or (after a crash) by the
// sweep of the next run.
// Read on: ../../support/wireguard-go.ts (the sweep); ../../../../cli/daemon.ts.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DeviceStatus } from '../../../../tunnel/daemon/status.js';
import { socketPath, UapiClient } from '../../../../tunnel/daemon/uapi/index.js';
import { run, until } from '../../support/run.js';

/** The program as it is built: see global-setup.ts. */
export const PROGRAM = fileURLToPath(new URL('../../../../dist/cli/main.js', import.meta.url));

export type Kind = 'wireonce' | 'wireguard-go';

export interface MachineOptions {
  readonly kind?: Kind;
  /** For the daemon, in the foreground. */
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** It comes to a key by itself: it is given none. */
  readonly enrols?: boolean;
  /** Another build of ours than `PROGRAM`. */
  readonly program?: string;
}

let count = 0;
const closers: (() => unknown)[] = [];

/** Removes everything that the test made, last first. Call after each test. */
export async function closeMachines(): Promise<void> {
  for (const close of closers.splice(0).toReversed()) await close();
}

/** Called at the end of the test, last first. */
export function atEnd(close: () => unknown): void {
  closers.push(close);
}

/** A name for an interface or a namespace that nobody else has, 15 characters at most. */
export function freshName(): string {
  return `wo${process.pid}n${++count}`;
}

export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), `wireonce-system-${freshName()}-`));
  atEnd(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export async function namespace(): Promise<string> {
  const name = freshName();
  await run('ip', ['netns', 'add', name]);
  atEnd(() => spawnSync('ip', ['netns', 'del', name]));
  await run('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  return name;
}

export class Machine {
  readonly namespace: string;
  /** Of the interface. */
  readonly name = freshName();
  readonly kind: Kind;
  readonly privateKey: string;
  readonly publicKey: string;
  readonly #folder = folder();
  readonly #options: MachineOptions;
  #daemon: ChildProcess | undefined;

  private constructor(namespace: string, keys: readonly [string, string], options: MachineOptions) {
    this.namespace = namespace;
    [this.privateKey, this.publicKey] = keys;
    this.kind = options.kind ?? 'wireonce';
    this.#options = options;
  }

  /** A daemon with a key, in a namespace of its own or in `namespace`. Its link is down and without addresses. */
  static async start(options: MachineOptions & { readonly namespace?: string } = {}): Promise<Machine> {
    const home = options.namespace ?? (await namespace());
    const privateKey = (await run('wg', ['genkey'])).trim();
    const publicKey = (await run('wg', ['pubkey'], privateKey)).trim();
    const machine = new Machine(home, [privateKey, publicKey], options);
    atEnd(() => machine.end('SIGTERM'));
    await machine.launch();
    return machine;
  }

  /** Starts the daemon, again after `end`, with the key and nothing else. */
  async launch(): Promise<void> {
    const { name, namespace, kind } = this;
    const { flags = [], env = {}, program: built = PROGRAM } = this.#options;
    const program =
      kind === 'wireonce'
        ? [process.execPath, built, '--foreground', ...flags, name]
        : ['wireguard-go', '--foreground', name];
    const log = openSync(join(this.#folder, 'log'), 'a');
    const daemon = spawn('ip', ['netns', 'exec', namespace, 'setpriv', '--pdeathsig', 'TERM', ...program], {
      stdio: ['ignore', log, log],
      env: { ...process.env, LOG_LEVEL: 'verbose', ...env },
    });
    closeSync(log);
    this.#daemon = daemon;
    const socket = socketPath(name);
    await until(`an answer of ${kind}`, async () => {
      if (daemon.exitCode !== null) throw new Error(`${kind} ended: ${this.log()}`);
      // Not by `wg`, which removes a dead socket.
      return existsSync(socket) && new UapiClient(socket).get().catch(() => undefined);
    });
    if (!this.#options.enrols)
      await this.wg('set', name, 'private-key', this.file('private', this.privateKey));
  }

  /** What the daemon has said. */
  log(): string {
    return readFileSync(join(this.#folder, 'log'), 'utf8');
  }

  get pid(): number {
    const { pid } = this.#daemon ?? {};
    if (pid === undefined) throw new Error('no daemon runs');
    return pid;
  }

  /** Ends the daemon, and waits until it is gone. Resolves with its exit code. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    if (!daemon) return null;
    if (daemon.exitCode === null && daemon.signalCode === null) {
      const gone = new Promise(resolve => daemon.once('exit', resolve));
      daemon.kill(signal);
      await gone;
    }
    if (this.kind === 'wireguard-go' || signal === 'SIGKILL') rmSync(socketPath(this.name), { force: true });
    return daemon.exitCode;
  }

  /** Resolves with the exit code when the daemon has ended by itself. */
  async ended(): Promise<number | null> {
    const daemon = this.#daemon;
    if (!daemon) return null;
    await until('the daemon to end', () => daemon.exitCode !== null || daemon.signalCode !== null);
    return daemon.exitCode;
  }

  wg(...args: string[]): Promise<string> {
    return run('wg', args);
  }

  /** `ip` in the namespace. */
  ip(...args: string[]): Promise<string> {
    return run('ip', ['-n', this.namespace, ...args]);
  }

  /** A program in the namespace. */
  exec(program: string, ...args: string[]): Promise<string> {
    return this.execFor(undefined, program, ...args);
  }

  /** The same, with its time in milliseconds. */
  execFor(timeoutMs: number | undefined, program: string, ...args: string[]): Promise<string> {
    return run('ip', ['netns', 'exec', this.namespace, program, ...args], undefined, timeoutMs);
  }

  file(name: string, text: string): string {
    const path = join(this.#folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  /** Gives the link its addresses, such as `10.8.0.1/24`, and brings it up. */
  async up(...addresses: string[]): Promise<void> {
    for (const address of addresses) {
      const nodad = address.includes(':') ? ['nodad'] : [];
      await this.ip('address', 'add', address, 'dev', this.name, ...nodad);
    }
    await this.ip('link', 'set', this.name, 'up');
  }

  /** A line of `wg show NAME WHAT` for a peer, without its key. */
  async show(what: string, publicKey: string): Promise<string> {
    const lines = (await run('wg', ['show', this.name, what])).split('\n');
    const line = lines.find(each => each.startsWith(`${publicKey}\t`));
    if (line === undefined) throw new Error(`no such peer in wg show ${what}`);
    return line.slice(publicKey.length + 1);
  }

  async listenPort(): Promise<number> {
    return until('a listen port', async () => Number(await run('wg', ['show', this.name, 'listen-port'])));
  }

  status(): Promise<DeviceStatus> {
    return new UapiClient(socketPath(this.name)).status();
  }

  /**
   * How many of `count` pings were answered, each within `waitS`, one after the other. (A `ping` that sends many waits
   * for the last of them no longer than twice the slowest reply, which a busy machine may exceed.)
   */
  async ping(
    address: string,
    options: { count?: number; size?: number; waitS?: number } = {},
  ): Promise<number> {
    const { count = 3, size = 56, waitS = 5 } = options;
    const one = `ping -n -q -c 1 -W ${waitS} -s ${size} ${address} >/dev/null 2>&1 && n=$((n + 1))`;
    return Number(await this.exec('sh', '-c', `n=0; for i in $(seq ${count}); do ${one}; done; echo $n`));
  }
}

export const INNER = {
  a4: '10.77.0.1',
  b4: '10.77.0.2',
  a6: 'fd77::1',
  b6: 'fd77::2',
} as const;
const OUTER = {
  4: { a: '192.168.77.1', b: '192.168.77.2', length: 24 },
  6: { a: 'fd99::1', b: 'fd99::2', length: 64 },
} as const;

export interface PairOptions {
  readonly a?: MachineOptions;
  readonly b?: MachineOptions;
  /** The address family of the datagrams between them. */
  readonly outer?: 4 | 6;
  /** Of the wire between them. */
  readonly outerMtu?: number;
}

export interface Pair {
  readonly a: Machine;
  readonly b: Machine;
  /** The addresses of the wire. */
  readonly outer: { readonly a: string; readonly b: string };
  readonly ports: { a: number; b: number };
}

/** Two machines on one wire, each a peer of the other, up, with both addresses of `INNER`. A knows where B is. */
export async function startPair(options: PairOptions = {}): Promise<Pair> {
  const [nsA, nsB] = [await namespace(), await namespace()];
  await wire(nsA, nsB, options.outerMtu ?? 1_500);
  const [a, b] = await Promise.all([
    Machine.start({ ...options.a, namespace: nsA }),
    Machine.start({ ...options.b, namespace: nsB }),
  ]);
  await a.up(`${INNER.a4}/24`, `${INNER.a6}/64`);
  await b.up(`${INNER.b4}/24`, `${INNER.b6}/64`);
  const { a: outerA, b: outerB } = OUTER[options.outer ?? 4];
  const ports = { a: await a.listenPort(), b: await b.listenPort() };
  const toB = ['peer', b.publicKey, 'allowed-ips', `${INNER.b4}/32,${INNER.b6}/128`];
  await a.wg('set', a.name, ...toB, 'endpoint', endpoint(outerB, ports.b));
  await b.wg('set', b.name, 'peer', a.publicKey, 'allowed-ips', `${INNER.a4}/32,${INNER.a6}/128`);
  return { a, b, outer: { a: outerA, b: outerB }, ports };
}

export function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** A veth between two namespaces, with the addresses of `OUTER`. */
async function wire(nsA: string, nsB: string, mtu: number): Promise<void> {
  const [one, two] = [freshName(), freshName()];
  const ends = ['peer', 'name', two, 'netns', nsB, 'mtu', `${mtu}`];
  await run('ip', ['link', 'add', one, 'netns', nsA, 'mtu', `${mtu}`, 'type', 'veth', ...ends]);
  for (const [ns, link, side] of [
    [nsA, one, 'a'],
    [nsB, two, 'b'],
  ] as const) {
    for (const family of [4, 6] as const) {
      const nodad = family === 6 ? ['nodad'] : [];
      const address = `${OUTER[family][side]}/${OUTER[family].length}`;
      await run('ip', ['-n', ns, 'address', 'add', address, 'dev', link, ...nodad]);
    }
    await run('ip', ['-n', ns, 'link', 'set', link, 'up']);
  }
}
