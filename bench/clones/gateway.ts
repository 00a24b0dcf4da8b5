// A real daemon as the gateway of the clones, on the right side of a cable; the clones are on its left.
// Promises: it is told of nobody; its store is where it is told; all of it is gone when it ends, however it ends.
// Read on: ../tunnel/pair.ts; docs/clones.md.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryOf } from '../tunnel/accounting.js';
import type { Found } from '../tunnel/implementations/implementation.js';
import { LISTEN_PORT, MTU, setConfiguration, startDaemon } from '../tunnel/pair.js';
import { type Program, run } from '../tunnel/programs.js';
import { OUTER, Topology } from '../tunnel/topology.js';
import type { Undo } from '../tunnel/undo.js';

export const PREFIX = 'fd5e:7c1a:9b2d::';
export const GATEWAY = `${PREFIX}1`;

export interface GatewayOptions {
  readonly found: Found;
  /** Among those of this process. */
  readonly index: number;
  /** 32 bytes, base64. */
  readonly secret: string;
  /** A file, which may hold peers already. */
  readonly store: string;
  readonly maxPeers: number;
  readonly undo: Undo;
}

export class Gateway {
  readonly topology: Topology;
  readonly name: string;
  /** Base64. */
  readonly publicKey: string;
  readonly #daemon: Program;

  private constructor(topology: Topology, name: string, publicKey: string, daemon: Program) {
    this.topology = topology;
    this.name = name;
    this.publicKey = publicKey;
    this.#daemon = daemon;
  }

  static async start({ found, index, secret, store, maxPeers, undo }: GatewayOptions): Promise<Gateway> {
    const topology = await Topology.create(`clones${index}`, undo);
    const name = `wc${process.pid.toString(36)}${index.toString(36)}`;
    const folder = mkdtempSync(join(tmpdir(), 'wireonce-clones-'));
    undo.push(() => rmSync(folder, { recursive: true, force: true }));
    const secretFile = join(folder, 'secret');
    writeFileSync(secretFile, `${secret}\n`, { mode: 0o600 });
    const file = join(folder, 'gateway.conf');
    const lines = ['[Enrolment]', `SecretFile = ${secretFile}`, `Prefix = ${PREFIX}/64`, `Store = ${store}`];
    writeFileSync(file, `${[...lines, `MaxPeers = ${maxPeers}`].join('\n')}\n`, { mode: 0o600 });
    const plain = found.daemon(name);
    const configured: Found = {
      ...found,
      // Before the name, which comes last.
      daemon: () => ({ ...plain, args: plain.args.toSpliced(-1, 0, '--config', file) }),
    };
    const daemon = await startDaemon(configured, name, topology, 'right', undo);
    const privateKey = (await run('wg', ['genkey'])).trim();
    const publicKey = (await run('wg', ['pubkey'], { input: privateKey })).trim();
    const text = `[Interface]\nPrivateKey = ${privateKey}\nListenPort = ${LISTEN_PORT}\n`;
    await setConfiguration(name, text, undo);
    await topology.ip('right', 'addr', 'add', `${GATEWAY}/64`, 'dev', name, 'nodad');
    await topology.ip('right', 'link', 'set', name, 'mtu', `${MTU}`, 'up');
    return new Gateway(topology, name, publicKey, daemon);
  }

  get endpoint(): { host: string; port: number } {
    return { host: OUTER.right, port: LISTEN_PORT };
  }

  get residentMiB(): number {
    return Math.round((10 * memoryOf([this.#daemon.pid]).rssBytes) / 2 ** 20) / 10;
  }

  /** Bytes received of a peer; 0 of one that is not in memory. */
  async receivedOf(publicKey: string): Promise<number> {
    const line = (await run('wg', ['show', this.name, 'transfer']))
      .split('\n')
      .find(each => each.startsWith(publicKey));
    return Number(line?.split('\t')[1] ?? 0);
  }

  async close(): Promise<void> {
    await this.#daemon.close();
  }
}
