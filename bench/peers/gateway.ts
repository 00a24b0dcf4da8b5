// A daemon with so many peers, and the crowd that they are: two namespaces, the daemon under test in one of them.
// Promises: when `start` returns, every peer has had an answer to its handshake, and told the daemon that it has the keys.
// Read on: ../tunnel/topology.ts; crowd.ts, traffic.ts (the programs beside the daemon).

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { REJECT_AFTER_TIME_MS } from '../../protocol/constants.js';
import { KEY_BYTES, type Suite } from '../../protocol/suite.js';
import { fineCpuSecondsOf, memoryOf, usageOf } from '../tunnel/accounting.js';
import type { Found } from '../tunnel/implementations/implementation.js';
import { LISTEN_PORT, MTU, setConfiguration, startDaemon } from '../tunnel/pair.js';
import { type Program, run, sleep } from '../tunnel/programs.js';
import { OUTER, Topology } from '../tunnel/topology.js';
import type { Undo } from '../tunnel/undo.js';
import { GATEWAY_INNER, INNER_NETWORK, NOWHERE, OUTER_NETWORK, innerAddress } from './addresses.js';
import type { Done, Order } from './messages.js';

/** A daemon needs some time for 50,000 peers. */
const CONFIGURE_TIMEOUT_MS = 120_000;
/** Nothing has come out for so long: what waited in front of the daemon is done. */
const SETTLED_MS = 200;

/** What a time of traffic brought. */
export interface Load {
  /** Packets that the daemon carried, and what processor time it spent. */
  readonly packets: number;
  readonly cpuSeconds: number;
  /** Packets per second, as long as there were more to carry. */
  readonly perSecond: number;
}

export class CrowdedGateway {
  readonly peers: number;
  readonly #topology: Topology;
  readonly #name: string;
  readonly #daemon: Program;
  readonly #crowd: Assistant;
  readonly #traffic: Assistant;
  /** When the oldest of the sessions may have been made. */
  readonly #connectedAt = performance.now();

  private constructor(
    peers: number,
    topology: Topology,
    name: string,
    daemon: Program,
    crowd: Assistant,
    traffic: Assistant,
  ) {
    this.peers = peers;
    this.#topology = topology;
    this.#name = name;
    this.#daemon = daemon;
    this.#crowd = crowd;
    this.#traffic = traffic;
  }

  /** `label`: among those of this process that run at the same time. */
  static async start(
    found: Found,
    suite: Suite,
    peers: number,
    label: string,
    undo: Undo,
  ): Promise<CrowdedGateway> {
    const topology = await Topology.create(label, undo);
    await topology.ip('left', 'route', 'add', OUTER_NETWORK, 'via', OUTER.right);
    await topology.ip('right', 'route', 'add', 'local', OUTER_NETWORK, 'dev', 'lo');
    const name = `wc${process.pid.toString(36)}${label}`.slice(0, 15);
    const daemon = await startDaemon(found, name, topology, 'left', undo);
    const privateKeys = Array.from({ length: peers }, () => randomBytes(KEY_BYTES));
    const own = randomBytes(KEY_BYTES);
    const publicKeys = privateKeys.map(key => publicKeyOf(suite, key));
    await setConfiguration(name, configuration(own, publicKeys), undo, { timeoutMs: CONFIGURE_TIMEOUT_MS });
    await topology.ip('left', 'addr', 'add', `${GATEWAY_INNER}/32`, 'dev', name);
    await topology.ip('left', 'link', 'set', name, 'mtu', String(MTU), 'up');
    await topology.ip('left', 'route', 'add', INNER_NETWORK, 'dev', name);
    // Where packets are forwarded, too, what comes for nowhere is not answered.
    await topology.ip('left', 'route', 'add', 'blackhole', NOWHERE.join('.'));
    const crowd = new Assistant(topology.inside('right', process.execPath, [script('crowd.js')]), undo);
    const traffic = new Assistant(topology.inside('left', process.execPath, [script('traffic.js')]), undo);
    const gateway = new CrowdedGateway(peers, topology, name, daemon, crowd, traffic);
    const settings = {
      privateKeys: privateKeys.map(key => key.toString('hex')),
      gatewayPublicKey: publicKeyOf(suite, own).toString('hex'),
      gatewayAddress: OUTER.left,
    };
    await crowd.tell({ do: 'connect', settings });
    return gateway;
  }

  /** The crowd sends for so long. Returns when the daemon has done with it. */
  receive(seconds: number, packetBytes: number): Promise<Load> {
    return this.#carry(this.#crowd, 'rx_packets', seconds, packetBytes);
  }

  /** The daemon has packets for all peers for so long. */
  send(seconds: number, packetBytes: number): Promise<Load> {
    return this.#carry(this.#traffic, 'tx_packets', seconds, packetBytes);
  }

  /** Processor seconds of the daemon in a second in which nothing happens. */
  async idle(seconds: number): Promise<number> {
    const before = fineCpuSecondsOf([this.#daemon.pid]);
    const start = performance.now();
    await sleep(seconds * 1e3);
    return (fineCpuSecondsOf([this.#daemon.pid]) - before) / ((performance.now() - start) / 1e3);
  }

  get rssBytes(): number {
    return memoryOf([this.#daemon.pid]).rssBytes;
  }

  async close(): Promise<void> {
    await Promise.all([this.#crowd.tell({ do: 'end' }), this.#traffic.tell({ do: 'end' })]);
    await this.#daemon.close();
  }

  async #carry(from: Assistant, counter: string, seconds: number, packetBytes: number): Promise<Load> {
    const packetsBefore = await this.#counter(counter);
    const cpuBefore = this.#cpuSeconds();
    const start = performance.now();
    await from.tell({ do: 'send', peers: this.peers, seconds, packetBytes });
    const packetsMeanwhile = (await this.#counter(counter)) - packetsBefore;
    const elapsed = (performance.now() - start) / 1e3;
    // What waits in front of the daemon costs processor time too, and is carried.
    let packets = packetsMeanwhile;
    for (let before = -1; before !== packets; ) {
      before = packets;
      await sleep(SETTLED_MS);
      packets = (await this.#counter(counter)) - packetsBefore;
    }
    // No daemon takes or sends anything then, and the crowd makes no new ones.
    const age = performance.now() - this.#connectedAt;
    if (age > REJECT_AFTER_TIME_MS) throw new Error('the sessions became too old');
    return { packets, cpuSeconds: this.#cpuSeconds() - cpuBefore, perSecond: packetsMeanwhile / elapsed };
  }

  #cpuSeconds(): number {
    if (!this.#daemon.running) throw new Error(`the daemon ended: ${this.#daemon.log}`);
    return usageOf([this.#daemon.pid]).cpuSeconds;
  }

  async #counter(name: string): Promise<number> {
    const file = `/sys/class/net/${this.#name}/statistics/${name}`;
    const [command, args] = this.#topology.inside('left', 'cat', [file]);
    return Number(await run(command, args));
  }
}

/** A program of the bench in one of the namespaces. */
class Assistant {
  readonly #child: ChildProcess;

  constructor([command, args]: [string, string[]], undo: Undo) {
    this.#child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    undo.push(() => this.#child.kill('SIGKILL'));
  }

  /** Resolves when it is done. Rejects with its complaint. */
  tell(order: Order): Promise<void> {
    return new Promise((resolve, reject) => {
      const gone = () => reject(new Error(`it ended before it was done: ${order.do}`));
      this.#child.once('exit', gone);
      this.#child.once('message', ({ error }: Done) => {
        this.#child.off('exit', gone);
        if (error === undefined) resolve();
        else reject(new Error(error));
      });
      this.#child.send(order, error => error && reject(error));
    });
  }
}

function configuration(own: Buffer, publicKeys: readonly Buffer[]): string {
  const lines = ['[Interface]', `PrivateKey = ${own.toString('base64')}`, `ListenPort = ${LISTEN_PORT}`];
  for (const [i, key] of publicKeys.entries()) {
    lines.push('[Peer]', `PublicKey = ${key.toString('base64')}`);
    lines.push(`AllowedIPs = ${innerAddress(i).join('.')}/32`);
  }
  return `${lines.join('\n')}\n`;
}

function publicKeyOf(suite: Suite, privateKey: Uint8Array): Buffer {
  const publicKey = Buffer.alloc(KEY_BYTES);
  suite.publicKey(privateKey, publicKey);
  return publicKey;
}

function script(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
