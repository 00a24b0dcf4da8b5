// Two daemons of one implementation, one on each side, configured by `wg` and `ip` as an administrator would.
// Promises: when `start` returns, a packet has crossed the tunnel. Their sockets and keys are gone after `close`.
// Read on: topology.ts, implementations/.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Found } from './implementations/implementation.js';
import { Program, type RunOptions, run, succeeds, until } from './programs.js';
import { OUTER, SIDES, type Side, Topology } from './topology.js';
import type { Undo } from './undo.js';

export const INNER: Record<Side, string> = { left: '10.99.0.1', right: '10.99.0.2' };
/** What `wg-quick` gives an interface over Ethernet. */
export const MTU = 1_420;

export const LISTEN_PORT = 51_820;
const SOCKETS = '/var/run/wireguard';

export class Pair {
  readonly topology: Topology;
  /** Base64. */
  readonly publicKeys = {} as Record<Side, string>;
  readonly #daemons: Record<Side, Program>;
  readonly #names: Record<Side, string>;

  private constructor(topology: Topology, daemons: Record<Side, Program>, names: Record<Side, string>) {
    this.topology = topology;
    this.#daemons = daemons;
    this.#names = names;
  }

  /** `index`: among the pairs of this process; `label` likewise. Throws with the daemon's words when it does not run. */
  static async start(found: Found, label: string, index: number, undo: Undo): Promise<Pair> {
    const topology = await Topology.create(label, undo);
    const daemons = {} as Record<Side, Program>;
    const names = {} as Record<Side, string>;
    for (const side of SIDES) {
      names[side] = `wb${process.pid.toString(36)}${index.toString(36)}${side[0]}`;
      daemons[side] = await startDaemon(found, names[side], topology, side, undo);
    }
    const pair = new Pair(topology, daemons, names);
    await pair.#configure(undo);
    await pair.#firstPacket();
    return pair;
  }

  get pids(): number[] {
    return SIDES.map(side => this.#daemons[side].pid);
  }

  /** Of the interface on this side. */
  name(side: Side): string {
    return this.#names[side];
  }

  /** Packets that the left daemon has taken from its interface so far. What the queue in front of it lost is none. */
  async packetsTaken(): Promise<number> {
    const [command, args] = this.topology.inside('left', 'cat', [
      `/sys/class/net/${this.#names.left}/statistics/tx_packets`,
    ]);
    return Number(await run(command, args));
  }

  /** Throws with its last words when one of them is gone. */
  assertRunning(): void {
    for (const side of SIDES) {
      if (!this.#daemons[side].running)
        throw new Error(`the ${side} daemon ended: ${this.#daemons[side].log}`);
    }
  }

  async close(): Promise<void> {
    await Promise.all(SIDES.map(side => this.#daemons[side].close()));
  }

  async #configure(undo: Undo): Promise<void> {
    const names = this.#names;
    const privateKeys = {} as Record<Side, string>;
    for (const side of SIDES) {
      privateKeys[side] = (await run('wg', ['genkey'])).trim();
      this.publicKeys[side] = (await run('wg', ['pubkey'], { input: privateKeys[side] })).trim();
    }
    for (const side of SIDES) {
      const other = side === 'left' ? 'right' : 'left';
      const text = configuration(privateKeys[side], this.publicKeys[other], other);
      await setConfiguration(names[side], text, undo);
      await this.topology.ip(side, 'addr', 'add', `${INNER[side]}/24`, 'dev', names[side]);
      await this.topology.ip(side, 'link', 'set', names[side], 'mtu', String(MTU), 'up');
    }
  }

  async #firstPacket(): Promise<void> {
    const [command, args] = this.topology.inside('left', 'ping', ['-c1', '-W1', INNER.right]);
    await until('a packet to cross the tunnel', () => {
      this.assertRunning();
      return succeeds(command, args);
    });
  }
}

/** A daemon that answers `wg` under this name, on one side. Throws with its words when it does not. */
export async function startDaemon(
  found: Found,
  name: string,
  topology: Topology,
  side: Side,
  undo: Undo,
): Promise<Program> {
  const { command, args, env } = found.daemon(name);
  const socket = join(SOCKETS, `${name}.sock`);
  undo.push(() => rmSync(socket, { force: true }));
  const daemon = new Program(...topology.inside(side, command, args), undo, { ...process.env, ...env });
  // Some make their socket a moment before they answer on it.
  await until('the daemon to answer', () => {
    if (!daemon.running) throw new Error(`the daemon ended: ${daemon.log}`);
    return existsSync(socket) && succeeds('wg', ['show', name]);
  });
  return daemon;
}

/** `wg setconf`. The file that it wants is gone afterwards, however this process ends: it has a private key. */
export async function setConfiguration(
  name: string,
  text: string,
  undo: Undo,
  options: Pick<RunOptions, 'timeoutMs'> = {},
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'wireonce-bench-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  undo.push(remove);
  try {
    const file = join(folder, `${name}.conf`);
    writeFileSync(file, text, { mode: 0o600 });
    await run('wg', ['setconf', name, file], options);
  } finally {
    remove();
  }
}

function configuration(privateKey: string, peerPublicKey: string, peer: Side): string {
  return [
    '[Interface]',
    `PrivateKey = ${privateKey}`,
    `ListenPort = ${LISTEN_PORT}`,
    '[Peer]',
    `PublicKey = ${peerPublicKey}`,
    `Endpoint = ${OUTER[peer]}:${LISTEN_PORT}`,
    `AllowedIPs = ${INNER[peer]}/32`,
    '',
  ].join('\n');
}
