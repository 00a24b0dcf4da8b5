// The other side: Debian's wireguard-go. Its TUN device lies in a network namespace made for it; its UDP sockets stay in
// ours, where the daemon was born, so that a device in this process reaches them over loopback.
// Promises: nothing outlives `close`, the end of this process, or (what a killed process left) the next run.
// Read on: wireguard.com/netns (why sockets stay behind when the link moves).

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeKey, encodeKey } from '../../../tunnel/keys.js';
import { run, until } from './run.js';

const SOCKETS = '/var/run/wireguard';
const FOLDER_PREFIX = 'wireonce-system-';
const OWN_NAME = /^(?:wireonce-system-)?wo(\d+)n\d+/;

/** Addresses in the tunnel: theirs end in 2, ours in 1. */
export const THEIR_V4 = '10.77.0.2';
export const THEIR_V6 = 'fd77::2';
export const OUR_V4 = '10.77.0.1';
export const OUR_V6 = 'fd77::1';

export interface TheirPeer {
  readonly publicKey: Uint8Array;
  readonly endpoint?: string;
  readonly presharedKey?: Uint8Array;
}

export interface PingResult {
  readonly sent: number;
  readonly received: number;
}

let count = 0;
let cleansUpAtExit = false;
const running = new Set<WireguardGo>();

export class WireguardGo {
  /** Of the interface and of the namespace; a link's name has 15 characters at most. */
  readonly name = `wo${process.pid}n${++count}`;
  readonly #folder = mkdtempSync(join(tmpdir(), `${FOLDER_PREFIX}${this.name}-`));
  #daemon: ChildProcess | undefined;
  #privateKey = '';
  #publicKey: Uint8Array = new Uint8Array(0);
  #listenPort = 0;
  #lastLog = '';

  /** A daemon with a new identity, its link up, with both addresses and no peers. */
  static async start(): Promise<WireguardGo> {
    cleanUpAtExit();
    const peer = new WireguardGo();
    running.add(peer);
    try {
      await run('ip', ['netns', 'add', peer.name]);
      peer.#privateKey = (await run('wg', ['genkey'])).trim();
      peer.#publicKey = decodeKey((await run('wg', ['pubkey'], peer.#privateKey)).trim());
      await peer.#launch();
    } catch (error) {
      const log = peer.log();
      await peer.close();
      throw new Error(`wireguard-go did not start: ${(error as Error).message}\n${log}`, { cause: error });
    }
    return peer;
  }

  get publicKey(): Uint8Array {
    return this.#publicKey;
  }

  /** The UDP port, in our namespace. */
  get listenPort(): number {
    return this.#listenPort;
  }

  /** Adds a peer that may use both of our addresses, or changes it. */
  async setPeer({ publicKey, endpoint, presharedKey }: TheirPeer): Promise<void> {
    const args = ['peer', encodeKey(publicKey), 'allowed-ips', `${OUR_V4}/32,${OUR_V6}/128`];
    if (endpoint !== undefined) args.push('endpoint', endpoint);
    if (presharedKey) args.push('preshared-key', this.#file('psk', encodeKey(presharedKey)));
    await run('wg', ['set', this.name, ...args]);
  }

  async removePeer(publicKey: Uint8Array): Promise<void> {
    await run('wg', ['set', this.name, 'peer', encodeKey(publicKey), 'remove']);
  }

  async setListenPort(port: number): Promise<void> {
    await run('wg', ['set', this.name, 'listen-port', `${port}`]);
    this.#listenPort = port;
  }

  /** Where it believes the peer to be, `127.0.0.1:51820`; empty when it does not know. */
  async endpointOf(publicKey: Uint8Array): Promise<string> {
    const endpoint = await this.#show('endpoints', publicKey);
    return endpoint === '(none)' ? '' : endpoint;
  }

  /** Bytes on the wire as `wg show transfer` has them. */
  async transfer(publicKey: Uint8Array): Promise<{ received: number; sent: number }> {
    const [received, sent] = (await this.#show('transfer', publicKey)).split('\t').map(Number);
    return { received, sent };
  }

  /** Pings out of the tunnel with the system's own `ping`; waits `waitSeconds` for the last reply. */
  async ping(
    address: string,
    options: { count?: number; intervalSeconds?: number; waitSeconds?: number } = {},
  ): Promise<PingResult> {
    const { count = 3, intervalSeconds = 0.1, waitSeconds = 3 } = options;
    const args = ['-n', '-q', '-c', `${count}`, '-i', `${intervalSeconds}`, '-W', `${waitSeconds}`, address];
    // `ping` exits with 1 when nothing came back: that is a result, not a failure.
    const output = await run('ip', ['netns', 'exec', this.name, 'ping', ...args]).catch(
      (error: Error) => error.message,
    );
    const numbers = /(\d+) packets transmitted, (\d+) received/.exec(output);
    if (!numbers) throw new Error(`no summary from ping: ${output}`);
    return { sent: Number(numbers[1]), received: Number(numbers[2]) };
  }

  /** Ends the daemon without a chance to clean up, as a crash does. Its link goes with it, its port stays known. */
  async kill(): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    await end(daemon, 'SIGKILL');
  }

  /** Starts the daemon again after `kill`: same key, same port, no peers and no sessions. */
  async restart(): Promise<void> {
    await this.#launch();
  }

  /** What the daemon has said; after `close` too. */
  log(): string {
    const path = join(this.#folder, 'log');
    return existsSync(path) ? readFileSync(path, 'utf8') : this.#lastLog;
  }

  /** Removes everything. May be called twice. */
  async close(): Promise<void> {
    if (!running.delete(this)) return;
    await end(this.#daemon, 'SIGTERM');
    this.#lastLog = this.log();
    await run('ip', ['netns', 'del', this.name]).catch(() => undefined);
    this.#removeFiles();
  }

  /** The same without waiting, for the end of this process. */
  closeNow(): void {
    this.#daemon?.kill('SIGKILL');
    deleteNamespace(this.name);
    this.#removeFiles();
  }

  async #launch(): Promise<void> {
    const { name } = this;
    const socket = join(SOCKETS, `${name}.sock`);
    rmSync(socket, { force: true });
    const log = openSync(join(this.#folder, 'log'), 'a');
    // Dies with this process, however that ends.
    this.#daemon = spawn('setpriv', ['--pdeathsig', 'TERM', 'wireguard-go', '--foreground', name], {
      stdio: ['ignore', log, log],
      env: { ...process.env, LOG_LEVEL: 'verbose' },
    });
    closeSync(log);
    await until('the socket of wireguard-go', () => existsSync(socket));
    const lines = ['[Interface]', `PrivateKey = ${this.#privateKey}`];
    if (this.#listenPort !== 0) lines.push(`ListenPort = ${this.#listenPort}`);
    await run('wg', ['setconf', name, this.#file('conf', `${lines.join('\n')}\n`)]);
    await run('ip', ['link', 'set', name, 'netns', name]);
    await run('ip', ['-n', name, 'address', 'add', `${THEIR_V4}/24`, 'dev', name]);
    await run('ip', ['-n', name, 'address', 'add', `${THEIR_V6}/64`, 'dev', name, 'nodad']);
    await run('ip', ['-n', name, 'link', 'set', name, 'up']);
    this.#listenPort = await until('a port for wireguard-go', async () =>
      Number(await run('wg', ['show', name, 'listen-port'])),
    );
  }

  async #show(what: string, publicKey: Uint8Array): Promise<string> {
    const key = encodeKey(publicKey);
    const lines = (await run('wg', ['show', this.name, what])).split('\n');
    const line = lines.find(candidate => candidate.startsWith(`${key}\t`));
    if (line === undefined) throw new Error(`wireguard-go does not know the peer ${key}`);
    return line.slice(key.length + 1);
  }

  #file(name: string, content: string): string {
    const path = join(this.#folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  }

  #removeFiles(): void {
    rmSync(join(SOCKETS, `${this.name}.sock`), { force: true });
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Removes namespaces, sockets and folders of processes that are gone: killed before they could clean up. */
export function sweepDeadRuns(): void {
  const isDead = (name: string) => {
    const pid = OWN_NAME.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  };
  const namespaces = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })
    .split('\n')
    .map(line => line.split(' ')[0]);
  for (const name of namespaces.filter(isDead)) deleteNamespace(name);
  for (const folder of [SOCKETS, tmpdir()]) {
    if (!existsSync(folder)) continue;
    for (const name of readdirSync(folder).filter(isDead)) {
      rmSync(join(folder, name), { recursive: true, force: true });
    }
  }
}

function deleteNamespace(name: string): void {
  try {
    execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  } catch {
    // There is none, or its other user removes it.
  }
}

function end(daemon: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (!daemon || daemon.exitCode !== null || daemon.signalCode !== null) return Promise.resolve();
  return new Promise(resolve => {
    daemon.once('exit', () => resolve());
    daemon.kill(signal);
  });
}

// Whatever ends this process or the one that runs it, short of a SIGKILL of both: nothing stays behind.
function cleanUpAtExit(): void {
  if (cleansUpAtExit) return;
  cleansUpAtExit = true;
  process.on('exit', () => {
    for (const peer of running) peer.closeNow();
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(1));
  }
  process.once('disconnect', () => process.exit(1));
}
